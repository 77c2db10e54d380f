"""The panel about models: which weights are on this computer, fetching the others, deleting what was fetched."""
# ruff: noqa: N802

from __future__ import annotations

from SAM2_3dMedLib.weights import manifest
from SAM2_3dMedLib.weights.download import remove_weights
from SAM2_3dMedLib.weights.verify import WeightsError

from .engine_sentences import in_slicer
from .model_download import ModelDownload
from .translation import _


class ModelPanel:
    """Binds the widgets of the group "Model and device"; `downloaded(name)` is called when new weights are there."""

    def __init__(self, ui, downloaded) -> None:
        self.ui = ui
        self._downloaded = downloaded
        self._name = ""
        self._download = None
        ui.downloadProgressBar.visible = False
        ui.downloadButton.connect("clicked()", self.onDownload)
        ui.removeModelButton.connect("clicked()", self.onRemove)

    def cleanup(self) -> None:
        """The module widget goes away: a download ends, and continues where it stopped at the next try."""
        if self._download is not None:
            self._download.cancel()
            self._download = None
        self.ui.downloadButton.disconnect("clicked()", self.onDownload)
        self.ui.removeModelButton.disconnect("clicked()", self.onRemove)

    def show(self, name) -> None:
        """Show what is known about the model called `name`."""
        self._name = name
        try:
            entry = manifest.read_manifest().entry(name)
        except WeightsError as error:
            self.ui.modelInfoLabel.text = in_slicer(str(error))
            self.ui.downloadButton.visible = False
            self.ui.removeModelButton.visible = False
            return
        path = manifest.find_weights(entry)
        size = _("{size} MB").format(size=round(entry.size / 1e6))
        where = _("on this computer") if path is not None else _("not on this computer")
        self.ui.modelInfoLabel.text = f"{entry.description} ({size}, {entry.licence}, {where})".strip()
        running = self._download is not None
        self.ui.downloadButton.visible = running or (path is None and not entry.is_bundled)
        self.ui.downloadButton.text = _("Stop") if running else _("Download {size}").format(size=size)
        in_store = path is not None and path.parent == manifest.store_folder()
        self.ui.removeModelButton.visible = in_store and not running
        if path is None and entry.is_bundled:
            self.ui.modelInfoLabel.text = _("The weights that come with the extension are missing: install it again.")

    def onDownload(self) -> None:
        if self._download is not None:
            self._download.cancel()
            return
        self._download = ModelDownload(self._name, self._progress, self._finished)
        self.ui.downloadProgressBar.visible = True
        self.ui.downloadProgressBar.setRange(0, 0)
        self._download.start()
        self.show(self._name)

    def onRemove(self) -> None:
        remove_weights(manifest.read_manifest().entry(self._name))
        self.show(self._name)

    def _progress(self, done, total) -> None:
        self.ui.downloadProgressBar.setRange(0, 100)
        self.ui.downloadProgressBar.value = int(100 * done / max(1, total))

    def _finished(self, sentence) -> None:
        name, self._download = self._name, None
        self.ui.downloadProgressBar.visible = False
        self.show(name)
        if sentence:
            self.ui.modelInfoLabel.text = sentence
        else:
            self._downloaded(name)
