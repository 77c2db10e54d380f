"""The Python interpreter that runs the inference process."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from .translation import _

WORKER_FOLDER = Path(__file__).resolve().parent.parent / "worker"


class InterpreterNotFound(RuntimeError):  # noqa: N818
    """No Python interpreter could be found; the message says what to do."""


def find_interpreter() -> str:
    """Slicer's PythonSlicer, which brings Slicer's own environment; outside Slicer the running interpreter.
    InterpreterNotFound otherwise.
    """
    suffix = ".exe" if sys.platform == "win32" else ""
    for home in _application_homes():
        # PythonSlicer is a launcher; where a build has none, the interpreter beside it runs in our own environment.
        for name in (f"PythonSlicer{suffix}", f"python-real{suffix}"):
            if (home / "bin" / name).is_file():
                return str(home / "bin" / name)
    found = shutil.which("PythonSlicer")
    if found:
        return found
    names = (sys.executable, getattr(sys, "_base_executable", ""))
    for executable in names:
        if executable and "python" in Path(executable).name.lower() and Path(executable).is_file():
            return executable
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    for prefix in (Path(sys.prefix), Path(sys.base_prefix)):
        for name in (f"bin/python{version}", "bin/python3", f"python{suffix}"):
            if (prefix / name).is_file():
                return str(prefix / name)
    sentence = _("Slicer's Python (PythonSlicer) was not found beside the application: reinstall Slicer.")
    raise InterpreterNotFound(sentence)


def worker_command() -> list[str]:
    """The command line that starts the worker, independent of the working folder and of PYTHONPATH."""
    return [find_interpreter(), str(WORKER_FOLDER / "__main__.py")]


def _application_homes() -> list[Path]:
    try:
        import slicer
    except ImportError:  # the command line and tests
        return []
    application = getattr(slicer, "app", None)
    home = getattr(application, "slicerHome", "") if application is not None else ""
    return [Path(home)] if home else []
