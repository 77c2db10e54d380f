"""The module's widget on its real .ui file and real Qt widgets (PySide6), for tests.

Stand-ins, because there is nothing real outside the application: `pythonqt.py` for PythonQt, `EditorWidget` for the
qMRMLSegmentEditorWidget, small classes for ScriptedLoadableModule and for the parameter node.
"""

import importlib.util
import os
import sys
import types

import pytest

slicer = pytest.importorskip("slicer", reason="needs the wheel slicer-core in its own environment")
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
pytest.importorskip("PySide6.QtUiTools", reason="needs PySide6 for real Qt widgets")

import effect_bench  # noqa: E402
from PySide6 import QtCore, QtUiTools  # noqa: E402
from SAM2_3dMedLib.weights import manifest  # noqa: E402

MODULE_FILE = effect_bench.REPOSITORY / "SAM2_3dMed" / "SAM2_3dMed.py"


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
