"""Slicer module "SAM2-3dMed": model, device, installation of what is missing, and a Segment Editor with the effect."""
# ruff: noqa: N802, N803, N806, PT009

import time
from pathlib import Path

import slicer
import vtk
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin


class SAM2_3dMed(ScriptedLoadableModule):  # noqa: N801 - Slicer finds a module by its file name
    """Metadata. Nothing is installed, fetched or started here."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("SAM2-3dMed")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        self.parent.dependencies = ["Segmentations"]
        self.parent.contributors = ["SlicerSAM2_3dMed developers"]
        self.parent.helpText = _(
            """
Segment a structure of a CT or MR volume from a few clicks: click in a slice, press Propagate, correct where needed.
Everything runs on this computer. See the
<a href="https://github.com/SlicerSAM2-3dMed/SlicerSAM2_3dMed#readme">tutorial</a>.
Not a medical device: results must be checked by a qualified person.
"""
        )
        self.parent.acknowledgementText = _(
            """
The method is SAM2-3dMed; the network builds on SAM 2 (Meta AI, Apache 2.0).
Sample volumes: see Resources/Samples/ATTRIBUTION.md.
"""
        )
        slicer.app.connect("startupCompleted()", registerSampleData)


def registerSampleData():
    """Add the bundled CT and MR to the Sample Data module, where the application has that module."""
    if not hasattr(slicer.modules, "sampledata"):
        return
    from SAM2_3dMedLib.slicer_side.sample_data import register_samples

    register_samples(Path(__file__).resolve().parent / "Resources" / "Icons")


class SAM2_3dMedWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):  # noqa: N801
    """Wiring between the .ui file, the panels and the application's one controller."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self._parameterNode = None
        self._parameterNodeGuiTag = None
        self._removeListener = None
        self._entered = False

    # ---- life ----------------------------------------------------------------------------------------------------
    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        from SAM2_3dMedLib.slicer_side.panel_editor import EditorPanel
        from SAM2_3dMedLib.slicer_side.panel_install import InstallPanel
        from SAM2_3dMedLib.slicer_side.panel_model import ModelPanel

        uiWidget = slicer.util.loadUI(self.resourcePath("UI/SAM2_3dMed.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = SAM2_3dMedLogic()
        self.editorPanel = EditorPanel(self.ui.editorContainer.layout())
        self.installPanel = InstallPanel(self.ui, self.onInstalled)
        self.modelPanel = ModelPanel(self.ui, self.onModelDownloaded)
        self.ui.sampleCTButton.connect("clicked()", self.onSampleCT)
        self.ui.sampleMRButton.connect("clicked()", self.onSampleMR)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartImportEvent, self.onSceneStartImport)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndImportEvent, self.onSceneEndClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.NodeAddedEvent, self.onNodeAdded)
        self.initializeParameterNode()
        self.installPanel.refresh()
        if getattr(self.parent, "isEntered", False):  # a reload while the module is shown
            self.enter()

    def cleanup(self):
        self._entered = False  # a timer may still be on its way to `onSceneSettled`
        self.setParameterNode(None)  # takes its observer away, and would warn when that is gone already
        self.removeObservers()
        if self._removeListener is not None:
            self._removeListener()
            self._removeListener = None
        self.ui.sampleCTButton.disconnect("clicked()", self.onSampleCT)
        self.ui.sampleMRButton.disconnect("clicked()", self.onSampleMR)
        self.installPanel.cleanup()
        self.modelPanel.cleanup()
        self.editorPanel.cleanup()

    def enter(self):
        self._entered = True
        self.initializeParameterNode()
        self.installPanel.refresh()
        if self._removeListener is None:
            from SAM2_3dMedLib.slicer_side.application import application

            self._removeListener = application().controller.listeners.add(self.onControllerChange)
        self.editorPanel.enter()
        self.updateFromController()

    def exit(self):
        self._entered = False
        self.editorPanel.exit()
        if self._parameterNode is not None:
            self.setParameterNode(None)

    # ---- scene ---------------------------------------------------------------------------------------------------
    def onSceneStartClose(self, caller, event):
        self.setParameterNode(None)
        self.editorPanel.sceneStartClose()

    def onSceneStartImport(self, caller, event):
        self.setParameterNode(None)  # the scene may bring a node with other values; it is looked at when it is complete

    def onSceneEndClose(self, caller, event):
        if self._entered:
            self.initializeParameterNode()
            self.editorPanel.sceneReplaced()
            self.callLater(0, self.onSceneSettled)

    def onSceneSettled(self):
        if not self._entered:
            return
        if slicer.mrmlScene.IsBatchProcessing() or slicer.mrmlScene.IsClosing():
            self.callLater(100, self.onSceneSettled)  # the editor chooses its nodes when all of a scene is loaded
            return
        self.editorPanel.sceneSettled()
        self.updateFromController()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def onNodeAdded(self, caller, event, node):
        if self._entered and node.IsA("vtkMRMLScalarVolumeNode") and not slicer.mrmlScene.IsBatchProcessing():
            # The reader fills the node and shows it in the views after this event.
            self.callLater(100, self.onSceneSettled)

    @staticmethod
    def callLater(milliseconds, callback):
        from SAM2_3dMedLib.slicer_side.application import application

        application().scheduler.call_later(milliseconds, callback)

    # ---- parameters ----------------------------------------------------------------------------------------------
    def initializeParameterNode(self):
        self.setParameterNode(self.logic.getParameterNode())

    def setParameterNode(self, parameterNode):
        if self._parameterNode is not None:
            self._parameterNode.disconnectGui(self._parameterNodeGuiTag)
            self.removeObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParametersChanged)
        self._parameterNode = parameterNode
        if parameterNode is not None:
            self._parameterNodeGuiTag = parameterNode.connectGui(self.ui)
            self.addObserver(parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParametersChanged)
            self.onParametersChanged()

    def onParametersChanged(self, caller=None, event=None):
        if self._parameterNode is None:
            return
        self.modelPanel.show(self._parameterNode.modelName)
        self.logic.applySettings(self._parameterNode)

    # ---- buttons -------------------------------------------------------------------------------------------------
    def onSampleCT(self):
        self.loadSample(0)

    def onSampleMR(self):
        self.loadSample(1)

    def loadSample(self, index):
        from SAM2_3dMedLib.slicer_side.sample_data import SAMPLES, sample_path

        with slicer.util.tryWithErrorDisplay(_("The sample volume could not be loaded."), waitCursor=True):
            sample = SAMPLES[index]
            volume = slicer.util.loadVolume(str(sample_path(sample)), {"name": sample.name})
            self.editorPanel.selectNodes()
            self.editorPanel.editor.setSourceVolumeNode(volume)
            slicer.util.setSliceViewerLayers(background=volume, fit=True)
            self.editorPanel.activateEffect()
            self.updateFromController()

    def onInstalled(self):
        from SAM2_3dMedLib.slicer_side.application import application

        application().controller.restart_engine()

    def onModelDownloaded(self, name):
        self.onParametersChanged()

    # ---- what the controller says --------------------------------------------------------------------------------
    def onControllerChange(self, change):
        self.updateFromController()

    def updateFromController(self):
        from SAM2_3dMedLib.slicer_side.application import application_if_used

        used = application_if_used()
        sentence = ""
        if used is not None:
            # What went wrong stands at the effect's end, too, which a low window does not show.
            sentence = used.controller.status.error or used.controller.client.device_sentence
        self.ui.engineLabel.text = sentence
        self.ui.sampleFrame.visible = not self.editorPanel.hasSourceVolume()


class SAM2_3dMedLogic(ScriptedLoadableModuleLogic):  # noqa: N801
    """Hands the module's choices to the controller, which does the work for the module and for the effect."""

    def getParameterNode(self):
        from SAM2_3dMedLib.slicer_side.engine_settings import forget_unknown_choices
        from SAM2_3dMedLib.slicer_side.parameter_node import SAM2_3dMedParameterNode

        node = super().getParameterNode()
        forget_unknown_choices(node)
        return SAM2_3dMedParameterNode(node)

    def applySettings(self, parameterNode):
        """Use this model and device from now on; nothing is started before the tool is used."""
        from SAM2_3dMedLib.slicer_side.application import application
        from SAM2_3dMedLib.slicer_side.parameter_node import settings_of

        application().controller.set_settings(settings_of(parameterNode))


class SAM2_3dMedTest(ScriptedLoadableModuleTest):  # noqa: N801
    """Short self-test of the module; the whole job is tested in Testing/Python."""

    def setUp(self):
        slicer.mrmlScene.Clear(0)

    def runTest(self):
        self.setUp()
        self.test_moduleOpensWithTheEffectActive()

    def test_moduleOpensWithTheEffectActive(self):
        self.delayDisplay("Load the sample CT and open the module")
        from SAM2_3dMedLib.slicer_side.sample_data import SAMPLES, sample_path

        slicer.util.loadVolume(str(sample_path(SAMPLES[0])))
        slicer.util.selectModule("SAM2_3dMed")
        editor = slicer.modules.SAM2_3dMedWidget.editorPanel.editor
        # "Reload and Test" runs this while the module is shown: it follows a new volume a moment later.
        limit = time.monotonic() + 10
        while editor.activeEffect() is None and time.monotonic() < limit:
            slicer.app.processEvents()
        self.assertIsNotNone(editor.activeEffect())
        self.assertEqual(editor.activeEffect().name, "SAM2-3dMed")
        self.delayDisplay("Test passed")
