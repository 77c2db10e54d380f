"""Pip comes from the package index into a virtual environment that was made without it, as on a bare Debian."""

import ensurepip
import hashlib
import os
import subprocess
import sys
import threading
import venv
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments) -> None:
        pass


@pytest.fixture
def pip_wheel() -> Path:
    found = sorted((Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl"))
    if not found:
        pytest.skip("this Python comes without a wheel of pip")
    return found[-1]


@pytest.fixture
def index(tmp_path):
    """A folder that is served as a package index, and its address."""
    folder = tmp_path / "index"
    (folder / "simple" / "pip").mkdir(parents=True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder / "simple", f"http://user:secret@127.0.0.1:{server.server_port}/simple/"
    server.shutdown()
    server.server_close()


def install(repository_root: Path, python: Path, address: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PIP_INDEX_URL": address, "no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1"}
    command = [sys.executable, str(repository_root / "pip_for_venv.py"), str(python)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("whole", [True, False])
def test_the_newest_wheel_of_the_index_installs_itself(repository_root, tmp_path, pip_wheel, index, whole):
    folder, address = index
    content = pip_wheel.read_bytes()
    (folder / "pip" / pip_wheel.name).write_bytes(content if whole else content[:-1])
    digest = hashlib.sha256(content).hexdigest()
    (folder / "pip" / "index.html").write_text(
        f'<a href="pip-9.0.1-py3-none-any.whl">old</a><a href="../pip/{pip_wheel.name}#sha256={digest}">new</a>'
    )
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    ended = install(repository_root, python, address)
    assert (ended.returncode == 0) is whole, ended.stderr
    has_pip = subprocess.run([str(python), "-m", "pip", "--version"], capture_output=True, text=True, check=False)
    assert (has_pip.returncode == 0) is whole
    if not whole:
        assert "not the published file" in ended.stderr
        assert "secret" not in ended.stderr


def test_an_index_that_does_not_answer_is_one_sentence(repository_root, tmp_path):
    ended = install(repository_root, tmp_path / "python", "http://user:secret@127.0.0.1:1/simple")
    assert ended.returncode == 1
    assert len(ended.stderr.strip().splitlines()) == 1
    assert "apt-get install python3-venv" in ended.stderr
    assert "secret" not in ended.stderr
