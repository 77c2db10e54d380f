"""The Python that runs the worker: Slicer's own inside Slicer, never the application itself."""

import sys
import types
from pathlib import Path

import pytest
from SAM2_3dMedLib.slicer_side import interpreter


@pytest.fixture
def home(monkeypatch, tmp_path):
    """A stand-in for `slicer.app`, which exists in the desktop application only: its home folder."""
    slicer = types.SimpleNamespace(app=types.SimpleNamespace(slicerHome=str(tmp_path)))
    monkeypatch.setitem(sys.modules, "slicer", slicer)
    monkeypatch.setenv("PATH", "")
    return tmp_path


def test_pythonslicer_beside_the_application_comes_first(home):
    suffix = ".exe" if sys.platform == "win32" else ""
    program = home / "bin" / f"PythonSlicer{suffix}"
    program.parent.mkdir()
    program.write_text("")
    assert interpreter.find_interpreter() == str(program)
    command = interpreter.worker_command()
    assert command[0] == str(program)
    assert Path(command[1]).is_file()


def test_without_it_the_running_interpreter_is_taken(home):
    assert interpreter.find_interpreter() == sys.executable


def test_the_application_itself_is_never_taken_for_a_python(home, monkeypatch):
    application = home / "SlicerApp-real"
    application.write_text("")
    for name in ("executable", "_base_executable"):
        monkeypatch.setattr(sys, name, str(application))
    assert "python" in Path(interpreter.find_interpreter()).name
    monkeypatch.setattr(sys, "prefix", str(home))
    monkeypatch.setattr(sys, "base_prefix", str(home))
    with pytest.raises(interpreter.InterpreterNotFound, match="reinstall Slicer"):
        interpreter.find_interpreter()


def test_outside_slicer_no_module_slicer_is_needed(monkeypatch):
    monkeypatch.setitem(sys.modules, "slicer", None)
    monkeypatch.setenv("PATH", "")
    assert interpreter.find_interpreter() == sys.executable


def test_a_build_without_the_launcher_has_its_interpreter_in_the_same_folder(home):
    suffix = ".exe" if sys.platform == "win32" else ""
    program = home / "bin" / f"python-real{suffix}"
    program.parent.mkdir()
    program.write_text("")
    assert interpreter.find_interpreter() == str(program)
