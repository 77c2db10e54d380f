"""The tool and the scene in the application: save and load, close while running, delete while running, two editors."""
# ruff: noqa: N802, PT009

import tempfile
from pathlib import Path

import SAM2_3dMedTestTools as tools  # not `from`: a test class in this namespace would be run as a test of its own
import slicer

LIVER = 6


class SAM2_3dMedSceneTest(tools.ToolTest):  # noqa: N801
    def test_promptsComeBackWithTheScene(self):
        self.boxAround(LIVER)
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "scene.mrb")
            self.assertTrue(slicer.util.saveScene(path))
            slicer.mrmlScene.Clear(0)
            slicer.app.processEvents()
            slicer.util.loadScene(path)
        self.segmentation = slicer.util.getNode("Test")  # the module has made one of its own, too
        self.volume = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode")
        self.segment = self.segmentation.GetSegmentation().GetNthSegmentID(0)
        self.editor.setSegmentationNode(self.segmentation)
        self.editor.setSourceVolumeNode(self.volume)
        self.editor.setCurrentSegmentID(self.segment)
        self.editor.setActiveEffectByName(tools.EFFECT)
        self.waitFor(lambda: len(self.controller.prompts) == 1, "the prompt is there again")
        before = self.voxels()
        self.assertTrue(self.controller.propagate())
        self.waitUntilDone()
        self.assertGreater(len(self.slicesWithVoxels()), 3)
        self.editor.undo()
        self.waitFor(lambda: (self.voxels() == before).all(), "undo works in the loaded scene")

    def test_sceneClosedWhileRunning(self):
        self.boxAround(LIVER)
        self.controller.propagate()
        self.waitFor(lambda: len(self.slicesWithVoxels()) >= 2, "it runs")
        slicer.mrmlScene.Clear(0)
        for _turn in range(20):
            slicer.app.processEvents()
        self.assertFalse(self.controller.status.running)

    def test_theNextScenesBeginByThemselvesAsTheFirstOne(self):
        for _scene in range(2):
            slicer.mrmlScene.Clear(0)
            self.letPass(1.0)
            self.volume = slicer.util.loadVolume(str(tools.SAMPLES / "abdomen_ct_img.nii.gz"))
            self.letPass(1.5)
            self.assertIs(self.editor.sourceVolumeNode(), self.volume)
            self.assertEqual(self.controller.source.node_id, self.volume.GetID())

    def test_volumeAndSegmentDeletedWhileRunning(self):
        self.boxAround(LIVER)
        self.controller.propagate()
        self.waitFor(lambda: len(self.slicesWithVoxels()) >= 2, "it runs")
        self.segmentation.GetSegmentation().RemoveSegment(self.segment)
        self.waitFor(lambda: not self.controller.status.running, "it stops with its segment")
        self.segment = self.addSegment("second")
        self.boxAround(LIVER)
        self.controller.propagate()
        self.waitFor(lambda: len(self.slicesWithVoxels()) >= 2, "it runs again")
        slicer.mrmlScene.RemoveNode(self.volume)
        self.waitFor(lambda: not self.controller.status.running, "it stops with its volume")

    def test_theEffectWorksInSlicersOwnSegmentEditor(self):
        slicer.util.selectModule("SegmentEditor")
        editor = slicer.modules.SegmentEditorWidget.editor
        editor.setActiveEffectByName(tools.EFFECT)
        self.waitFor(lambda: self.controller.status.phase.name == "READY", "the engine is ready there too")
        self.boxAround(LIVER)
        self.assertEqual(len(self.slicesWithVoxels()), 1)
        editor.undo()
        self.waitFor(lambda: not self.voxels().any(), "undo of that editor")
        self.boxAround(LIVER)
        slicer.util.selectModule("SAM2_3dMed")
        self.assertEqual(self.editor.activeEffect().name, tools.EFFECT)
        self.assertEqual(len(self.controller.prompts), 1)
        self.assertTrue(self.controller.propagate())
        self.waitUntilDone()
        self.assertGreater(len(self.slicesWithVoxels()), 3)

    def test_reloadOfTheModuleWhileRunning(self):
        self.boxAround(LIVER)
        self.controller.propagate()
        self.waitFor(lambda: len(self.slicesWithVoxels()) >= 2, "it runs")
        slicer.util.reloadScriptedModule("SAM2_3dMed")
        slicer.app.processEvents()
        done = self.slicesWithVoxels()
        self.assertGreaterEqual(len(done), 2)
        self.editor = slicer.modules.SAM2_3dMedWidget.editorPanel.editor
        self.editor.setActiveEffectByName(tools.EFFECT)
        self.waitFor(lambda: len(self.controller.prompts) == 1, "the prompts are still there")


if __name__ == "__main__":
    tools.runAsScript(SAM2_3dMedSceneTest)
