"""The effect's class, options and shortcuts, run on real Qt widgets (PySide6), real scene, views and editor logic.

What stands in for the application is said where it is made: `pythonqt.py` for PythonQt, `HostEffect` for the C++ side
of a scripted effect, `SliceWidget` for qMRMLSliceWidget.
"""

import atexit
import importlib.util
import os
import sys
import types
from pathlib import Path

import pytest

slicer = pytest.importorskip("slicer", reason="needs the wheel slicer-core in its own environment")
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
pytest.importorskip("PySide6.QtWidgets", reason="needs PySide6 for real Qt widgets")

REPOSITORY = Path(__file__).resolve().parents[2]
API_FILE = REPOSITORY.parent / "shared" / "design" / "slicer-api.txt"
if not API_FILE.is_file():
    pytest.skip("slicer-api.txt is not beside this checkout", allow_module_level=True)
sys.path.insert(0, str(REPOSITORY / "Testing" / "slicer_module"))

import pythonqt  # noqa: E402
from PySide6 import QtWidgets  # noqa: E402
from SAM2_3dMedLib.slicer_side import engine_settings  # noqa: E402
from stand_in_worker import StandInWorker  # noqa: E402
from tool_bench import SHAPE, ToolBench  # noqa: E402

CENTER = (SHAPE[2] // 2, SHAPE[1] // 2, SHAPE[0] // 2)
EFFECT_FILE = REPOSITORY / "SegmentEditorSAM2_3dMed" / "SegmentEditorSAM2_3dMedLib" / "SegmentEditorEffect.py"


class HostEffect:
    """The C++ side of a scripted effect (qSlicerSegmentEditorScriptedEffect): parameters, a frame, the calls."""

    def __init__(self, bench, qt):
        self.bench = bench
        self._frame = qt.QWidget()
        self._layout = QtWidgets.QFormLayout(self._frame)
        self._active = False
        self.python = None

    def optionsFrame(self):  # noqa: N802
        return self._frame

    def addOptionsWidget(self, widget):  # noqa: N802
        self._layout.addRow(widget)

    def addLabeledOptionsWidget(self, text, widget):  # noqa: N802
        label = pythonqt._pythonqt(QtWidgets.QLabel)(text)
        self._layout.addRow(label, widget)
        return label

    def parameterSetNode(self):  # noqa: N802
        return self.bench.editor

    def setParameter(self, name, value):  # noqa: N802
        self.bench.editor.SetAttribute(f"SAM2-3dMed.{name}", str(value))
        if self._active:
            self.python.updateGUIFromMRML()

    def setParameterDefault(self, name, value):  # noqa: N802
        if self.bench.editor.GetAttribute(f"SAM2-3dMed.{name}") is None:
            self.bench.editor.SetAttribute(f"SAM2-3dMed.{name}", str(value))

    def parameter(self, name):
        return self.bench.editor.GetAttribute(f"SAM2-3dMed.{name}")

    def integerParameter(self, name):  # noqa: N802
        return int(self.parameter(name))

    def doubleParameter(self, name):  # noqa: N802
        return float(self.parameter(name))

    def active(self):
        return self._active

    # The application's own order of calls (qSlicerSegmentEditorAbstractEffect::activate, ::deactivate).
    def switch_on(self):
        self._frame.visible = True
        self._active = True
        self.python.updateGUIFromMRML()
        self.python.activate()

    def switch_off(self):
        self._frame.visible = False
        self._active = False
        self.python.deactivate()


class SliceWidget:
    """qMRMLSliceWidget of an offscreen view, as far as the effect uses it."""

    def __init__(self, view):
        self._view = view
        self.width = 400

    def className(self):  # noqa: N802
        return "qMRMLSliceWidget"

    def sliceView(self):  # noqa: N802
        return self

    def mrmlSliceNode(self):  # noqa: N802
        return self._view.node

    def renderWindow(self):  # noqa: N802
        return self._view.window

    def scheduleRender(self):  # noqa: N802
        pass

    def convertDeviceToXYZ(self, xy):  # noqa: N802
        return (*xy, 0)


class _EndWithoutTeardown:
    """PySide6 and slicer-core in one interpreter crash when it is taken down after the last test: leave before that."""

    def pytest_sessionfinish(self, session, exitstatus):
        def leave():
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(int(exitstatus))

        atexit.register(leave)


@pytest.fixture(scope="module", autouse=True)
def end_without_teardown(request):
    request.config.pluginmanager.register(_EndWithoutTeardown())


@pytest.fixture
def world(monkeypatch):
    """Modules of the application, the shared `Application` with a stand-in worker, and two editors' effects."""
    application_object = QtWidgets.QApplication.instance() or QtWidgets.QApplication([])
    qt, ctk = pythonqt.modules(API_FILE)
    effects = types.ModuleType("SegmentEditorEffects")
    effects.AbstractScriptedSegmentEditorEffect = type(
        "AbstractScriptedSegmentEditorEffect",
        (),
        {"__init__": lambda self, host: setattr(self, "scriptedEffect", host)},
    )
    i18n = types.ModuleType("slicer.i18n")
    i18n.tr = lambda text: text
    for name, module in (("qt", qt), ("ctk", ctk), ("SegmentEditorEffects", effects), ("slicer.i18n", i18n)):
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(engine_settings.EngineSettings, "weights", property(lambda self: Path("stand-in")))
    quitting = []
    widgets = {}
    monkeypatch.setattr(
        slicer,
        "app",
        types.SimpleNamespace(
            connect=lambda signal, slot: quitting.append((signal, slot)),
            layoutManager=lambda: types.SimpleNamespace(sliceWidget=lambda name: widgets.get(name)),
        ),
        raising=False,
    )
    window = qt.QMainWindow()
    messages = []
    monkeypatch.setattr(slicer.util, "mainWindow", lambda: window, raising=False)
    monkeypatch.setattr(slicer.util, "showStatusMessage", lambda text, ms=0: messages.append(text), raising=False)

    from SAM2_3dMedLib.slicer_side import application as application_module

    bench = ToolBench(StandInWorker)
    monkeypatch.setattr(application_module, "_application", [])
    monkeypatch.setattr(application_module, "QtScheduler", lambda: bench.scheduler)
    monkeypatch.setattr(application_module, "WorkerClient", lambda scheduler: bench.client)
    monkeypatch.setattr(application_module, "ScriptedEffectTarget", lambda host: bench.target)
    monkeypatch.setattr(application_module, "missing_packages", lambda: ())
    monkeypatch.setattr(
        application_module,
        "views_on_screen",
        lambda: [application_module.slice_view_of_widget(w) for w in widgets.values()],
    )

    specification = importlib.util.spec_from_file_location("effect_under_test", EFFECT_FILE)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)

    def make_effect():
        host = HostEffect(bench, qt)
        host.python = module.SegmentEditorEffect(host)
        host.python.setMRMLDefaults()
        host.python.setupOptionsFrame()
        return host

    def add_view(orientation):
        view = bench.add_view(orientation, bench.world(*CENTER))
        widgets[orientation] = SliceWidget(view)
        return view

    view = add_view("Axial")
    made = types.SimpleNamespace(
        bench=bench, qt=qt, window=window, messages=messages, quitting=quitting, make_effect=make_effect, view=view
    )
    made.application = application_module.application
    made.widgets = widgets
    made.hosts = [make_effect()]
    made.host = made.hosts[0]
    made.effect, made.panel = made.host.python, made.host.python.panel

    def deliver(interactor, event_id):
        return any(
            h._active and h.python.processInteractionEvents(interactor, event_id, widgets["Axial"]) for h in made.hosts
        )

    def view_changed(node, event):
        for host in made.hosts:
            if host._active:
                host.python.processViewNodeEvents(node, event, widgets["Axial"])

    view.first = deliver
    view.node.AddObserver("ModifiedEvent", view_changed)  # as the editor does
    yield made
    for host in made.hosts:
        if host._active:
            host.switch_off()
        host.python.cleanup()
    application_module.application().shutdown()
    bench.close()
    application_object.processEvents()


def click(world, ijk=CENTER, shift=False):
    world.view.click(*world.view.display_position(world.bench.world(*ijk)), shift=shift)
    world.bench.run()


def test_options_follow_the_work_and_do_it(world):
    world.host.switch_on()
    world.bench.run()
    panel, bench = world.panel, world.bench
    assert panel.statusLabel.text == "CPU (stand-in)"
    assert not panel.propagateButton.enabled
    click(world)
    assert panel.promptLabel.text == "1"
    assert panel.propagateButton.enabled
    assert panel.rangeWidget.enabled
    panel.propagateButton.click()
    bench.run()
    assert bench.voxels("A").any(axis=(1, 2)).all()
    assert "doubtful" in panel.reviewLabel.text
    panel.nextDoubtfulButton.click()
    assert bench.voxels("A").any()
    assert world.application().session.current_index() != CENTER[2]
    panel.checkedBox.click()
    assert world.application().session.current_index() in world.application().controller.review.checked
    panel.deleteLastButton.click()
    bench.run()
    assert panel.promptLabel.text == "0"
    assert not panel.deleteLastButton.enabled


def test_error_is_shown_and_goes_away(world):
    world.host.switch_on()
    world.bench.run()
    width, height, depth = world.view.node.GetFieldOfView()
    world.view.node.SetFieldOfView(2 * width, 2 * height, depth)
    world.view.click(5, 295)
    world.bench.run()
    assert "outside" in world.panel.errorLabel.text
    click(world)
    assert world.panel.errorLabel.text == ""


def test_sign_gesture_brush_and_automatic_are_used(world):
    from SAM2_3dMedLib.slicer_side.effect_mouse import Gesture

    world.host.switch_on()
    world.bench.run()
    panel, session = world.panel, world.application().session
    panel.negativeButton.click()
    assert session.mouse.negative
    panel.toggleSign()
    assert not session.mouse.negative
    assert panel.positiveButton.checked
    panel.lassoButton.click()
    assert session.mouse.gesture is Gesture.LASSO
    panel.brushButton.click()
    assert session.mouse.gesture is Gesture.BRUSH
    panel.brushSlider.value = 7.5
    assert session.brush_radius == 7.5
    panel.autoCheckBox.click()
    assert world.application().controller.auto_propagate
    panel.pointButton.click()
    click(world)
    assert world.bench.voxels("A").any(axis=(1, 2)).all()


def test_range_sliders_limit_the_slices(world):
    world.host.switch_on()
    world.bench.run()
    click(world)
    world.panel.rangeWidget.setValues(8, 12)
    assert world.application().controller.slice_range == (8, 12)
    world.panel.onPropagate()
    world.bench.run()
    assert world.bench.voxels("A").any(axis=(1, 2)).nonzero()[0].tolist() == [8, 9, 10, 11, 12]


def test_a_segment_as_prompt_from_the_list(world):
    from test_controller import paint

    world.host.switch_on()
    world.bench.run()
    world.bench.controller = world.application().controller
    paint(world.bench, "B", (20, 30, 10, 20, CENTER[2], CENTER[2]))
    world.bench.editor.SetOverwriteMode(world.bench.editor.OverwriteNone)
    world.panel.segmentSelector.setCurrentIndex(1)
    world.panel.useSegmentButton.click()
    world.bench.run()
    assert (world.bench.voxels("A") == world.bench.voxels("B")).all()


def test_shortcuts_are_there_while_active_and_only_then(world):
    shortcuts = lambda: world.window.findChildren(world.qt.QShortcut._cls)  # noqa: E731
    assert shortcuts() == []
    world.host.switch_on()
    world.bench.run()
    keys = {s.key.toString() for s in shortcuts()}
    taken = {*"0123456789ZYQWI", "Esc", "Space", "B", "F", "G", "R", "T", "V"}
    assert len(keys) == 6
    assert not keys & taken
    for key in keys:
        widgets = world.host.optionsFrame().findChildren(QtWidgets.QWidget)
        texts = " ".join(QtWidgets.QWidget.toolTip(widget) for widget in widgets)
        assert f"Key: {key}." in texts
    world.host.switch_off()
    assert all(s.parent() is None for s in shortcuts()) or shortcuts() == []


def press_escape(world):
    """Esc through Qt's own shortcut map, as a key on the keyboard."""
    from PySide6 import QtCore, QtTest

    world.window.show()
    world.window.activateWindow()
    QtWidgets.QApplication.processEvents()
    QtTest.QTest.keyClick(world.window, QtCore.Qt.Key_Escape)
    QtWidgets.QApplication.processEvents()


def test_escape_only_cancels_while_something_runs_and_leaves_the_effect_otherwise(world):
    editors = world.qt.QShortcut(world.window)  # as qMRMLSegmentEditorWidget::installKeyboardShortcuts makes it
    editors.setKey(world.qt.QKeySequence("Esc"))
    left = []
    editors.connect("activated()", lambda: left.append(True))
    world.host.switch_on()
    world.bench.run()
    click(world)
    world.bench.client.held = True
    world.panel.propagateButton.click()
    world.bench.run(lambda: world.bench.voxels("A").any(axis=(1, 2)).sum() >= 2)
    press_escape(world)
    world.bench.run()
    assert left == []
    assert "cancel" in world.bench.client.requests
    assert not world.application().controller.status.running
    assert world.bench.voxels("A").any(axis=(1, 2)).sum() >= 2
    press_escape(world)
    assert left == [True]


def test_leaving_the_effect_while_it_runs_gives_escape_back(world):
    editors = world.qt.QShortcut(world.window)
    editors.setKey(world.qt.QKeySequence("Esc"))
    world.host.switch_on()
    world.bench.run()
    click(world)
    world.bench.client.held = True
    world.panel.propagateButton.click()
    world.bench.run(lambda: world.bench.voxels("A").any(axis=(1, 2)).sum() >= 2)
    assert not editors.enabled
    world.host.switch_off()
    assert editors.enabled


def test_two_editors_share_the_tool_and_the_shown_one_handles_the_mouse(world):
    second = world.make_effect()
    world.hosts.append(second)
    shown = world.shown = QtWidgets.QWidget()
    QtWidgets.QVBoxLayout(shown).addWidget(second.optionsFrame())
    world.host.switch_on()
    second.switch_on()
    world.host.optionsFrame().visible = False  # the other module is shown
    shown.show()
    world.bench.run()
    assert second.python.on_screen()
    click(world)
    assert len(world.application().controller.prompts) == 1  # one click, one prompt
    assert world.application().owns(second.python)
    assert second.python.panel.promptLabel.text == "1"
    world.host.switch_off()
    assert world.application().controller.attached
    second.switch_off()
    assert not world.application().controller.attached


def test_end_of_the_application(world):
    world.host.switch_on()
    world.bench.run()
    click(world)
    signal, slot = world.quitting[0]
    assert signal == "aboutToQuit()"
    slot()
    assert not world.application().controller.attached
    assert world.bench.client.state.name == "STOPPED"
    world.host.switch_off()


def test_the_effect_uses_the_modules_choices_that_a_scene_brought_along(world):
    node = world.bench.scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")
    node.SetModuleName("SAM2_3dMed")
    node.SetParameter("modelName", "a model of a later version")
    node.SetParameter("device", "CPU")
    world.host.switch_on()
    world.bench.run()
    assert world.application().controller.settings == engine_settings.EngineSettings("", "cpu")
