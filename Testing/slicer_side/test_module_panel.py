"""The module's widget on its real .ui file and real Qt widgets (PySide6), real scene and views.

Stand-ins, because there is nothing real outside the application: `pythonqt.py` for PythonQt, `EditorWidget` for the
qMRMLSegmentEditorWidget, small classes for ScriptedLoadableModule and for the parameter node.
"""

import importlib.util
import os
import sys
import types
from pathlib import Path

import pytest

slicer = pytest.importorskip("slicer", reason="needs the wheel slicer-core in its own environment")
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
pytest.importorskip("PySide6.QtUiTools", reason="needs PySide6 for real Qt widgets")

import effect_bench  # noqa: E402
from PySide6 import QtCore, QtUiTools  # noqa: E402
from SAM2_3dMedLib.weights import manifest  # noqa: E402

world = effect_bench.world
end_without_teardown = effect_bench.end_without_teardown
MODULE_FILE = effect_bench.REPOSITORY / "SAM2_3dMed" / "SAM2_3dMed.py"
UI_FILE = MODULE_FILE.parent / "Resources" / "UI" / "SAM2_3dMed.ui"


class EditorWidget:
    """qMRMLSegmentEditorWidget: what the module asks of it, kept in the editor node as the real one does."""

    host = None  # the effect that the editor switches on and off

    def __init__(self):
        self._node = None
        self.calls = []

    def setMRMLSegmentEditorNode(self, node):  # noqa: N802
        self._node = node

    def segmentationNodeID(self):  # noqa: N802
        node = self._node.GetSegmentationNode()
        return node.GetID() if node else ""

    def sourceVolumeNodeID(self):  # noqa: N802
        node = self._node.GetSourceVolumeNode() if self._node else None
        return node.GetID() if node else ""

    def setSegmentationNode(self, node):  # noqa: N802
        self._node.SetAndObserveSegmentationNode(node)
        self.setActiveEffect(None)

    def setSourceVolumeNode(self, node):  # noqa: N802
        self._node.SetAndObserveSourceVolumeNode(node)

    def availableEffectNames(self):  # noqa: N802
        return ("Paint", "SAM2-3dMed")

    def setActiveEffectByName(self, name):  # noqa: N802
        self._node.SetActiveEffectName(name)
        if not self.host._active:
            self.host.switch_on()

    def setActiveEffect(self, effect):  # noqa: N802
        if self._node is not None:
            self._node.SetActiveEffectName("")
        if self.host._active:
            self.host.switch_off()

    def deleteLater(self):  # noqa: N802
        self.calls.append("deleteLater")

    def __getattr__(self, name):
        api = effect_bench.pythonqt.read_api(effect_bench.API_FILE)["slicer.qMRMLSegmentEditorWidget"]
        if api.get(name) != "method":
            raise AttributeError(name)
        return lambda *arguments: self.calls.append(name)


class EffectFactory:
    """qSlicerSegmentEditorEffectFactory: the singleton, and its signal `effectRegistered(QString)`."""

    def __init__(self):
        self.slots = []

    def instance(self):
        return self

    def connect(self, signal, slot):
        assert signal == "effectRegistered(QString)"
        self.slots.append(slot)

    def disconnect(self, signal, slot):
        self.slots.remove(slot)


class ParameterNode:
    """The wrapped parameter node: two values, bound to the combo boxes named in the .ui file."""

    def __init__(self):
        self.modelName = manifest.read_manifest().default
        self.device = "Automatic"
        self._changed = []

    def connectGui(self, ui):  # noqa: N802
        assert ui.modelSelector is not None
        assert ui.deviceSelector is not None
        return 1

    def disconnectGui(self, tag):  # noqa: N802
        assert tag == 1

    def choose(self, **values):
        for name, value in values.items():
            setattr(self, name, value)
        for callback in self._changed:
            callback(self, "ModifiedEvent")


@pytest.fixture
def module(world, monkeypatch):
    node = ParameterNode()

    class Base:
        """ScriptedLoadableModuleWidget and VTKObservationMixin."""

        def __init__(self, parent=None):
            self.layout = self.frame = None
            self.parent = types.SimpleNamespace(isEntered=False)

        def setup(self):
            self.frame = world.qt.QWidget()
            self.layout = world.qt.QVBoxLayout(self.frame)

        def resourcePath(self, name):  # noqa: N802
            return str(MODULE_FILE.parent / "Resources" / name)

        def addObserver(self, subject, event, callback):  # noqa: N802
            if subject is node:
                node._changed.append(callback)
            else:
                self.__dict__.setdefault("tags", []).append((subject, subject.AddObserver(event, callback)))

        def removeObserver(self, subject, event, callback):  # noqa: N802
            node._changed.clear()

        def removeObservers(self):  # noqa: N802
            for subject, tag in self.__dict__.pop("tags", []):
                subject.RemoveObserver(tag)

    scripted = types.ModuleType("slicer.ScriptedLoadableModule")
    scripted.ScriptedLoadableModule = type("ScriptedLoadableModule", (), {})
    scripted.ScriptedLoadableModuleWidget = Base
    scripted.ScriptedLoadableModuleLogic = type("ScriptedLoadableModuleLogic", (), {})
    scripted.ScriptedLoadableModuleTest = type("ScriptedLoadableModuleTest", (), {})
    monkeypatch.setitem(sys.modules, "slicer.ScriptedLoadableModule", scripted)
    sys.modules["slicer.i18n"].translate = lambda context, text: text
    monkeypatch.setattr(slicer.util, "VTKObservationMixin", type("Mixin", (), {}), raising=False)
    monkeypatch.setattr(slicer.util, "loadUI", lambda path: load(world.qt, path), raising=False)
    monkeypatch.setattr(slicer.util, "childWidgetVariables", named_children, raising=False)
    monkeypatch.setattr(slicer, "qMRMLSegmentEditorWidget", EditorWidget, raising=False)
    monkeypatch.setattr(EditorWidget, "host", world.host)
    factory = EffectFactory()
    monkeypatch.setattr(slicer, "qSlicerSegmentEditorEffectFactory", factory, raising=False)
    slicer.app.layoutManager = lambda: None
    from SAM2_3dMedLib.slicer_side import panel_editor

    monkeypatch.setattr(panel_editor.EditorPanel, "selectParameterNode", use_editor_node(world))
    monkeypatch.setattr("SAM2_3dMedLib.slicer_side.dependencies.missing_packages", lambda: ())
    specification = importlib.util.spec_from_file_location("module_under_test", MODULE_FILE)
    loaded = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(loaded)
    fake = types.ModuleType("SAM2_3dMedLib.slicer_side.parameter_node")
    from SAM2_3dMedLib.slicer_side.engine_settings import settings_for

    fake.settings_of = lambda n: settings_for(n.modelName, n.device)
    monkeypatch.setitem(sys.modules, fake.__name__, fake)
    monkeypatch.setattr(loaded.SAM2_3dMedLogic, "getParameterNode", lambda self: node)
    widget = loaded.SAM2_3dMedWidget()
    widget.setup()
    yield types.SimpleNamespace(widget=widget, node=node, loaded=loaded, ui=widget.ui, factory=factory)
    widget.cleanup()
    assert factory.slots == []


def use_editor_node(world):
    def select(self):
        self._node = world.bench.editor
        self.editor.setMRMLSegmentEditorNode(world.bench.editor)

    return select


def load(qt, path):
    """slicer.util.loadUI: real widgets with PythonQt's manners."""
    made_now = {}

    class Loader(QtUiTools.QUiLoader):
        def createWidget(self, class_name, parent=None, name=""):  # noqa: N802
            known = class_name if class_name in self.availableWidgets() else "QWidget"
            made = made_now[name] = getattr(qt, known)()
            made.setParent(parent)
            QtCore.QObject.setObjectName(made, name)
            return made

    file = QtCore.QFile(str(path))
    assert file.open(QtCore.QFile.ReadOnly)
    shown = Loader().load(file)
    shown.setMRMLScene = lambda scene: None
    shown.made_now = made_now
    return shown


def named_children(widget):
    """slicer.util.childWidgetVariables."""
    found = dict(widget.made_now)
    container = found["editorContainer"]
    layout = types.SimpleNamespace(addWidget=lambda editor: None)
    found["editorContainer"] = types.SimpleNamespace(layout=lambda: layout, kept=(container, widget))
    return types.SimpleNamespace(**found)


def test_opening_the_module_activates_the_effect_and_starts_the_engine_only_then(module, world):
    assert "load_model" not in world.bench.client.requests
    module.widget.enter()
    world.bench.run()
    assert world.bench.editor.GetActiveEffectName() == "SAM2-3dMed"
    assert world.bench.client.requests.count("load_model") == 1
    assert module.ui.engineLabel.text == "CPU (stand-in)"
    assert module.ui.sampleFrame.isHidden()
    assert module.ui.installFrame.isHidden()
    effect_bench.click(world)
    assert world.bench.voxels("A").any()
    module.widget.exit()
    assert world.bench.editor.GetActiveEffectName() == ""
    assert not world.application().controller.attached


def test_device_and_model_reach_the_engine_and_prompts_stay(module, world):
    module.widget.enter()
    world.bench.run()
    effect_bench.click(world)
    module.node.choose(device="CPU")
    world.bench.run()
    assert world.application().controller.settings.device == "cpu"
    assert world.bench.client.requests.count("load_model") == 2
    assert len(world.application().controller.prompts) == 1


def test_a_model_that_is_not_here_can_be_fetched_and_says_size_and_licence(module, monkeypatch, tmp_path):
    monkeypatch.setenv("SAM2_3DMED_HOME", str(tmp_path))
    module.node.choose(modelName="sam2.1-tiny")
    assert "156 MB" in module.ui.modelInfoLabel.text
    assert "Apache-2.0" in module.ui.modelInfoLabel.text
    assert not module.ui.downloadButton.isHidden()
    assert "156 MB" in module.ui.downloadButton.text
    started = []
    from SAM2_3dMedLib.slicer_side import panel_model

    class Download:
        """A download that a test drives."""

        def __init__(self, name, progress, finished):
            self.name, self.progress, self.finished = name, progress, finished
            started.append(self)

        def start(self):
            pass

        def cancel(self):
            self.finished("The download was stopped.")

    monkeypatch.setattr(panel_model, "ModelDownload", Download)
    module.ui.downloadButton.click()
    started[0].progress(50, 100)
    assert module.ui.downloadProgressBar.value == 50
    assert module.ui.downloadButton.text == "Stop"
    module.ui.downloadButton.click()
    assert "stopped" in module.ui.modelInfoLabel.text
    assert module.ui.downloadProgressBar.isHidden()


def test_missing_packages_are_listed_with_their_size_and_installed_by_one_button(module, monkeypatch):
    from SAM2_3dMedLib.slicer_side import dependencies

    missing = [dependencies.Requirement("hydra-core>=1.3", "hydra", 0.4, "imported by sam2")]
    monkeypatch.setattr(dependencies, "missing_packages", lambda: tuple(missing))
    monkeypatch.setattr(dependencies, "installation_pending", lambda: False)
    step = dependencies.InstallStep("packages", "Small packages", 42.0, "hydra-core", tuple(missing))
    monkeypatch.setattr(dependencies, "plan_installation", lambda: dependencies.InstallPlan((step,)))
    calls = []

    def install(plan, log, progress, finished):
        calls.append(plan)
        progress(0, 1, "Small packages")
        log("Collecting hydra-core")
        missing.clear()
        finished(True, "Everything is installed.")

    monkeypatch.setattr(dependencies, "run_installation", install)
    module.widget.installPanel.refresh()
    assert not module.ui.installFrame.isHidden()
    assert "42 MB" in module.ui.installLabel.text
    assert "hydra-core" in module.ui.installLabel.text
    module.ui.installButton.click()
    assert len(calls) == 1
    assert module.ui.installFrame.isHidden()


def test_reload_leaves_nothing_active(module, world):
    module.widget.enter()
    world.bench.run()
    module.widget.cleanup()
    assert not world.application().controller.attached
    assert "deleteLater" in module.widget.editorPanel.editor.calls
    module.widget.parent.isEntered = True  # the application sets the widget up again, and does not enter it
    module.widget.setup()
    world.bench.run()
    assert world.application().controller.attached


def test_closing_the_scene_and_going_on(module, world):
    module.widget.enter()
    world.bench.run()
    module.widget.onSceneStartClose(None, None)
    assert not world.application().controller.attached
    module.widget.onSceneEndClose(None, None)
    world.bench.run()
    assert world.application().controller.attached


def test_a_closed_scene_stays_empty_until_a_volume_is_loaded(module, world):
    import mrml
    from tool_bench import smooth_volume

    module.widget.enter()
    world.bench.run()
    module.widget.onSceneStartClose(None, None)
    for node in (world.bench.segmentation, world.bench.volume):
        world.bench.scene.RemoveNode(node)
    module.widget.onSceneEndClose(None, None)
    world.bench.run()
    assert world.bench.scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0
    assert not world.host._active
    volume = mrml.add_volume(smooth_volume())  # the widget hears of it from the scene
    world.bench.run()
    assert world.bench.editor.GetSourceVolumeNode() is volume
    assert world.bench.editor.GetSegmentationNode() is not None
    assert world.host._active


assert Path(UI_FILE).is_file()


def test_an_effect_that_is_registered_after_the_module_was_entered_is_switched_on(module, world, monkeypatch):
    monkeypatch.setattr(EditorWidget, "availableEffectNames", lambda self: ("Paint",))
    module.widget.enter()
    assert not world.host._active
    monkeypatch.setattr(EditorWidget, "availableEffectNames", lambda self: ("Paint", "SAM2-3dMed"))
    for slot in module.factory.slots:
        slot()
    assert world.host._active
    assert "updateEffectList" in module.widget.editorPanel.editor.calls
