"""Segment Editor effect "SAM2-3dMed": wiring between the application and SAM2_3dMedLib.slicer_side."""
# ruff: noqa: N802, N803, N806, N813

import os
import sys

import qt
from SegmentEditorEffects import AbstractScriptedSegmentEditorEffect
from slicer.i18n import tr as _


def _makeLibraryImportable():
    """The library lies beside the SAM2_3dMed module: on the path when that is loaded, else in the sibling folder."""
    try:
        import SAM2_3dMedLib  # noqa: F401
    except ModuleNotFoundError:
        here = os.path.dirname(os.path.abspath(__file__))
        sys.path.append(os.path.join(os.path.dirname(os.path.dirname(here)), "SAM2_3dMed"))


class SegmentEditorEffect(AbstractScriptedSegmentEditorEffect):
    """One object for each editor widget; all share one controller (see slicer_side/application.py)."""

    def __init__(self, scriptedEffect):
        scriptedEffect.name = "SAM2-3dMed"  # no tr: effects are found by this name
        scriptedEffect.title = "SAM2-3dMed"
        # Prompts belong to the selected segment, but the effect works while there is none yet: a click makes the first.
        scriptedEffect.perSegment = False
        scriptedEffect.requireSegments = False
        AbstractScriptedSegmentEditorEffect.__init__(self, scriptedEffect)
        self.panel = None

    def clone(self):
        import qSlicerSegmentationsEditorEffectsPythonQt as effects

        clonedEffect = effects.qSlicerSegmentEditorScriptedEffect(None)
        clonedEffect.setPythonSource(__file__.replace("\\", "/"))
        return clonedEffect

    def icon(self):
        iconPath = os.path.join(os.path.dirname(__file__), "SegmentEditorEffect.png")
        if os.path.exists(iconPath):
            return qt.QIcon(iconPath)
        return qt.QIcon()

    def helpText(self):
        return "<html>" + _(
            """Segment a structure in 3D from a few clicks<br>.
<p><ul style="margin: 0">
<li><b>Left-click:</b> mark the structure; <b>Shift + left-click:</b> mark what does not belong to it.
<li><b>Left-button drag:</b> box around the structure. Drag a point to move it, <b>Delete</b> removes it.
<li><b>Brush, Lasso:</b> mark the structure by a stroke on one slice.
<li><b>Propagate:</b> follow the structure through the volume; correct on any slice with another click.
<li><b>Bar below the view:</b> confidence of each slice; click to go there.
</ul><p>"""
        )

    def setupOptionsFrame(self):
        _makeLibraryImportable()
        from SAM2_3dMedLib.slicer_side.application import application
        from SAM2_3dMedLib.slicer_side.effect_panel import EffectPanel

        self.panel = EffectPanel(self.scriptedEffect, application())

    def createCursor(self, widget):
        return qt.QCursor(qt.Qt.CrossCursor)

    # ---- life ----------------------------------------------------------------------------------------------------
    def activate(self):
        self._application().effect_activated(self)
        if self.panel is not None:
            self.panel.updateFromParameters()
            self.panel.activate()

    def deactivate(self):
        if self.panel is not None:
            self.panel.deactivate()
        self._application().effect_deactivated(self)

    def cleanup(self):
        if self.panel is not None:
            self.panel.cleanup()
            self._application().effect_deleted(self)
            self.panel = None

    def on_screen(self):
        """True when the editor of this effect can be seen: two editors may share the node, one of them is shown.

        The editor shows the options after `activate` only, so that the editor itself is asked, not its options: who
        takes part is known at once, and nothing that was begun in this moment is handed over and canceled.
        """
        frame = widget = self.scriptedEffect.optionsFrame()
        while widget is not None and not widget.inherits("qMRMLSegmentEditorWidget"):
            widget = widget.parentWidget()
        return bool((frame if widget is None else widget).visible)

    def became_owner(self):
        """This effect handles the events from now on."""
        if self.panel is not None:
            self.panel.shortcuts.install()
            self.panel.updateEscape()

    def lost_ownership(self):
        """Another effect handles the events."""
        if self.panel is not None:
            self.panel.shortcuts.uninstall()

    # ---- events --------------------------------------------------------------------------------------------------
    def processInteractionEvents(self, callerInteractor, eventId, viewWidget):
        if viewWidget.className() != "qMRMLSliceWidget":
            return False
        application = self._application()
        if not application.owns(self):
            return False
        from SAM2_3dMedLib.slicer_side.slice_view import slice_view_of_widget

        view = slice_view_of_widget(viewWidget)
        consumed = view is not None and application.session.handle_event(view, callerInteractor, eventId)
        self.panel.updateEscape()  # a drag has begun or ended
        return bool(consumed)

    def processViewNodeEvents(self, callerViewNode, eventId, viewWidget):
        application = self._application()
        if application.owns(self) and callerViewNode is not None and callerViewNode.IsA("vtkMRMLSliceNode"):
            application.session.redraw_node(callerViewNode)
            self.panel.updateChecked()

    def layoutChanged(self):
        if self.scriptedEffect.active() and self._application().owns(self):
            self._application().session.refresh_views()

    def sourceVolumeNodeChanged(self):
        if self.scriptedEffect.active():
            self._application().controller.refresh_context()

    def referenceGeometryChanged(self):
        if self.scriptedEffect.active():
            self._application().controller.refresh_context()

    # ---- parameters ----------------------------------------------------------------------------------------------
    def setMRMLDefaults(self):
        self.scriptedEffect.setParameterDefault("Gesture", "POINT")
        self.scriptedEffect.setParameterDefault("BrushRadiusMm", 4.0)
        self.scriptedEffect.setParameterDefault("AutoPropagate", 0)

    def updateGUIFromMRML(self):
        if self.panel is not None:
            self.panel.updateFromParameters()

    def updateMRMLFromGUI(self):
        """Each control writes its own parameter when it is used."""

    @staticmethod
    def _application():
        from SAM2_3dMedLib.slicer_side.application import application

        return application()
