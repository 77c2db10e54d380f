"""The Segment Editor inside our module: the same editor node as Slicer's own, with our effect already active."""
# ruff: noqa: N802, N806

from __future__ import annotations

import slicer

from .application import application_if_used

EFFECT_NAME = "SAM2-3dMed"
EDITOR_NODE_TAG = "SegmentEditor"  # the node that Slicer's Segment Editor module uses: one choice of segment in both


class EditorPanel:
    """Owns the qMRMLSegmentEditorWidget in `layout`; `enter`, `exit` and the scene events as Slicer's own module."""

    def __init__(self, layout) -> None:
        self.editor = slicer.qMRMLSegmentEditorWidget()
        self.editor.setMaximumNumberOfUndoStates(10)
        self._node = None
        self.selectParameterNode()
        self.editor.setMRMLScene(slicer.mrmlScene)
        layout.addWidget(self.editor)
        self._entered = False
        # With this module as the one to start with, effects are registered after it is entered.
        self._factory = slicer.qSlicerSegmentEditorEffectFactory.instance()
        self._factory.connect("effectRegistered(QString)", self.effectRegistered)

    def effectRegistered(self) -> None:
        """A module has registered an effect: it gets its button, and ours is switched on if the module is shown."""
        self.editor.updateEffectList()
        if self._entered:
            self.activateEffect()

    def selectParameterNode(self) -> None:
        """Use the singleton editor node; make it when nobody has yet."""
        node = slicer.mrmlScene.GetSingletonNode(EDITOR_NODE_TAG, "vtkMRMLSegmentEditorNode")
        if node is None:
            node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLSegmentEditorNode")
            node.UnRegister(None)
            node.SetSingletonTag(EDITOR_NODE_TAG)
            node = slicer.mrmlScene.AddNode(node)
        if node is not self._node:
            self._node = node
            self.editor.setMRMLSegmentEditorNode(node)

    def enter(self) -> None:
        """The module is shown."""
        self._entered = True
        self.editor.installKeyboardShortcuts()
        self.editor.updateEffectList()
        self.selectParameterNode()
        self.editor.updateWidgetFromMRML()
        if not self.editor.segmentationNodeID():  # as Slicer's own module does, also before there is a volume
            self.selectSegmentation()
        self.selectNodes()
        self.activateEffect()

    def exit(self) -> None:
        """Another module is shown."""
        self._entered = False
        self.editor.setActiveEffect(None)
        self.editor.uninstallKeyboardShortcuts()
        self.editor.removeViewObservations()

    def selectNodes(self) -> None:
        """Choose a segmentation and a source volume where none is chosen, so that a newcomer can begin."""
        volume = self.defaultVolume() if not self.hasSourceVolume() else None
        if not self.editor.segmentationNodeID() and (volume is not None or self.hasSourceVolume()):
            self.selectSegmentation()
        if volume is not None and not self.hasSourceVolume():
            self.editor.setSourceVolumeNode(volume)

    def hasSourceVolume(self) -> bool:
        """True when a volume is chosen, as the editor's node says. The editor itself still names a volume of a scene
        that was closed, and the first one of the next scene gets the same ID.
        """
        return self._node is not None and self._node.GetSourceVolumeNode() is not None

    def selectSegmentation(self) -> None:
        """The first segmentation of the scene; a new one where there is none."""
        segmentation = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
        if segmentation is None:
            segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
        self.editor.setSegmentationNode(segmentation)

    @staticmethod
    def defaultVolume():
        """The volume in the background of a slice view, else the first one; None without a volume."""
        layoutManager = slicer.app.layoutManager()
        for name in layoutManager.sliceViewNames() if layoutManager is not None else ():
            widget = layoutManager.sliceWidget(name)
            composite = widget.mrmlSliceCompositeNode() if widget is not None else None
            volumeId = composite.GetBackgroundVolumeID() if composite is not None else None
            volume = slicer.mrmlScene.GetNodeByID(volumeId) if volumeId else None
            if volume is not None:
                return volume
        for index in range(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")):
            volume = slicer.mrmlScene.GetNthNodeByClass(index, "vtkMRMLScalarVolumeNode")
            if not volume.IsA("vtkMRMLLabelMapVolumeNode"):
                return volume
        return None

    def activateEffect(self) -> None:
        """Switch our effect on, if the application has it, there is something to edit, and no effect is on."""
        if not self.editor.segmentationNodeID():
            return
        if self.editor.activeEffect() is None and EFFECT_NAME in self.editor.availableEffectNames():
            self.editor.setActiveEffectByName(EFFECT_NAME)

    def sceneStartClose(self) -> None:
        self._node = None
        self.editor.setSegmentationNode(None)
        self.editor.removeViewObservations()

    def sceneReplaced(self) -> None:
        """A scene was closed or loaded while the module is shown."""
        self.selectParameterNode()
        self.editor.updateWidgetFromMRML()

    def sceneSettled(self) -> None:
        """All that follows such a change is done: the editor, too, has chosen what it shows. An empty scene stays
        empty.
        """
        self.selectNodes()
        self.activateEffect()

    def cleanup(self) -> None:
        """The module widget goes away (reload, end of the application)."""
        self._factory.disconnect("effectRegistered(QString)", self.effectRegistered)
        if self._entered:  # else another module's editor may be at work on the same node
            self.exit()
        used = application_if_used()
        if used is not None:
            used.controller.write_waiting()  # through this editor, which is gone after this
        self.editor.deleteLater()  # a reload would leave it hidden, following the same node as its successor
