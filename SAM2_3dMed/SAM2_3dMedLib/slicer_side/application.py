"""The one controller and the one session of the application; made when the tool is first used, ended with it."""

from __future__ import annotations

import slicer

from .controller import Controller
from .dependencies import missing_packages
from .effect_session import EffectSession
from .engine_settings import settings_in_scene
from .prompt_markups import PromptMarkups
from .prompt_store import PromptStore
from .scheduling import QtScheduler
from .segment_targets import ScriptedEffectTarget
from .segment_writer import SegmentWriter
from .slice_view import slice_view_of_widget
from .worker_client import WorkerClient
from .written_registry import WrittenRegistry

MODULES = ("SAM2_3dMed", "SegmentEditorSAM2_3dMed")


class Application:
    """Connects the effects of all editors with the one controller: the effect that is on the screen takes part."""

    def __init__(self) -> None:
        scheduler = QtScheduler()
        self.scheduler = scheduler
        store = PromptStore(slicer.mrmlScene)
        self._written = WrittenRegistry(store.slice_sums)
        self.controller = Controller(
            slicer.mrmlScene,
            WorkerClient(scheduler=scheduler),
            scheduler,
            store,
            lambda moved, deleted: PromptMarkups(slicer.mrmlScene, moved, deleted),
            missing_packages,
        )
        self.session = EffectSession(self.controller, views_on_screen)
        self._active: list = []  # active effects, the newest last
        self._owner = None
        self._writers: dict = {}
        # The application's own slot for `aboutToQuit` is older than ours: it unloads all modules and handles events
        # once more before ours is called. So the end is the moment at which our modules are about to go.
        slicer.app.moduleManager().connect("moduleAboutToBeUnloaded(QString)", self.module_unloaded)
        slicer.app.connect("aboutToQuit()", self.shutdown)

    def effect_activated(self, effect) -> None:
        """An effect became active; if two editors share the node, both effects do, and one of them is on the screen."""
        if effect not in self._active:
            self._active.append(effect)
        self._choose_owner()
        # The editor shows the effect's options after this call returns.
        self.scheduler.call_later(0, self._choose_owner)

    def effect_deactivated(self, effect) -> None:
        """An effect was left."""
        if effect in self._active:
            self._active.remove(effect)
        if effect is self._owner:
            self._owner = None
            self._choose_owner()

    def effect_deleted(self, effect) -> None:
        """The editor of an effect goes away."""
        self.effect_deactivated(effect)
        if self._writers.pop(effect, None) is not None:
            self.controller.write_waiting()

    def owns(self, effect) -> bool:
        """True for the effect that handles the events."""
        if effect is not self._owner or not effect.on_screen() or not self.controller.attached:
            self._choose_owner()
        return effect is self._owner

    def module_unloaded(self, name) -> None:
        """A module is about to be unloaded, which happens when the application ends."""
        if name in MODULES:
            self.shutdown()

    def shutdown(self) -> None:
        """The application ends; calling it again is harmless."""
        self._active.clear()
        if self._owner is not None:
            self._owner.lost_ownership()
            self._owner = None
        self._writers.clear()
        self.session.deactivate()
        self.controller.shutdown()

    def _choose_owner(self) -> None:
        if not self._active:
            self._owner = None
            self.session.deactivate()
            self.controller.detach()
            return
        owner = self._owner
        if owner is None or not owner.on_screen():
            on_screen = [effect for effect in self._active if effect.on_screen()]
            owner = on_screen[-1] if on_screen else (owner or self._active[-1])
        # After a scene was closed the controller has let go, also when the effect stayed active.
        if owner is self._owner and self.controller.attached:
            return
        if owner is not self._owner:
            if self._owner is not None:
                self._owner.lost_ownership()
            self._owner = owner
            owner.became_owner()
        if owner not in self._writers:
            self._writers[owner] = SegmentWriter(ScriptedEffectTarget(owner.scriptedEffect), self._written)
        settings = settings_in_scene(slicer.mrmlScene)
        if settings is not None:
            self.controller.set_settings(settings)
        self.session.activate()
        self.controller.attach(owner.scriptedEffect.parameterSetNode(), self._writers[owner])
        self.session.refresh_views()


def views_on_screen() -> list:
    """The slice views of the current layout."""
    layout_manager = slicer.app.layoutManager()
    if layout_manager is None:  # no main window
        return []
    views = []
    for name in layout_manager.sliceViewNames():
        widget = layout_manager.sliceWidget(name)
        view = slice_view_of_widget(widget) if widget is not None else None
        if view is not None:
            views.append(view)
    return views


_application: list[Application] = []


def application() -> Application:
    """The application's one instance; made at the first call, never at import."""
    if not _application:
        _application.append(Application())
    return _application[0]


def application_if_used() -> Application | None:
    """The instance when the tool was used already, else None."""
    return _application[0] if _application else None
