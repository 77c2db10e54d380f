"""What the system does to a command: signals, and a disk that is full."""

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import SAM2_3dMedLib
import torch

from .evaluation_data import write_balls

SOURCE = Path(SAM2_3dMedLib.__file__).parents[1]
BOX = "8,6,5,22,20,5"

# Starts the program after a preparation in its own process.
# As Python itself begins: whoever runs the tests in a shell's background has its children ignore Ctrl-C.
STARTER = """import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
{preparation}
import sys
from SAM2_3dMedLib.cli import main
sys.exit(main(sys.argv[1:]))"""


def start(folder: Path, arguments: tuple, preparation: str = "") -> subprocess.Popen:
    """`sam2-3dmed` in `folder`, with Python statements run before it."""
    command = [sys.executable, "-c", STARTER.format(preparation=preparation), *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=folder, env=environment, **streams)


# Waits in the middle of writing, when a temporary file is there, and says so on stdout.
PAUSE = """
import time
from SAM2_3dMedLib.volume import label_maps
def pause(path, *rest):
    path.write_bytes(b"half a file")
    print("writing", flush=True)
    for _ in range(1000):
        time.sleep(0.1)  # a signal just before a sleep begins does not end it
label_maps.write_seg_nrrd = pause
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows ends processes without a signal")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_the_result_is_written_leaves_nothing(ct, weights, tmp_path, number, code):
    command = ("segment", ct, "--weights", weights, "--output", "x.seg.nrrd", "--box", BOX)
    process = start(tmp_path, command, PAUSE)
    try:
        assert process.stdout.readline().strip() == "writing", process.stderr.read()
        assert list(tmp_path.rglob("partial*"))
        process.send_signal(number)
        _out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == code, err
    assert "no file was left half-written" in err.splitlines()[-1]
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


# A typer that takes long to import, and says when that begins.
SLOW_TYPER = """
import sys
class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "typer":
            print("importing", flush=True)
            import time
            time.sleep(100)
sys.meta_path.insert(0, Slow())
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows ends processes without a signal")
def test_ctrl_c_while_the_program_is_still_starting_shows_no_traceback(tmp_path):
    process = start(tmp_path, ("--help",), SLOW_TYPER)
    try:
        assert process.stdout.readline().strip() == "importing", process.stderr.read()
        process.send_signal(signal.SIGINT)
        _out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert err.splitlines() == ["Canceled; no file was left half-written."]


# The same where the rows of `evaluate` are written.
PAUSE_IN_ROWS = """
from SAM2_3dMedLib.commands import output, study
def slow(path, kind, rows):
    output.write_whole(path, lambda temporary: pause(temporary))
study.write_csv = slow
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows ends processes without a signal")
def test_a_signal_while_rows_are_written_leaves_nothing(weights, tmp_path):
    manifest = write_balls(tmp_path)
    command = ("evaluate", "--manifest", manifest, "--root", tmp_path, "--weights", weights, "--output", "out")
    process = start(tmp_path, command, PAUSE + PAUSE_IN_ROWS)
    try:
        assert process.stdout.readline().strip() == "writing", process.stderr.read()
        process.send_signal(signal.SIGTERM)
        _out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 143, err
    assert "no file was left half-written" in err.splitlines()[-1]
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("name", ["x.seg.nrrd", "x.png"])
def test_a_file_that_is_protected_from_writing_is_kept(cli, ct, weights, tmp_path, monkeypatch, name):
    (tmp_path / name).write_bytes(b"precious")
    # Root may write everywhere, so the refusal of the operating system is played.
    allowed = os.access
    monkeypatch.setattr(
        "SAM2_3dMedLib.commands.output.os.access",
        lambda path, mode: Path(path).name != name and allowed(path, mode),
    )
    ended = cli("segment", ct, "--weights", weights, "--output", tmp_path / "x.seg.nrrd", "--box", BOX)
    assert ended.code == 2, ended
    assert "may not be changed; choose another name" in ended.err
    assert (tmp_path / name).read_bytes() == b"precious"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.fixture
def tiny_disk():
    """A limit of the system on the bytes of a file, in this process: writing more fails as on a full disk."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    @contextmanager
    def limited(count: int):
        resource.setrlimit(resource.RLIMIT_FSIZE, (count, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limited


@pytest.mark.parametrize("name", ["x.seg.nrrd", "x.nii.gz"])
def test_a_disk_without_room_is_one_sentence_and_leaves_nothing(cli, ct, weights, tmp_path, tiny_disk, name):
    """100 bytes a file may have: the smallest segmentation has more."""
    with tiny_disk(100):
        ended = cli("segment", ct, "--weights", weights, "--output", tmp_path / name, "--box", BOX)
    assert ended.code == 2, ended.err
    assert "was not written" in ended.err.splitlines()[-1]
    assert "Traceback" not in ended.err
    assert list(tmp_path.iterdir()) == []


def _numpy_without_memory(*_, **__) -> None:
    np.empty((1 << 40, 1 << 18))


def _torch_without_memory(*_, **__) -> None:
    torch.empty(1 << 45, dtype=torch.uint8)


def _card_without_memory(*_, **__) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def _windows_without_memory(*_, **__) -> None:
    raise RuntimeError("[enforce fail at alloc_cpu.cpp:121] data. DefaultCPUAllocator: not enough memory: you tried")


@pytest.mark.parametrize(
    "fail", [_windows_without_memory, _numpy_without_memory, _torch_without_memory, _card_without_memory]
)
def test_memory_that_runs_out_is_one_sentence(cli, ct, weights, tmp_path, monkeypatch, fail):
    monkeypatch.setattr("SAM2_3dMedLib.commands.segment.VolumeSession", fail)
    ended = cli("segment", ct, "--weights", weights, "--output", tmp_path / "x.seg.nrrd", "--box", BOX)
    assert ended.code == 2
    assert "is too small for this" in ended.err.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []
