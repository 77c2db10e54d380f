"""What the in-application tests share: sample volumes with their labels, mouse and keyboard, waiting, exit status."""
# ruff: noqa: N802, N803

import sys
import time
import unittest
from pathlib import Path

import numpy as np
import slicer
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleTest

SAMPLES = Path(__file__).resolve().parents[2] / "Resources" / "Samples"
EFFECT = "SAM2-3dMed"
# A CPU needs seconds to load torch and the model; nothing here asserts a time, this only ends a test that hangs.
PATIENCE_SECONDS = 300


class ToolTest(ScriptedLoadableModuleTest):
    """Each test begins with the sample CT in the Segment Editor and the effect active."""

    def setUp(self):
        slicer.mrmlScene.Clear(0)
        self.volume, self.labels = self.loadSample("abdomen_ct")
        slicer.util.selectModule("SAM2_3dMed")
        self.editor = slicer.modules.SAM2_3dMedWidget.editorPanel.editor
        self.waitFor(lambda: EFFECT in self.editor.availableEffectNames(), "the effect is registered")
        self.segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Test")
        self.segmentation.CreateDefaultDisplayNodes()
        self.segmentation.SetReferenceImageGeometryParameterFromVolumeNode(self.volume)
        self.editor.setSegmentationNode(self.segmentation)
        self.editor.setSourceVolumeNode(self.volume)
        self.segment = self.addSegment("first")
        self.editor.setActiveEffectByName(EFFECT)
        self.waitFor(lambda: self.controller.status.phase.name == "READY", "the engine is ready")

    def tearDown(self):
        slicer.util.selectModule("Data")
        slicer.mrmlScene.Clear(0)
        slicer.app.processEvents()

    # ---- the tool ------------------------------------------------------------------------------------------------
    @property
    def controller(self):
        from SAM2_3dMedLib.slicer_side.application import application

        return application().controller

    @property
    def session(self):
        from SAM2_3dMedLib.slicer_side.application import application

        return application().session

    def addSegment(self, name):
        segment = self.segmentation.GetSegmentation().AddEmptySegment(name, name)
        self.editor.setCurrentSegmentID(segment)
        slicer.app.processEvents()
        return segment

    def voxels(self, segment=None):
        """The segment on the volume's grid, bool [K, J, I]."""
        segment = segment or self.segment
        return slicer.util.arrayFromSegmentBinaryLabelmap(self.segmentation, segment, self.volume).astype(bool)

    def slicesWithVoxels(self, segment=None):
        return np.flatnonzero(self.voxels(segment).any(axis=(1, 2))).tolist()

    # ---- data ----------------------------------------------------------------------------------------------------
    def loadSample(self, name):
        """The volume in the scene and its labels [K, J, I] (not in the scene)."""
        volume = slicer.util.loadVolume(str(SAMPLES / f"{name}_img.nii.gz"))
        labels = slicer.util.loadLabelVolume(str(SAMPLES / f"{name}_lab.nii.gz"))
        array = slicer.util.arrayFromVolume(labels).copy()
        slicer.mrmlScene.RemoveNode(labels)
        slicer.util.setSliceViewerLayers(background=volume, label=None, fit=True)
        return volume, array

    def middleOf(self, label):
        """A voxel (i, j, k) well inside a label, on the slice where the label is largest."""
        from scipy.ndimage import distance_transform_edt

        mask = self.labels == label
        k = int(mask.sum(axis=(1, 2)).argmax())
        j, i = np.unravel_index(distance_transform_edt(mask[k]).argmax(), mask[k].shape)
        return int(i), int(j), k

    # ---- mouse and keyboard --------------------------------------------------------------------------------------
    def view(self, name="Red"):
        from SAM2_3dMedLib.slicer_side.slice_view import slice_view_of_widget

        return slice_view_of_widget(slicer.app.layoutManager().sliceWidget(name))

    def show(self, ijk, name="Red"):
        """Bring the slice of a voxel onto the screen; the display position of the voxel in that view."""
        view = self.view(name)
        world = self.controller.source.ijk_to_world(np.array([ijk], dtype=float))
        view.go_to(world[0])
        slicer.app.processEvents()
        return tuple(int(v) for v in np.rint(view.ras_to_xyz(world)[0, :2]))

    def click(self, ijk, name="Red", shift=False, wait=True):
        """Click on a voxel and wait for the answer."""
        xy = self.show(ijk, name)
        self.drag(xy, xy, name, shift)
        if wait:
            self.waitUntilDone()

    def boxAround(self, label, name="Red"):
        """Drag a box around a label on the slice where it is largest, and wait for the answer; the slice."""
        k = self.middleOf(label)[2]
        rows, columns = np.where(self.labels[k] == label)
        start = self.show((columns.min(), rows.min(), k), name)
        end = self.show((columns.max(), rows.max(), k), name)
        self.drag(start, end, name)
        self.waitUntilDone()
        return k

    def drag(self, start, end, name="Red", shift=False):
        widget = slicer.app.layoutManager().sliceWidget(name)
        modifiers = ["Shift"] if shift else []
        slicer.util.clickAndDrag(widget, start=start, end=end, steps=1 if start == end else 8, modifiers=modifiers)
        slicer.app.processEvents()

    # ---- waiting -------------------------------------------------------------------------------------------------
    def waitFor(self, condition, what):
        limit = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            if time.monotonic() > limit:
                self.fail(f"waited in vain: {what}; status: {self.controller.status}")
            slicer.app.processEvents()
            time.sleep(0.005)

    def letPass(self, seconds):
        """Let the application do what it has put off."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            slicer.app.processEvents()
            time.sleep(0.005)

    def waitUntilDone(self):
        self.waitFor(lambda: not self.controller.status.running, "the answer")
        self.waitFor(lambda: self.controller._queue.empty, "the writing")
        slicer.app.processEvents()


def runAsScript(testCase):
    """For `Slicer --python-script`: run one test class and leave with status 0 only when all went well."""
    if slicer.util.mainWindow() is None:
        print("These tests click in the slice views of the main window: start Slicer without --no-main-window.")
        slicer.util.exit(1)
        return
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(testCase)
    result = unittest.TextTestRunner(verbosity=2, stream=sys.stdout).run(suite)
    slicer.util.exit(0 if result.wasSuccessful() else 1)
