"""The whole job in the application: click, preview, correct, propagate, cancel, undo, review, refine."""
# ruff: noqa: N802, PT009

import numpy as np
import qt
import SAM2_3dMedTestTools as tools  # not `from`: a test class in this namespace would be run as a test of its own
import slicer

LIVER, SPLEEN = 6, 1


class SAM2_3dMedWorkflowTest(tools.ToolTest):  # noqa: N801
    def test_moduleOpensWithTheEffectActiveInTheSharedEditor(self):
        self.assertEqual(self.editor.activeEffect().name, tools.EFFECT)
        node = slicer.mrmlScene.GetSingletonNode("SegmentEditor", "vtkMRMLSegmentEditorNode")
        self.assertIs(self.editor.mrmlSegmentEditorNode(), node)
        self.assertEqual(self.controller.status.error, "")

    def test_clickGivesAPreviewOnItsSliceOnly(self):
        i, j, k = self.middleOf(LIVER)
        self.click((i, j, k))
        self.assertEqual(self.controller.status.error, "")
        self.assertEqual(self.slicesWithVoxels(), [k])
        self.assertTrue(self.voxels()[k, j, i])
        mask, truth = self.voxels()[k], self.labels[k] == LIVER
        self.assertGreater((mask & truth).sum() / mask.sum(), 0.5)

    def test_clickInEveryViewMarksItsVoxel(self):
        i, j, k = self.middleOf(LIVER)
        for name, axis in (("Red", 0), ("Yellow", 2), ("Green", 1)):
            segment = self.addSegment(name)
            self.click((i, j, k), name)
            voxels = self.voxels(segment)
            self.assertTrue(voxels.any(), name)
            others = tuple(a for a in (0, 1, 2) if a != axis)
            self.assertEqual(np.flatnonzero(voxels.any(axis=others)).tolist(), [(k, j, i)[axis]], name)

    def test_boxByDragging(self):
        k = self.boxAround(SPLEEN)
        mask, truth = self.voxels()[k], self.labels[k] == SPLEEN
        self.assertGreater(2 * (mask & truth).sum() / (mask.sum() + truth.sum()), 0.5)

    def test_undoAndRedoTakeThePromptAlong(self):
        place = self.middleOf(LIVER)
        self.click(place)
        after = self.voxels()
        self.editor.undo()
        self.waitFor(lambda: len(self.controller.prompts) == 0, "the prompt goes with the undo")
        self.assertFalse(self.voxels().any())
        self.editor.redo()
        self.waitFor(lambda: len(self.controller.prompts) == 1, "the prompt comes back with the redo")
        self.assertTrue((self.voxels() == after).all())

    def test_undoBeforeTheAnswerTakesBackThatPromptOnly(self):
        i, j, k = self.middleOf(LIVER)
        self.click((i, j, k))
        before = self.voxels()
        self.click((i, j, k + 2), wait=False)
        self.assertEqual(len(self.controller.prompts), 2)
        self.editor.undo()
        self.waitFor(lambda: len(self.controller.prompts) == 1, "the prompt goes with the undo")
        self.waitUntilDone()
        self.assertTrue((self.voxels() == before).all())

    def test_aPromptThatChangesNoVoxelIsUndoneToo(self):
        i, j, k = self.middleOf(LIVER)
        self.click((i, j, k))
        before = self.voxels()
        self.controller.clear_prompts()
        slicer.app.processEvents()
        self.assertEqual(len(self.controller.prompts), 0)
        self.editor.undo()
        self.waitFor(lambda: len(self.controller.prompts) == 1, "the prompts come back with one undo")
        self.assertTrue((self.voxels() == before).all())

    def test_escapeBelongsToTheToolOnlyWhileItRuns(self):
        def owners():
            found = slicer.util.mainWindow().findChildren(qt.QShortcut)
            return [shortcut for shortcut in found if shortcut.key.toString() == "Esc" and shortcut.enabled]

        idle = len(owners())
        self.assertGreaterEqual(idle, 1)  # the editor's own
        self.boxAround(LIVER)
        self.controller.propagate()
        self.waitFor(lambda: len(self.slicesWithVoxels()) >= 2, "it runs")
        self.assertEqual(len(owners()), 1)  # two would be ambiguous to Qt, and neither would be activated
        self.controller.cancel()
        self.waitUntilDone()
        self.assertEqual(len(owners()), idle)
        self.assertEqual(self.editor.activeEffect().name, tools.EFFECT)

    def test_propagationIsOneUndoStepAndLeavesTheNeighborAlone(self):
        neighbor = self.addSegment("neighbor")
        self.boxAround(SPLEEN)
        self.controller.propagate()
        self.waitUntilDone()
        before = self.voxels(neighbor)
        self.editor.setCurrentSegmentID(self.segment)
        self.editor.mrmlSegmentEditorNode().SetOverwriteMode(slicer.vtkMRMLSegmentEditorNode.OverwriteNone)
        self.boxAround(LIVER)
        preview = self.voxels()
        self.assertTrue(self.controller.propagate())
        self.waitUntilDone()
        self.assertGreater(len(self.slicesWithVoxels()), 3)
        self.assertTrue((self.voxels(neighbor) == before).all())
        self.editor.undo()
        self.waitFor(lambda: (self.voxels() == preview).all(), "one undo takes back the propagation")
        self.editor.redo()
        self.waitFor(lambda: len(self.slicesWithVoxels()) > 3, "redo brings it again")

    def test_editableAreaAndIntensityRangeHold(self):
        node = self.editor.mrmlSegmentEditorNode()
        values = slicer.util.arrayFromVolume(self.volume)
        k = self.middleOf(LIVER)[2]
        middle = float(int(np.median(values[k][self.labels[k] == LIVER])))  # the editor cuts limits to whole numbers
        node.SetSourceVolumeIntensityMaskRange(middle, float(values.max()))
        node.SourceVolumeIntensityMaskOn()
        self.boxAround(LIVER)
        node.SourceVolumeIntensityMaskOff()
        inside = self.voxels()
        self.assertTrue(inside.any())
        self.assertGreaterEqual(values[inside].min(), middle)
        other = self.addSegment("other")
        node.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedOutsideAllSegments)
        self.boxAround(LIVER)
        node.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedEverywhere)
        self.assertTrue(self.voxels(other).any())
        self.assertFalse((self.voxels(other) & inside).any())
        self.assertTrue((self.voxels("first") == inside).all())

    def test_cancelKeepsWhatIsDoneAndTheToolGoesOn(self):
        self.boxAround(LIVER)
        self.controller.propagate()
        self.waitFor(lambda: len(self.slicesWithVoxels()) >= 2, "two slices are there")
        self.controller.cancel()
        self.waitUntilDone()
        done = self.slicesWithVoxels()
        self.assertGreaterEqual(len(done), 2)
        self.click((*self.middleOf(LIVER)[:2], done[0]))
        self.assertEqual(self.controller.status.error, "")

    def test_correctionsOnAnySliceAreUsed(self):
        self.boxAround(LIVER)
        self.controller.propagate()
        self.waitUntilDone()
        far = max(self.slicesWithVoxels())
        rows, columns = np.where(self.voxels()[far])
        wrong = (int(columns[len(columns) // 2]), int(rows[len(rows) // 2]), far)
        before = self.voxels()[far].sum()
        self.click(wrong, shift=True)
        self.assertEqual(len(self.controller.prompts), 2)
        self.assertNotEqual(self.voxels()[far].sum(), before)

    def test_reviewStripAndNextDoubtful(self):
        self.boxAround(LIVER)
        self.controller.propagate()
        self.waitUntilDone()
        self.waitFor(lambda: self.controller.review.slices, "confidence is there")
        from SAM2_3dMedLib.slicer_side.review_strip import ReviewStrip

        view = self.view("Red")
        strip = ReviewStrip(view.size(), view.pixel_ratio)
        wanted = self.controller.review.span[0]
        x = next(x for x in range(view.size()[0]) if strip.slice_at(x, 6, self.controller.review) == wanted) + 1
        self.drag((x, 6), (x, 6))
        self.assertEqual(self.session.current_index(), wanted)
        self.assertEqual(len(self.controller.prompts), 1)
        for index in self.controller.review.doubtful():
            self.controller.set_checked(index, True)
        self.assertFalse(self.session.go_to_next_doubtful())

    def test_refineBoundaryOfASegmentPaintedByHand(self):
        k = self.middleOf(LIVER)[2]
        painted = np.zeros(self.labels.shape, dtype=np.uint8)
        painted[k] = self.labels[k] == LIVER
        slicer.util.updateSegmentBinaryLabelmapFromArray(painted, self.segmentation, self.segment, self.volume)
        self.assertTrue(self.controller.refine(2, k))
        self.waitUntilDone()
        self.assertEqual(self.controller.status.error, "")
        mask, truth = self.voxels()[k], self.labels[k] == LIVER
        self.assertGreater(2 * (mask & truth).sum() / (mask.sum() + truth.sum()), 0.5)

    def test_nothingOfTheUsersIsChanged(self):
        other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "mine")
        other.AddControlPoint(1.0, 2.0, 3.0)
        selection = slicer.mrmlScene.GetNodeByID("vtkMRMLSelectionNodeSingleton")
        placed = selection.GetActivePlaceNodeID()
        voxels = slicer.util.arrayFromVolume(self.volume).copy()
        display = self.volume.GetDisplayNode()
        window = (display.GetWindow(), display.GetLevel())
        layout = slicer.app.layoutManager().layout
        interaction = slicer.mrmlScene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
        mode = interaction.GetCurrentInteractionMode()
        self.click(self.middleOf(LIVER))
        self.controller.propagate()
        self.waitUntilDone()
        self.editor.setActiveEffect(None)
        slicer.app.processEvents()
        self.assertTrue((slicer.util.arrayFromVolume(self.volume) == voxels).all())
        self.assertEqual((display.GetWindow(), display.GetLevel()), window)
        self.assertEqual(slicer.app.layoutManager().layout, layout)
        self.assertEqual(interaction.GetCurrentInteractionMode(), mode)
        self.assertEqual(other.GetNumberOfControlPoints(), 1)
        self.assertEqual(selection.GetActivePlaceNodeID(), placed)
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLMarkupsNode"), 1)


if __name__ == "__main__":
    tools.runAsScript(SAM2_3dMedWorkflowTest)
