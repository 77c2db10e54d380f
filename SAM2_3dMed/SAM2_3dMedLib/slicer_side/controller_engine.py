"""The controller's part about the engine: what it needs, which model and device it has, when it is started again."""

from __future__ import annotations

from SAM2_3dMedLib.weights.verify import WeightsError

from .client_events import ClientState
from .controller_state import Phase, Status
from .engine_sentences import in_slicer
from .engine_settings import EngineSettings
from .translation import _


class EngineMixin:
    """The worker is started when it is first needed, and told what to load once for each choice of the user's."""

    def _init_engine(self, missing) -> None:
        self.settings = EngineSettings()
        self._missing = missing
        self._loaded: EngineSettings | None = None  # what the worker was told to load
        self._model_ready = False  # the worker has loaded it

    @property
    def engine_requested(self) -> bool:
        """True once the worker was told which model to load."""
        return self._loaded is not None

    def start_engine(self) -> bool:
        """Start the worker and load the model if that is not done yet; returns at once. False: see `status`."""
        missing = self._missing()
        if missing:
            names = ", ".join(requirement.name for requirement in missing)
            sentence = _("Not installed yet: {names}. Open the SAM2-3dMed module and press Install.")
            self._set_status(Status(Phase.MISSING, error=sentence.format(names=names)))
            return False
        if self._loaded == self.settings:
            return True
        try:
            weights = self.settings.weights
            self.client.start()
            self.client.load_model(weights, self.settings.device)
        except WeightsError as error:
            self._loaded = None
            self._set_status(Status(Phase.FAILED, error=in_slicer(str(error))))
            return False
        if self.client.state is ClientState.FAILED:
            return False  # the client has said why
        self._loaded, self._model_ready = self.settings, False
        self._set_status(Status(Phase.STARTING, _("Starting the engine...")))
        return True

    def restart_engine(self) -> None:
        """After an installation or a failure: begin again from nothing; the prompts are in the scene."""
        self.cancel_running()
        self._settle()
        self.client.stop()
        self._loaded = None
        if self.start_engine() and self.source is not None:
            self.client.open_volume(self.source)

    def set_settings(self, settings: EngineSettings) -> None:
        """Choose another model or device; the prompts stay, slices are encoded again when they are needed."""
        if settings == self.settings and settings == self._loaded:
            return
        self.settings = settings
        if self._loaded is not None or self.source is not None:
            self.cancel_running()
            self.start_engine()
