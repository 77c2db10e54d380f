#!/usr/bin/env python3
"""Set everything up in this checkout and run it: the README's two commands. Standard library only.

    python3 setup_and_run.py demo     set up, segment a bundled CT, say where the result is and how good
    python3 setup_and_run.py test     set up, check the style, run all tests
    python3 setup_and_run.py setup    only set up

Everything goes into `.venv` (and, for the tests that need Slicer's own libraries, `.venv-slicer` and
`.venv-slicer-preview`) in this folder; delete these folders to undo it. A second call finds them and starts at once.

Environment: `SAM2_3DMED_TORCH` replaces the requirement for torch (e.g. `torch==2.13.0+cu130`, with pip's own variables
for another index); pip's and proxies' variables work as always.
"""

from __future__ import annotations

import ctypes.util
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
SUPPORTED = ((3, 10), (3, 13))
TORCH = "torch==2.13.0"
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
# Meta's package, uploaded to PyPI by a third party; this archive was compared with Meta's repository file by file. Its
# own build requirements would download a second torch and compile CUDA code, hence the options where it is installed.
SAM2 = "sam2==1.1.0 --hash=sha256:7e0ea252d43c10d853e3acfce0b5770ac683c30481bd6de311300e9d44f45b74"
# Slicer's stable and preview release, each in an environment of its own: both are supported.
SLICER_CORES = {
    ROOT / ".venv-slicer": "slicer-core==5.12.4.0",
    ROOT / ".venv-slicer-preview": "slicer-core==5.13.31053",
}
# Tests that import `slicer` or Qt: they have an environment of their own, so that the rest proves not to need them.
SLICER_TESTS = (
    "Testing/slicer_side",
    "Testing/slicer_module",
    "Testing/volume/slicer",
    "Testing/worker/test_qprocess_transport.py",
)
# Real Qt widgets for tests of `.ui` files and panels; those tests are skipped where it cannot be installed.
QT = "PySide6-Essentials>=6.7"
# VTK draws off-screen through EGL or OSMesa and opens these libraries when the first view is made.
GRAPHICS_PACKAGES = (
    *("libegl1", "libegl-mesa0", "libgl1", "libgl1-mesa-dri", "libopengl0", "libosmesa6"),
    *("libfontconfig1", "libxkbcommon0", "libdbus-1-3", "libglib2.0-0"),  # Qt's, also when it draws off-screen
)
SYSTEM_LIBRARIES = ("EGL", "GL", "fontconfig", "xkbcommon", "dbus-1", "glib-2.0")
_OUTCOMES = ("failed", "passed", "skipped", "deselected", "xfailed", "xpassed", "warnings", "error")
_SUMMARY = re.compile(r"^=+ (?P<counts>.*\d+ .*) in [\d.]+s.*=+$")


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or arguments[0] not in ("demo", "test", "setup"):
        print(__doc__)
        return 2
    python = supported_python()
    if python != sys.executable:
        return subprocess.call([python, str(Path(__file__).resolve()), *arguments])
    try:
        set_up()
        if arguments[0] == "demo":
            return run_demo()
        return run_tests() if arguments[0] == "test" else 0
    except SetUpError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nCanceled; the same command goes on from here.", file=sys.stderr)
        return 130


class SetUpError(RuntimeError):
    """A step of the set-up failed; the message says what to do."""


def supported_python() -> str:
    """This interpreter when its version is supported, else one on the PATH."""
    if SUPPORTED[0] <= sys.version_info[:2] <= SUPPORTED[1]:
        return sys.executable
    for minor in (11, 12, 10, 13):
        found = shutil.which(f"python3.{minor}")
        if found:
            return found
    sys.exit(f"Python 3.10 to 3.13 is needed and this is {sys.version.split()[0]}; install python3.11 and try again.")


def venv_python(venv: Path) -> Path:
    return venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def clean_environment(**more: str) -> dict[str, str]:
    """The environment without what would lead Python or pip out of our virtual environments."""
    left_out = {"PYTHONPATH", "PYTHONHOME", "PIP_TARGET", "PIP_PREFIX", "PIP_USER", "VIRTUAL_ENV"}
    kept = {name: value for name, value in os.environ.items() if name not in left_out}
    return {**kept, "PYTHONNOUSERSITE": "1", "PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", **more}


def say(text: str) -> None:
    print(f"\n==> {text}", flush=True)


def run(command: list[str | Path], **environment: str) -> int:
    return subprocess.call([str(part) for part in command], cwd=ROOT, env=clean_environment(**environment))


def pip_install(*arguments: str, venv: Path = VENV, **environment: str) -> bool:
    return run([venv_python(venv), "-m", "pip", "install", *arguments], **environment) == 0


def fingerprint(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def set_up() -> None:
    """Create `.venv` with torch, sam2 and this project in it, unless the same was done before."""
    torch = os.environ.get("SAM2_3DMED_TORCH", "")
    stamp = VENV / "set-up-of-sam2-3dmed"
    wanted = fingerprint(torch or TORCH, SAM2, (ROOT / "pyproject.toml").read_text("utf-8"), str(ROOT))
    if stamp.is_file() and stamp.read_text("utf-8") == wanted:
        return
    started = time.monotonic()
    say("1/4 virtual environment in .venv")
    create_venv(VENV)
    if not pip_install("--upgrade", "pip", "setuptools>=77", "wheel"):
        raise SetUpError("pip cannot reach the package index: check the network, the proxy and pip's configuration.")
    say("2/4 torch")
    install_torch(torch)
    say("3/4 sam2")
    install_sam2()
    say("4/4 this project and what it needs")
    version = subprocess.check_output(
        [venv_python(VENV), "-c", "import importlib.metadata as m; print(m.version('torch'))"],
        text=True,
        env=clean_environment(),
    )
    constraints = VENV / "constraints.txt"
    constraints.write_text(f"torch=={version.strip()}\n", "utf-8")
    if not pip_install("-e", ".[train,test]", "--constraint", str(constraints)):
        raise SetUpError("The project's requirements could not be installed; pip says why above.")
    stamp.write_text(wanted, "utf-8")
    say(f"set up in {time.monotonic() - started:.0f} s")


def create_venv(folder: Path) -> None:
    if venv_python(folder).exists() and run([venv_python(folder), "-m", "pip", "--version"]) == 0:
        return
    shutil.rmtree(folder, ignore_errors=True)
    # Debian's and Ubuntu's python3 comes without ensurepip, which is in python3-venv.
    has_pip = importlib.util.find_spec("ensurepip") is not None
    if run([sys.executable, "-m", "venv", *([] if has_pip else ["--without-pip"]), folder]) != 0:
        raise SetUpError("Python cannot make a virtual environment; on Debian and Ubuntu: apt-get install python3-venv")
    if not has_pip and run([sys.executable, ROOT / "pip_for_venv.py", venv_python(folder)]) != 0:
        raise SetUpError("On Debian and Ubuntu, apt-get install python3-venv brings pip along.")


def install_torch(requirement: str) -> None:
    """The CPU build where there is no NVIDIA driver, since the other brings gigabytes of CUDA; else the usual one."""
    if requirement:
        attempts = [[requirement]]
    elif sys.platform == "linux" and shutil.which("nvidia-smi") is None:
        quick = ["--index-url", TORCH_CPU_INDEX, "--retries", "1", "--timeout", "15"]
        attempts = [[TORCH + "+cpu"], [TORCH + "+cpu", *quick], [TORCH]]
    else:
        attempts = [[TORCH]]
    for attempt in attempts:
        if pip_install(*attempt):
            return
        print(f"(pip has no {' '.join(attempt)})", flush=True)
    raise SetUpError("torch could not be installed; pip says why above. Set SAM2_3DMED_TORCH to choose another build.")


def install_sam2() -> None:
    requirements = VENV / "sam2.txt"
    requirements.write_text(SAM2 + "\n", "utf-8")
    options = ["--require-hashes", "--no-deps", "--no-build-isolation", "--no-binary", "sam2"]
    if not pip_install(*options, "-r", str(requirements), SAM2_BUILD_CUDA="0"):
        raise SetUpError("sam2 could not be installed from its verified archive; pip says why above.")


def run_demo() -> int:
    say("segmenting the bundled CT")
    return run([venv_python(VENV), "-m", "SAM2_3dMedLib.cli", "demo", "--output", ROOT / "output"])


def run_tests() -> int:
    """Style, tests, tests inside Slicer's libraries; all run, the first failure does not hide the others."""
    python = venv_python(VENV)
    say("style")
    clean = [run([python, "-m", "ruff", "check", "."]), run([python, "-m", "ruff", "format", "--check", "."])]
    here = [place for place in SLICER_TESTS if (ROOT / place).exists()]
    started = time.monotonic()
    outcomes = []
    for venv, slicer_core in SLICER_CORES.items():
        if here and set_up_slicer(venv, slicer_core):
            say(f"tests with {slicer_core}")
            outcomes.append(run_pytest(venv_python(venv), here))
    say("tests")
    outcomes.append(run_pytest(python, ["Testing", *(f"--ignore={place}" for place in SLICER_TESTS)]))
    totals = {name: sum(counts.get(name, 0) for _, counts in outcomes) for name in _OUTCOMES}
    shown = ", ".join(f"{count} {name}" for name, count in totals.items() if count) or "no tests ran"
    if any(clean):
        print("\nruff found something; `make format` mends most of it.", flush=True)
    print(f"\n{f' {shown} in {time.monotonic() - started:.2f}s ':=^80}", flush=True)
    return int(any(clean) or any(code for code, _ in outcomes))


def run_pytest(python: Path, arguments: list[str]) -> tuple[int, dict[str, int]]:
    """pytest's exit code and the counts of its summary line; its output passes through."""
    command = [str(python), "-m", "pytest", "--color=no", "-m", "not slow", *arguments]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=clean_environment(PYTHONUNBUFFERED="1", QT_QPA_PLATFORM="offscreen"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    counts: dict[str, int] = {}
    for line in process.stdout:
        print(line, end="", flush=True)
        summary = _SUMMARY.match(line.strip())
        if summary:
            found = re.findall(r"(\d+) (\w+)", summary["counts"])
            counts = {{"errors": "error", "warning": "warnings"}.get(name, name): int(n) for n, name in found}
    code = process.wait()
    if not counts and code == 0:
        code = 1  # it ended without a summary: nothing is proven
    return code, counts


def set_up_slicer(venv: Path, slicer_core: str) -> bool:
    """Create an environment with Slicer's libraries on top of `.venv`'s. False, with a reason, when it cannot be."""
    stamp = venv / "set-up-of-sam2-3dmed"
    wanted = fingerprint(slicer_core, QT, str(ROOT))
    if stamp.is_file() and stamp.read_text("utf-8") == wanted:
        return True
    say(f"{slicer_core} in {venv.name}")
    create_venv(venv)
    query = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages, outer = (
        Path(subprocess.check_output([venv_python(place), "-c", query], text=True, env=clean_environment()).strip())
        for place in (venv, VENV)
    )
    # addsitedir, not the bare path: the project itself is installed there by a .pth file of its own.
    (packages / "sam2_3dmed_outer.pth").write_text(f"import site; site.addsitedir({str(outer)!r})\n", "utf-8")
    if not pip_install("--only-binary", ":all:", slicer_core, venv=venv):
        say(f"SKIPPED: the tests that need Slicer, because {slicer_core} cannot be installed here (see above).")
        return False
    if not pip_install("--only-binary", ":all:", QT, venv=venv):
        say("Without PySide6 the tests of Qt widgets are skipped.")
    install_graphics()
    if run([venv_python(venv), "-c", "import slicer, torch, sam2, SimpleITK"]) != 0:
        say("SKIPPED: the tests that need Slicer, because its libraries cannot be loaded here (see above).")
        return False
    stamp.write_text(wanted, "utf-8")
    return True


def install_graphics() -> None:
    """Install the system's drawing libraries when some are missing and this is possible without asking anyone."""
    if sys.platform != "linux" or all(map(ctypes.util.find_library, SYSTEM_LIBRARIES)):
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        say(f"Libraries for drawing are missing: as root, apt-get install {' '.join(GRAPHICS_PACKAGES)}")
        return
    say("system packages for drawing without a display")
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    # Without a network each address costs a wait: none twice, and no package after one that cannot be had.
    once = ["-o", "Acquire::Retries=0", "-o", "Acquire::http::Timeout=20", "-o", "Acquire::https::Timeout=20"]
    listed = run(["apt-get", "update", "-q", "-o", "APT::Update::Error-Mode=any", *once], **quiet) == 0
    for package in GRAPHICS_PACKAGES:  # one by one: not every release has them all
        installed = run(["apt-get", "install", "-y", "-q", "--no-install-recommends", *once, package], **quiet) == 0
        if not installed and not listed:
            say(f"No package server answers; tests that draw may fail. They need {' '.join(GRAPHICS_PACKAGES)}")
            return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
