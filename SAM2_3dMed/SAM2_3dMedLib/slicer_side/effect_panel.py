"""The options of the effect: they show what the controller says and ask it for what the user wants."""
# ruff: noqa: N802, N803, N806

from __future__ import annotations

import slicer

from .controller_state import Change, Phase
from .effect_controls import EffectControls
from .effect_mouse import Gesture
from .effect_shortcuts import EffectShortcuts
from .translation import _

MISSING_PHASES = (Phase.OFF, Phase.MISSING, Phase.FAILED)


class EffectPanel(EffectControls):
    """The options of one effect object. `application`: the shared `Application`."""

    def __init__(self, scriptedEffect, application) -> None:
        self.session = application.session
        self.controller = application.controller
        self._updating = False
        self._removeListener = None
        super().__init__(scriptedEffect, self.session.brush_radius)
        self.shortcuts = EffectShortcuts(
            {
                "sign": self.toggleSign,
                "propagate": self.onPropagate,
                "next_doubtful": self.onNextDoubtful,
                "checked": self.toggleChecked,
                "refine": self.onRefineSlice,
                "delete_last": self.controller.delete_last_prompt,
            },
            self.onEscape,
        )
        self._makeConnections()

    # ---- life ----------------------------------------------------------------------------------------------------
    def activate(self) -> None:
        """The effect is active: follow the controller."""
        if self._removeListener is None:
            self._removeListener = self.controller.listeners.add(self.onChange)
        for change in Change:
            self.onChange(change)

    def deactivate(self) -> None:
        """The effect is left."""
        self.shortcuts.uninstall()
        if self._removeListener is not None:
            self._removeListener()
            self._removeListener = None

    def cleanup(self) -> None:
        """The effect object goes away: let go of every connection, or Python keeps it alive."""
        self.deactivate()
        for widget, signal, slot in self._connections:
            widget.disconnect(signal, slot)
        self._connections = []

    def _makeConnections(self) -> None:
        self._connections = []
        for widget, signal, slot in (
            (self.positiveButton, "clicked()", self.onSign),
            (self.negativeButton, "clicked()", self.onSign),
            (self.pointButton, "clicked()", self.onGesture),
            (self.brushButton, "clicked()", self.onGesture),
            (self.lassoButton, "clicked()", self.onGesture),
            (self.brushSlider, "valueChanged(double)", self.onBrushRadius),
            (self.useSegmentButton, "clicked()", self.onUseSegment),
            (self.deleteLastButton, "clicked()", self.controller.delete_last_prompt),
            (self.deleteAllButton, "clicked()", self.controller.clear_prompts),
            (self.rangeWidget, "valuesChanged(double,double)", self.onRange),
            (self.propagateButton, "clicked()", self.onPropagate),
            (self.cancelButton, "clicked()", self.controller.cancel),
            (self.autoCheckBox, "toggled(bool)", self.onAutomatic),
            (self.refineSliceButton, "clicked()", self.onRefineSlice),
            (self.refineAllButton, "clicked()", self.onRefineAll),
            (self.nextDoubtfulButton, "clicked()", self.onNextDoubtful),
            (self.checkedBox, "clicked()", self.onChecked),
        ):
            widget.connect(signal, slot)
            self._connections.append((widget, signal, slot))

    # ---- what the user does --------------------------------------------------------------------------------------
    def onSign(self) -> None:
        self.session.mouse.negative = self.negativeButton.checked

    def toggleSign(self) -> None:
        (self.positiveButton if self.session.mouse.negative else self.negativeButton).checked = True
        self.onSign()

    def onGesture(self) -> None:
        if self.brushButton.checked:
            gesture = Gesture.BRUSH
        elif self.lassoButton.checked:
            gesture = Gesture.LASSO
        else:
            gesture = Gesture.POINT
        self.scriptedEffect.setParameter("Gesture", gesture.name)

    def onBrushRadius(self, value) -> None:
        if not self._updating:
            self.scriptedEffect.setParameter("BrushRadiusMm", float(value))

    def onAutomatic(self, checked) -> None:
        if not self._updating:
            self.scriptedEffect.setParameter("AutoPropagate", 1 if checked else 0)

    def onUseSegment(self) -> None:
        where = self.session.current_slice()
        segmentId = self.segmentSelector.currentData
        if where is not None and segmentId:
            self.controller.add_segment_mask(segmentId, *where)

    def onRange(self, first, last) -> None:
        if self._updating:
            return
        review = self.controller.review
        first, last = round(first), round(last)
        old = self.controller.slice_range or (0, review.slice_count - 1)
        full = first <= 0 and last >= review.slice_count - 1
        self.controller.slice_range = None if full else (first, last)
        self.session.go_to_slice(first if first != old[0] else last)

    def onPropagate(self) -> None:
        self.controller.propagate()

    def onEscape(self) -> None:
        """Something can be canceled: the gesture of the mouse first, else what the engine computes."""
        if not self.session.mouse.cancel():
            self.controller.cancel()
        self.updateEscape()

    def updateEscape(self) -> None:
        """Esc is ours as long as it has something to cancel."""
        self.shortcuts.take_escape(self.controller.status.running or self.session.mouse.busy)

    def onRefineSlice(self) -> None:
        where = self.session.current_slice()
        if where is not None:
            self.controller.refine(where[0], where[1])

    def onRefineAll(self) -> None:
        axis = self.controller.review.axis
        if axis is None:
            where = self.session.current_slice()
            axis = where[0] if where is not None else None
        if axis is not None:
            self.controller.refine(axis, None)

    def onNextDoubtful(self) -> None:
        if not self.session.go_to_next_doubtful():
            slicer.util.showStatusMessage(_("No doubtful slice is left."), 3000)

    def onChecked(self) -> None:
        index = self.session.current_index()
        if index is not None:
            self.controller.set_checked(index, self.checkedBox.checked)

    def toggleChecked(self) -> None:
        if self.checkedBox.enabled:
            self.checkedBox.checked = not self.checkedBox.checked
            self.onChecked()

    # ---- what the controller says --------------------------------------------------------------------------------
    def updateFromParameters(self) -> None:
        """Show the parameters of the editor node (they are saved with the scene) and use them."""
        gesture = self.scriptedEffect.parameter("Gesture")
        gesture = Gesture[gesture] if gesture in Gesture.__members__ else Gesture.POINT
        self.session.mouse.gesture = gesture
        self.session.brush_radius = max(0.2, self.scriptedEffect.doubleParameter("BrushRadiusMm"))
        self.controller.auto_propagate = bool(self.scriptedEffect.integerParameter("AutoPropagate"))
        self._updating = True
        self.pointButton.checked = gesture is Gesture.POINT
        self.brushButton.checked = gesture is Gesture.BRUSH
        self.lassoButton.checked = gesture is Gesture.LASSO
        self.brushSlider.value = self.session.brush_radius
        self.brushSlider.visible = gesture is Gesture.BRUSH
        self.brushLabel.visible = gesture is Gesture.BRUSH
        self.autoCheckBox.checked = self.controller.auto_propagate
        self._updating = False

    def onChange(self, change) -> None:
        if change is Change.STATUS:  # not while updating: what the mouse wheel chose is stored as the slider's own is
            self.brushSlider.value = self.session.brush_radius
        self._updating = True
        if change is Change.STATUS:
            self._showStatus()
        elif change is Change.PROMPTS:
            self._showPrompts()
        elif change is Change.REVIEW:
            self._showReview()
        else:
            self._showContext()
        self._updating = False

    def _showStatus(self) -> None:
        status = self.controller.status
        running = status.running
        self.cancelButton.enabled = running
        self.updateEscape()
        sentence = status.sentence
        if status.seconds_left is not None and running:
            sentence += "   " + _("{seconds} s left").format(seconds=max(1, round(status.seconds_left)))
        if status.fraction is None:
            self.statusLabel.text = sentence
            self.statusStack.setCurrentWidget(self.statusLabel)
        else:
            self._showProgress(round(100 * status.fraction), sentence)
            self.statusStack.setCurrentWidget(self.progressBar)
        self.errorLabel.text = status.error
        self.errorLabel.visible = bool(status.error)
        self.propagateButton.enabled = status.phase not in MISSING_PHASES and bool(self.controller.prompts)

    def _showProgress(self, percent: int, sentence: str) -> None:
        # In the bar, not in the label: a label's new text has the whole panel laid out again, 30 ms for each slice.
        # A progress bar draws itself, and the window with it, within the call: 17 ms for each slice, by software.
        # With its updates off it is drawn with everything else.
        self.progressBar.updatesEnabled = False
        self.progressBar.setFormat(sentence)
        self.progressBar.value = percent
        self.progressBar.updatesEnabled = True

    def _showPrompts(self) -> None:
        count = len(self.controller.prompts)
        self.promptLabel.text = str(count)
        self.deleteLastButton.enabled = count > 0
        self.deleteAllButton.enabled = count > 0
        self.propagateButton.enabled = self.controller.status.phase not in MISSING_PHASES and count > 0

    def _showReview(self) -> None:
        review = self.controller.review
        known = review.axis is not None and review.slice_count > 1
        self.rangeWidget.enabled = known
        if known:
            self.rangeWidget.setRange(0, review.slice_count - 1)
            first, last = self.controller.slice_range or (0, review.slice_count - 1)
            self.rangeWidget.setValues(first, last)
        doubtful = len(review.doubtful())
        self.nextDoubtfulButton.enabled = doubtful > 0
        self.reviewLabel.text = f"({doubtful})" if review.slices else ""
        self.updateChecked()

    def updateChecked(self) -> None:
        """The slice on the screen changed."""
        review = self.controller.review
        index = self.session.current_index()
        self.checkedBox.enabled = index is not None and bool(review.slices)
        wanted = index is not None and review.is_done(index)
        if self.checkedBox.checked != wanted:
            self.checkedBox.checked = wanted

    def _showContext(self) -> None:
        self._fillSegments()
        self._showPrompts()
        self._showReview()

    def _fillSegments(self) -> None:
        chosen = self.segmentSelector.currentData
        self.segmentSelector.clear()
        node = self.controller.segmentation_node
        if node is not None:
            segmentation = node.GetSegmentation()
            for index in range(segmentation.GetNumberOfSegments()):
                segmentId = segmentation.GetNthSegmentID(index)
                self.segmentSelector.addItem(segmentation.GetSegment(segmentId).GetName(), segmentId)
        self.segmentSelector.setCurrentIndex(max(0, self.segmentSelector.findData(chosen)))
        self.useSegmentButton.enabled = self.segmentSelector.count > 0
