"""Hidden module that registers the Segment Editor effect "SAM2-3dMed"."""
# ruff: noqa: N802, N806, PT009

import os

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import ScriptedLoadableModule, ScriptedLoadableModuleTest


class SegmentEditorSAM2_3dMed(ScriptedLoadableModule):  # noqa: N801 - Slicer finds a module by its file name
    """Registers the effect once the application has started; nothing else happens at load."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("SegmentEditor SAM2-3dMed")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        self.parent.dependencies = ["Segmentations"]
        self.parent.contributors = ["SlicerSAM2_3dMed developers"]
        self.parent.hidden = True
        self.parent.helpText = _("This hidden module adds the SAM2-3dMed effect to the Segment Editor.")
        self.parent.acknowledgementText = _(
            "The method is SAM2-3dMed, built on SAM 2 by Meta. See the SAM2-3dMed module for references."
        )
        slicer.app.connect("startupCompleted()", self.registerEditorEffect)

    def registerEditorEffect(self):
        """Add the effect to the editor's effect factory; called once, when the application has started."""
        import qSlicerSegmentationsEditorEffectsPythonQt as qSlicerSegmentationsEditorEffects

        instance = qSlicerSegmentationsEditorEffects.qSlicerSegmentEditorScriptedEffect(None)
        effectFilename = os.path.join(os.path.dirname(__file__), self.__class__.__name__ + "Lib/SegmentEditorEffect.py")
        instance.setPythonSource(effectFilename.replace("\\", "/"))
        instance.self().register()


class SegmentEditorSAM2_3dMedTest(ScriptedLoadableModuleTest):  # noqa: N801 - named after the module, as Slicer expects
    """The effect is registered and can be activated; the whole job is tested in Testing/Python."""

    def setUp(self):
        slicer.mrmlScene.Clear(0)

    def runTest(self):
        self.setUp()
        self.test_effectIsRegistered()

    def test_effectIsRegistered(self):
        self.delayDisplay("Look for the effect in a Segment Editor widget")
        editor = slicer.qMRMLSegmentEditorWidget()
        editor.setMRMLScene(slicer.mrmlScene)
        self.assertIn("SAM2-3dMed", editor.availableEffectNames())
        self.delayDisplay("Test passed")
