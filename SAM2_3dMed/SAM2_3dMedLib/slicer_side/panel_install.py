"""The panel that installs what is missing: one button, what and how large, progress, and it goes on after a restart."""
# ruff: noqa: N802

from __future__ import annotations

import slicer

from . import dependencies
from .translation import _


class InstallPanel:
    """Binds the widgets `install...` of the module's .ui file; `installed()` is called when everything is there."""

    def __init__(self, ui, installed) -> None:
        self.ui = ui
        self._installed = installed
        self._plan = None
        self._running = False
        ui.installButton.connect("clicked()", self.onInstall)
        ui.installProgressBar.visible = False
        ui.installLog.visible = False

    def cleanup(self) -> None:
        """The module widget goes away."""
        self.ui.installButton.disconnect("clicked()", self.onInstall)

    def refresh(self) -> None:
        """Look again what is missing; nothing is imported and nothing is installed."""
        if self._running:
            return
        missing = dependencies.missing_packages()
        self.ui.installFrame.visible = bool(missing)
        if not missing:
            return
        self._plan = dependencies.plan_installation()
        size = sum(step.size_mb for step in self._plan.steps)
        names = ", ".join(requirement.name for requirement in missing)
        sentence = _("Needed once, about {size} MB: {names}.").format(size=round(size), names=names)
        if self._plan.blocked:
            sentence += " " + self._plan.blocked
        elif dependencies.installation_pending():
            sentence += " " + _("The installation was begun before the restart; press the button to finish it.")
        self.ui.installLabel.text = sentence
        self.ui.installLabel.toolTip = "\n".join(f"{step.title}: {step.detail}" for step in self._plan.steps)
        self.ui.installButton.enabled = not self._plan.blocked
        pending = dependencies.installation_pending()
        self.ui.installButton.text = _("Continue installation") if pending else _("Install")

    def onInstall(self) -> None:
        if self._plan is None or self._running:
            return
        self._running = True
        self.ui.installButton.enabled = False
        self.ui.installProgressBar.visible = True
        self.ui.installLog.visible = True
        self.ui.installProgressBar.setRange(0, max(1, len(self._plan.steps)))
        self.ui.installProgressBar.value = 0
        dependencies.run_installation(self._plan, self._log, self._progress, self._finished)

    def _log(self, line) -> None:
        self.ui.installLog.appendPlainText(str(line).rstrip())

    def _progress(self, done, total, title) -> None:
        self.ui.installProgressBar.setRange(0, max(1, int(total)))
        self.ui.installProgressBar.value = int(done)
        self.ui.installLabel.text = title

    def _finished(self, ok, sentence) -> None:
        self._running = False
        self.ui.installProgressBar.visible = False
        if ok:
            slicer.util.showStatusMessage(sentence, 5000)
            self.ui.installLog.visible = False
        self.refresh()
        if ok and not dependencies.missing_packages():
            self._installed()
        elif sentence:
            self.ui.installLabel.text = sentence
