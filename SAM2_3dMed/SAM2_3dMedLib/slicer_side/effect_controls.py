"""The controls of the effect's options, in the order in which they are used."""
# ruff: noqa: N802, N803, N806

from __future__ import annotations

import ctk
import qt

from .effect_shortcuts import KEYS
from .translation import _

POSITIVE_STYLE = "QToolButton:checked { background-color: #2f9e4f; color: white; }"
NEGATIVE_STYLE = "QToolButton:checked { background-color: #c9372c; color: white; }"
# The text keeps the palette's color: red letters have a contrast of 2.3 on Slicer's dark style.
ERROR_STYLE = "QLabel { border-left: 4px solid #c9372c; padding-left: 4px; }"


class EffectControls:
    """Makes the widgets and puts them into the options frame of `scriptedEffect`; what they do is in `EffectPanel`."""

    def __init__(self, scriptedEffect, brushRadius) -> None:
        self.scriptedEffect = scriptedEffect
        self._makePromptControls(brushRadius)
        self._makePropagationControls()
        self._makeReviewControls()

    def _makePromptControls(self, brushRadius) -> None:
        self.positiveButton = self._toolButton(
            _("Add (+)"), _("A click marks the structure. Shift-click does the opposite. Key: {key}."), "sign"
        )
        self.negativeButton = self._toolButton(
            _("Remove (-)"), _("A click marks what does not belong to the structure. Key: {key}."), "sign"
        )
        self.positiveButton.setStyleSheet(POSITIVE_STYLE)
        self.negativeButton.setStyleSheet(NEGATIVE_STYLE)
        self.signGroup = self._exclusive(self.positiveButton, self.negativeButton)
        self.positiveButton.checked = True
        signRow = self._row(self.positiveButton, self.negativeButton)
        self.scriptedEffect.addLabeledOptionsWidget(_("Click:"), signRow)

        self.pointButton = self._toolButton(
            _("Point / box"),
            _("Click: point. Drag: box around the structure. Drag a point to move it, Delete removes it."),
        )
        self.brushButton = self._toolButton(
            _("Brush"),
            _(
                "Paint over the structure on one slice as a prompt; with Remove, over what is too much. "
                "Shift and mouse wheel: size."
            ),
        )
        self.lassoButton = self._toolButton(
            _("Lasso"), _("Draw around the structure on one slice as a prompt; with Remove, around what is too much.")
        )
        self.gestureGroup = self._exclusive(self.pointButton, self.brushButton, self.lassoButton)
        self.pointButton.checked = True
        gestureRow = self._row(self.pointButton, self.brushButton, self.lassoButton)
        self.scriptedEffect.addLabeledOptionsWidget(_("Prompt:"), gestureRow)

        self.brushSlider = ctk.ctkSliderWidget()
        self.brushSlider.minimum = 0.5
        self.brushSlider.maximum = 50.0
        self.brushSlider.decimals = 1
        self.brushSlider.singleStep = 0.5
        self.brushSlider.suffix = " mm"
        self.brushSlider.value = brushRadius
        self.brushSlider.setToolTip(_("Radius of the brush."))
        self.brushLabel = self.scriptedEffect.addLabeledOptionsWidget(_("Brush radius:"), self.brushSlider)

        self.segmentSelector = qt.QComboBox()
        self.segmentSelector.setToolTip(_("Segment that serves as prompt."))
        self.useSegmentButton = qt.QPushButton(_("Use on this slice"))
        self.useSegmentButton.setToolTip(
            _("Take what stands in this segment, on the slice of the view you worked in last, as a mask prompt.")
        )
        self.segmentLabel = self.scriptedEffect.addLabeledOptionsWidget(
            _("From segment:"), self._row(self.segmentSelector, self.useSegmentButton)
        )

        self.promptLabel = qt.QLabel()
        self.deleteLastButton = qt.QPushButton(_("Delete last"))
        self.deleteLastButton.setToolTip(_("Take the newest prompt back. Key: {key}.").format(key=KEYS["delete_last"]))
        self.deleteAllButton = qt.QPushButton(_("Delete all"))
        self.deleteAllButton.setToolTip(_("Delete all prompts of this segment. The segment itself stays as it is."))
        promptRow = self._row(self.promptLabel, self.deleteLastButton, self.deleteAllButton)
        self.scriptedEffect.addLabeledOptionsWidget(_("Prompts:"), promptRow)

    def _makePropagationControls(self) -> None:
        self.rangeWidget = ctk.ctkRangeWidget()
        self.rangeWidget.decimals = 0
        self.rangeWidget.singleStep = 1
        self.rangeWidget.setToolTip(
            _("First and last slice to segment, along the first prompt's direction. Full range: as far as it goes.")
        )
        self.rangeLabel = self.scriptedEffect.addLabeledOptionsWidget(_("Slice range:"), self.rangeWidget)

        self.propagateButton = qt.QPushButton(_("Propagate"))
        self.propagateButton.setToolTip(
            _("Follow the structure through the volume, in both directions. Key: {key}.").format(key=KEYS["propagate"])
        )
        self.cancelButton = qt.QPushButton(_("Cancel"))
        self.cancelButton.setToolTip(_("Stop; every slice that is done stays. Key: Esc."))
        self.autoCheckBox = qt.QCheckBox(_("Automatic"))
        self.autoCheckBox.setToolTip(_("Propagate after every prompt, without asking."))
        propagateRow = self._row(self.propagateButton, self.autoCheckBox, self.cancelButton)
        self.scriptedEffect.addOptionsWidget(propagateRow)

        # In one place, so that nothing below moves when a propagation begins and ends.
        self.progressBar = qt.QProgressBar()
        self.progressBar.setRange(0, 100)
        self.statusLabel = qt.QLabel()
        self.statusLabel.wordWrap = True
        self.statusStack = qt.QStackedWidget()
        self.statusStack.addWidget(self.statusLabel)
        self.statusStack.addWidget(self.progressBar)
        self.scriptedEffect.addOptionsWidget(self.statusStack)
        self.errorLabel = qt.QLabel()
        self.errorLabel.wordWrap = True
        self.errorLabel.setStyleSheet(ERROR_STYLE)
        self.errorLabel.visible = False
        self.scriptedEffect.addOptionsWidget(self.errorLabel)

    def _makeReviewControls(self) -> None:
        self.refineSliceButton = qt.QPushButton(_("This slice"))
        self.refineSliceButton.setToolTip(
            _("Move the outline of the segment onto the image's edges, on this slice. Key: {key}.").format(
                key=KEYS["refine"]
            )
        )
        self.refineAllButton = qt.QPushButton(_("All slices"))
        self.refineAllButton.setToolTip(
            _("Move the outline onto the image's edges on all slices, also of a segment painted by hand.")
        )
        refineRow = self._row(self.refineSliceButton, self.refineAllButton)
        self.scriptedEffect.addLabeledOptionsWidget(_("Refine boundary:"), refineRow)

        self.nextDoubtfulButton = qt.QPushButton(_("Next doubtful slice"))
        self.nextDoubtfulButton.setToolTip(
            _("Go to the next slice with low confidence that is not checked. Key: {key}.").format(
                key=KEYS["next_doubtful"]
            )
        )
        self.checkedBox = qt.QCheckBox(_("Checked"))
        self.checkedBox.setToolTip(_("You have looked at this slice. Key: {key}.").format(key=KEYS["checked"]))
        # The label takes what is left: a text that asked for room made the panel wider, and the views narrower, when a
        # propagation began and ended; they were drawn anew for up to 175 ms.
        self.reviewLabel = qt.QLabel()
        self.reviewLabel.setSizePolicy(qt.QSizePolicy.Ignored, qt.QSizePolicy.Preferred)
        self.reviewLabel.setToolTip(_("How many slices are doubtful and not checked."))
        reviewRow = self._row(self.nextDoubtfulButton, self.reviewLabel, self.checkedBox)
        self.scriptedEffect.addLabeledOptionsWidget(_("Review:"), reviewRow)

    @staticmethod
    def _toolButton(text, toolTip, shortcut=None):
        button = qt.QToolButton()
        button.text = text
        button.setToolTip(toolTip.format(key=KEYS[shortcut]) if shortcut else toolTip)
        button.checkable = True
        button.setSizePolicy(qt.QSizePolicy.Expanding, qt.QSizePolicy.Fixed)
        return button

    @staticmethod
    def _exclusive(*buttons):
        group = qt.QButtonGroup()
        group.setExclusive(True)
        for button in buttons:
            group.addButton(button)
        return group

    @staticmethod
    def _row(*widgets):
        frame = qt.QWidget()
        layout = qt.QHBoxLayout(frame)
        layout.setContentsMargins(0, 0, 0, 0)
        for widget in widgets:
            layout.addWidget(widget)
        return frame
