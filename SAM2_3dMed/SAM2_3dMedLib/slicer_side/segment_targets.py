"""Where a mask is written: the Segment Editor's effect inside the application, the editor's logic without Qt.

Both end in `vtkSlicerSegmentEditorLogic::ModifySegmentByLabelmap`, so that overwrite mode, editable area and
intensity range of the editor node hold in both. The effect's way is needed in the application because the undo
history belongs to the editor widget, and Python cannot reach the widget's logic to share it.

What a call takes depends on the label map that it is given (20 ms for a whole slice of 512 x 512, 2-4 ms for the crop
that changes), and on what the segment holds when voxels are removed (10-15 ms for 250 x 250 x 120 voxels). What an
editable area or an intensity range costs, and how this is avoided: `crop_masking`.
"""

from __future__ import annotations

from typing import Any, Protocol

import slicer


class SegmentTarget(Protocol):
    """Adds voxels to, or removes them from, a segment, as an effect of the Segment Editor would."""

    @property
    def editor_node(self) -> Any:
        """The vtkMRMLSegmentEditorNode whose masks and overwrite mode hold."""

    def save_state(self) -> None:
        """One undo step begins here."""

    def add(self, segmentation_node: Any, segment_id: str, labelmap: Any) -> None: ...

    def remove(self, segmentation_node: Any, segment_id: str, labelmap: Any) -> None: ...


class ScriptedEffectTarget:
    """Through the active effect (`qSlicerSegmentEditorScriptedEffect`) of the editor widget."""

    def __init__(self, scripted_effect: Any) -> None:
        self._effect = scripted_effect

    @property
    def editor_node(self) -> Any:
        return self._effect.parameterSetNode()

    def save_state(self) -> None:
        self._effect.saveStateForUndo()

    # Without an extent: of the calls that take one, Python reaches only that for the selected segment, and the segment
    # that is written need not be selected any more.
    def add(self, segmentation_node: Any, segment_id: str, labelmap: Any) -> None:
        self._effect.modifySegmentByLabelmap(segmentation_node, segment_id, labelmap, self._effect.ModificationModeAdd)

    def remove(self, segmentation_node: Any, segment_id: str, labelmap: Any) -> None:
        self._effect.modifySegmentByLabelmap(
            segmentation_node, segment_id, labelmap, self._effect.ModificationModeRemove
        )


class EditorLogicTarget:
    """Through a `vtkSlicerSegmentEditorLogic` of our own on an editor node (the application's singleton, or one
    made for a test).
    """

    def __init__(self, editor_node: Any) -> None:
        self.logic = slicer.vtkSlicerSegmentEditorLogic()
        self.logic.SetMRMLScene(editor_node.GetScene())
        self.logic.SetSegmentEditorNode(editor_node)

    @property
    def editor_node(self) -> Any:
        return self.logic.GetSegmentEditorNode()

    @property
    def can_undo(self) -> bool:
        return bool(self.logic.CanUndo())

    @property
    def can_redo(self) -> bool:
        return bool(self.logic.CanRedo())

    def undo(self) -> None:
        self.logic.Undo()

    def redo(self) -> None:
        self.logic.Redo()

    def save_state(self) -> None:
        self.logic.SaveStateForUndo()

    def add(self, segmentation_node: Any, segment_id: str, labelmap: Any) -> None:
        self._modify(segmentation_node, segment_id, labelmap, self.logic.ModificationModeAdd)

    def remove(self, segmentation_node: Any, segment_id: str, labelmap: Any) -> None:
        self._modify(segmentation_node, segment_id, labelmap, self.logic.ModificationModeRemove)

    def _modify(self, segmentation_node: Any, segment_id: str, labelmap: Any, mode: int) -> None:
        # The last two: not a per-segment effect; masking is not bypassed.
        self.logic.ModifySegmentByLabelmap(segmentation_node, segment_id, labelmap, mode, False, False)
