"""Voxels handed over through a file: any dtype, private, removed by the side that made it."""

import os
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from SAM2_3dMedLib.slicer_side.volume_upload import VolumeUpload
from SAM2_3dMedLib.worker.array_file import FOLDER_PREFIX, ArrayFile, ArrayFolder


class Source:
    def __init__(self, array):
        self.array = array


@pytest.mark.parametrize("dtype", ["u1", "<i2", ">i2", "<f8", "<u4"])
def test_the_other_side_reads_what_was_written(dtype):
    array = np.arange(3 * 4 * 5).reshape(3, 4, 5).astype(dtype)
    folder = ArrayFolder()
    upload = VolumeUpload(Source(array), folder)
    while not upload.step(0):
        assert upload.fraction < 1
    read = ArrayFile.from_json(upload.file.to_json()).open_for_reading()
    assert read.dtype == array.dtype
    assert np.array_equal(read, array)
    with pytest.raises(ValueError, match="read-only"):
        read[0] = 1
    folder.close()


def test_a_step_copies_at_least_one_slice_and_no_more_when_time_is_up():
    folder = ArrayFolder()
    upload = VolumeUpload(Source(np.ones((4, 8, 8), np.int16)), folder)
    assert not upload.step(0)
    assert upload.fraction == 0.25
    assert upload.step(10_000)
    folder.close()


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_the_folder_is_private_and_goes_with_its_maker():
    folder = ArrayFolder()
    file, _ = folder.create((2, 2, 2), np.dtype("i2"))
    path = Path(file.path)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    reader = file.open_for_reading()
    assert folder.remove(file)
    assert not path.exists()
    assert reader.sum() == 0  # still mapped where it was open
    folder.close()
    assert not path.parent.exists()
    with pytest.raises(OSError, match="No such file"):
        file.open_for_reading()


def test_what_a_crashed_slicer_left_is_removed_after_a_day_and_not_before():
    folder = ArrayFolder()
    file, _ = folder.create((2, 2, 2), np.dtype("i2"))
    parent = Path(file.path).parent.parent
    old, young = parent / f"{FOLDER_PREFIX}0-old", parent / f"{FOLDER_PREFIX}0-young"
    for left in (old, young):
        left.mkdir()
        (left / "volume-1.raw").write_bytes(b"0")
    os.utime(old, (time.time() - 2 * 86400,) * 2)
    other = ArrayFolder()
    other.create((2, 2, 2), np.dtype("i2"))
    assert not old.exists()
    assert young.exists()
    (young / "volume-1.raw").unlink()
    young.rmdir()
    other.close()
    folder.close()


@pytest.mark.skipif(os.name != "posix", reason="asks for processes by signal 0")
def test_empty_folders_of_processes_that_are_gone_do_not_wait_for_a_day():
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    folder = ArrayFolder()
    file, _ = folder.create((2, 2, 2), np.dtype("i2"))
    parent = Path(file.path).parent.parent
    empty, full, living = (
        parent / f"{FOLDER_PREFIX}{name}" for name in (f"{gone.pid}-empty", f"{gone.pid}-full", f"{os.getpid()}-empty")
    )
    for left in (empty, full, living):
        left.mkdir()
    (full / "volume-1.raw").write_bytes(b"0")
    other = ArrayFolder()
    other.create((2, 2, 2), np.dtype("i2"))
    assert [left.exists() for left in (empty, full, living)] == [False, True, True]
    other.close()
    folder.close()
    shutil.rmtree(full)
    living.rmdir()


def test_a_folder_that_was_taken_away_is_made_again():
    folder = ArrayFolder()
    file, _ = folder.create((2, 2, 2), np.dtype("i2"))
    shutil.rmtree(Path(file.path).parent)
    again, array = folder.create((2, 2, 2), np.dtype("i2"))
    array[:] = 3
    assert again.open_for_reading().sum() == 24
    folder.close()
