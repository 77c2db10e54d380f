"""Two editors' effects on real Qt widgets (PySide6), real scene, views and editor logic, for tests.

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
        self.visible = True

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
    connected = types.SimpleNamespace(connect=lambda signal, slot: quitting.append((signal, slot)))
    widgets = {}
    monkeypatch.setattr(
        slicer,
        "app",
        types.SimpleNamespace(
            connect=connected.connect,
            moduleManager=lambda: connected,
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

    def add_view(orientation, name=""):
        view = bench.add_view(orientation, bench.world(*CENTER), name=name)
        widgets[name or orientation] = SliceWidget(view)
        return view

    view = add_view("Axial")
    made = types.SimpleNamespace(
        bench=bench, qt=qt, window=window, messages=messages, quitting=quitting, make_effect=make_effect, view=view
    )
    made.application = application_module.application
    made.widgets, made.add_view = widgets, add_view
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
