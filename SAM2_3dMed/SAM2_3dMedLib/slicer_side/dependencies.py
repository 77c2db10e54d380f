"""What the inference process needs, what of it is missing, and how it is installed inside Slicer.

Nothing is imported to find out: `importlib.util.find_spec` looks for the package. Nothing is installed without
`run_installation`, which the user starts by a button. torch comes through the PyTorch extension only when there is
none; Slicer's numpy, SimpleITK and an existing torch are never replaced. An installation that a restart interrupts
is continued by starting it again: every step that is done is skipped.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .translation import _

PENDING_SETTING = "SAM2_3dMed/InstallationPending"
# The source archive on PyPI; its sam2/ folder equals Meta's repository file by file.
SAM2_REQUIREMENT = "sam2==1.1.0"
_BUILD_CUDA = "SAM2_BUILD_CUDA"  # read by sam2's setup.py: "0" compiles nothing
SAM2_SHA256 = "7e0ea252d43c10d853e3acfce0b5770ac683c30481bd6de311300e9d44f45b74"


@dataclass(frozen=True)
class Requirement:
    """A package: its name for pip, the module that tells whether it is there, about how much is downloaded, what
    for.
    """

    name: str
    module: str
    size_mb: float
    reason: str


@dataclass(frozen=True)
class InstallStep:
    """One step of an installation. `key`: "torch", "packages" or "sam2"."""

    key: str
    title: str
    size_mb: float
    detail: str
    requirements: tuple[Requirement, ...]


@dataclass(frozen=True)
class InstallPlan:
    """`blocked`: a sentence when the installation cannot begin (the PyTorch extension is missing), else empty."""

    steps: tuple[InstallStep, ...]
    blocked: str = ""

    @property
    def size_mb(self) -> float:
        return sum(step.size_mb for step in self.steps)


# Sizes of the downloads for Python 3.12, Linux, November 2026. torch: the CPU build 200 MB, with CUDA 2-3 GB.
TORCH = Requirement("torch>=2.5", "torch", 2500.0, _("computes the segmentation (200 MB without a GPU)"))
SAM2 = Requirement(SAM2_REQUIREMENT, "sam2", 0.2, _("the network's building blocks"))
SMALL_PACKAGES = (
    Requirement("hydra-core>=1.3", "hydra", 0.4, _("imported by sam2")),
    Requirement("iopath>=0.1.10", "iopath", 0.1, _("imported by sam2")),
    Requirement("pillow>=10", "PIL", 7.0, _("imported by sam2")),
    Requirement("tqdm>=4.66", "tqdm", 0.1, _("imported by sam2")),
)
REQUIREMENTS = (TORCH, *SMALL_PACKAGES, SAM2)


def is_installed(requirement: Requirement) -> bool:
    """Whether the module can be found, without importing it."""
    try:
        return importlib.util.find_spec(requirement.module) is not None
    except (ImportError, ValueError):
        return False


def missing_packages() -> tuple[Requirement, ...]:
    """In the order of installation; empty when the engine can run."""
    return tuple(requirement for requirement in REQUIREMENTS if not is_installed(requirement))


def engine_available() -> bool:
    return not missing_packages()


def plan_installation() -> InstallPlan:
    """What would be installed now, and how large it is."""
    missing = missing_packages()
    steps = []
    blocked = ""
    if TORCH in missing:
        title = _("PyTorch, through the PyTorch extension")
        detail = _("200 MB for CPU or Apple, 2-3 GB with CUDA.")
        steps.append(InstallStep("torch", title, TORCH.size_mb, detail, (TORCH,)))
        if importlib.util.find_spec("PyTorchUtils") is None:
            blocked = _(
                "Install the extension PyTorch in the Extensions Manager first, then restart Slicer and come back."
            )
    small = tuple(requirement for requirement in missing if requirement in SMALL_PACKAGES)
    if small:
        names = ", ".join(requirement.name for requirement in small)
        steps.append(InstallStep("packages", _("Small packages"), sum(r.size_mb for r in small), names, small))
    if SAM2 in missing:
        detail = _("From PyPI, pure Python, built without CUDA and without a second torch.")
        steps.append(InstallStep("sam2", "SAM 2", SAM2.size_mb, detail, (SAM2,)))
    return InstallPlan(tuple(steps), blocked)


def installation_pending(settings: Any = None) -> bool:
    """Whether an installation was begun and not finished, so that it should be offered to go on (after a restart)."""
    value = _settings(settings).value(PENDING_SETTING)
    return str(value).lower() in ("true", "1") and not engine_available()


def run_installation(
    plan: InstallPlan,
    log: Callable[[str], None],
    progress: Callable[[int, int, str], None],
    finished: Callable[[bool, str], None],
    settings: Any = None,
    tools: Any = None,
) -> None:
    """Installs step by step, on the main thread; the small steps do not block it.

    Args:
        log: a line of pip's output.
        progress: (steps done, steps in all, title of the step that runs).
        finished: (ok, sentence), once, at the end.
        settings: QSettings of the application if None.
        tools: `SlicerTools()` if None.
    """
    if plan.blocked:
        finished(False, plan.blocked)
        return
    kept = _settings(settings)
    kept.setValue(PENDING_SETTING, True)
    _Installation(plan, log, progress, finished, kept, tools if tools is not None else SlicerTools()).next_step()


class SlicerTools:
    """What Slicer offers to install packages."""

    def busy(self) -> bool:
        import slicer.packaging

        return bool(slicer.packaging.isPipInstallInProgress())

    def install_torch(self) -> bool:
        """Asks the user and installs, with a window of its own; False when declined."""
        pytorch_utils = importlib.import_module("PyTorchUtils")
        return pytorch_utils.PyTorchUtilsLogic().installTorch(askConfirmation=True) is not None

    def pip_install(
        self, requirements: list[str], log: Callable[[str], None], completed: Callable[[int], None]
    ) -> None:
        """Returns at once; `completed` gets pip's exit code."""
        import slicer.packaging

        slicer.packaging.pip_install(
            requirements,
            blocking=False,
            show_progress=False,
            requester="SAM2-3dMed",
            logCallback=log,
            completedCallback=completed,
        )

    def install_sam2(self, log: Callable[[str], None], completed: Callable[[int], None]) -> None:
        """pip with options that slicer.packaging does not offer; the archive must have the known SHA-256. Returns
        at once.
        """
        import slicer.util

        handle, path = tempfile.mkstemp(prefix="sam2-3dmed-", suffix=".txt", text=True)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(f"{SAM2_REQUIREMENT} --hash=sha256:{SAM2_SHA256}\n")
        before = os.environ.get(_BUILD_CUDA)
        os.environ[_BUILD_CUDA] = "0"

        def ended(code: int) -> None:
            os.unlink(path)
            completed(code)

        try:
            arguments = ["install", "--no-build-isolation", "--no-deps", "-r", path]
            slicer.util.executePythonModule("pip", arguments, blocking=False, logCallback=log, completedCallback=ended)
        finally:  # the process that was started has its own copy of the environment
            if before is None:
                del os.environ[_BUILD_CUDA]
            else:
                os.environ[_BUILD_CUDA] = before


class _Installation:
    def __init__(self, plan: InstallPlan, log: Any, progress: Any, finished: Any, settings: Any, tools: Any) -> None:
        self._steps = list(plan.steps)
        self._total = len(self._steps)
        self._log = log
        self._progress = progress
        self._finished = finished
        self._settings = settings
        self._tools = tools

    def next_step(self) -> None:
        importlib.invalidate_caches()
        while self._steps and all(is_installed(requirement) for requirement in self._steps[0].requirements):
            self._steps.pop(0)
        if not self._steps:
            self._settings.setValue(PENDING_SETTING, False)
            self._progress(self._total, self._total, "")
            self._finished(True, _("Everything is installed."))
            return
        step = self._steps[0]
        self._progress(self._total - len(self._steps), self._total, step.title)
        if self._tools.busy():
            sentence = _("Another installation is running in Slicer: wait until it is done, then press Install again.")
            self._fail(sentence)
        elif step.key == "torch":
            self._install_torch(step)
        else:
            self._install_packages(step)

    def _install_torch(self, step: InstallStep) -> None:
        try:
            accepted = self._tools.install_torch()
        except Exception as error:  # whatever the other extension raises becomes a sentence here; nothing is hidden
            self._log(f"{type(error).__name__}: {error}")
            sentence = _("The PyTorch extension could not install torch ({reason}): try it in its own module PyTorch.")
            self._fail(sentence.format(reason=error))
            return
        if not accepted:
            self._settings.setValue(PENDING_SETTING, False)
            self._fail(_("The installation of PyTorch was declined: press Install to go on."))
            return
        self._check(step, 0)

    def _install_packages(self, step: InstallStep) -> None:
        def completed(code: int) -> None:
            self._check(step, int(code))

        try:
            if step.key == "sam2":
                self._tools.install_sam2(self._log, completed)
            else:
                names = [requirement.name for requirement in step.requirements]
                self._tools.pip_install(names, self._log, completed)
        except (RuntimeError, OSError, ValueError) as error:
            sentence = _("pip could not be started ({reason}): see the log, then press Install again.")
            self._fail(sentence.format(reason=error))

    def _check(self, step: InstallStep, code: int) -> None:
        importlib.invalidate_caches()
        absent = [requirement.name for requirement in step.requirements if not is_installed(requirement)]
        if not absent:
            self.next_step()
        elif code == 0 and step.key == "torch":
            sentence = _(
                "PyTorch is installed and can be used after a restart of Slicer: the installation then goes on."
            )
            self._fail(sentence)
        else:
            names = ", ".join(absent)
            sentence = _(
                "{names} could not be installed (pip ended with code {code}): check the network or proxy, "
                "see the log, then press Install again."
            )
            self._fail(sentence.format(names=names, code=code))

    def _fail(self, sentence: str) -> None:
        self._finished(False, sentence)


def _settings(settings: Any) -> Any:
    if settings is not None:
        return settings
    import slicer

    return slicer.app.userSettings()
