"""The effect's class, options and shortcuts, run on real Qt widgets (PySide6), real scene, views and editor logic.

What stands in for the application: `effect_bench.py`.
"""

import pytest

slicer = pytest.importorskip("slicer", reason="needs the wheel slicer-core in its own environment")
pytest.importorskip("PySide6.QtWidgets", reason="needs PySide6 for real Qt widgets")

import effect_bench  # noqa: E402
from effect_bench import CENTER, SHAPE, click  # noqa: E402
from PySide6 import QtWidgets  # noqa: E402
from SAM2_3dMedLib.slicer_side import engine_settings  # noqa: E402

world = effect_bench.world
end_without_teardown = effect_bench.end_without_teardown


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
    doubtful = len(world.application().controller.review.doubtful())
    assert panel.reviewLabel.text == f"({doubtful})"
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


def test_the_size_that_the_mouse_wheel_gave_the_brush_stays(world):
    world.host.switch_on()
    world.bench.run()
    world.panel.brushButton.click()
    session = world.application().session
    session.scale_brush(2.0)
    assert world.panel.brushSlider.value == session.brush_radius == 8.0
    world.panel.autoCheckBox.click()  # the panel reads all parameters again
    assert session.brush_radius == 8.0


def test_a_view_that_the_layout_hides_does_not_say_which_slice_is_looked_at(world):
    world.host.switch_on()
    world.bench.run()
    click(world)
    world.panel.propagateButton.click()
    world.bench.run()
    world.add_view("Axial", name="Second")
    session = world.application().session
    session.refresh_views()
    session.go_to_slice(3)
    assert session.current_index() == 3
    world.widgets["Axial"].visible = False
    shown = world.widgets["Second"].mrmlSliceNode()
    shown.JumpSliceByOffsetting(*world.bench.world(*CENTER[:2], 7))
    assert session.current_index() == 7


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


def test_the_list_of_segments_follows_the_segmentation(world):
    world.host.switch_on()
    world.bench.run()
    selector = world.panel.segmentSelector
    selector.setCurrentIndex(1)
    segmentation = world.bench.segmentation.GetSegmentation()
    segmentation.AddEmptySegment("C", "C")
    segmentation.GetSegment("B").SetName("renamed")
    world.bench.run()
    assert [selector.itemText(index) for index in range(selector.count)] == ["A", "renamed", "C"]
    assert selector.currentData == "B"
    segmentation.RemoveSegment("C")
    world.bench.run()
    assert selector.count == 2


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


def start_to_propagate(world):
    """The effect is active and a propagation has written two slices; it goes on until it is canceled."""
    world.host.switch_on()
    world.bench.run()
    click(world)
    world.bench.client.held = True
    world.panel.propagateButton.click()
    world.bench.run(lambda: world.bench.voxels("A").any(axis=(1, 2)).sum() >= 2)


def test_progress_and_time_left_are_shown_while_it_runs(world):
    start_to_propagate(world)
    panel = world.panel
    assert not panel.progressBar.isHidden()
    assert panel.progressBar.value == 100 * 2 // SHAPE[0]
    assert panel.progressBar.format.startswith(f"2 of {SHAPE[0]} slices")
    assert panel.progressBar.format.endswith("s left")
    assert panel.statusLabel.text == "CPU (stand-in)", (
        "a new text in the label would have the whole panel laid out again"
    )
    assert panel.cancelButton.enabled
    panel.cancelButton.click()
    world.bench.run()
    assert panel.progressBar.isHidden()
    assert not panel.cancelButton.enabled


def test_the_panel_keeps_its_size_while_the_work_goes_on(world):
    """A panel that grows takes its room from the views: they jump, and are drawn anew for up to 175 ms."""
    world.window.show()
    world.host.switch_on()
    world.bench.run()
    frame = world.host.optionsFrame()
    click(world)
    world.bench.run()
    sizes = [frame.minimumSizeHint.toTuple()]
    world.bench.client.held = True
    world.panel.propagateButton.click()
    world.bench.run(lambda: world.bench.voxels("A").any(axis=(1, 2)).sum() >= 2)
    QtWidgets.QApplication.processEvents()
    sizes.append(frame.minimumSizeHint.toTuple())
    world.panel.cancelButton.click()
    world.bench.run()
    QtWidgets.QApplication.processEvents()
    assert world.panel.reviewLabel.text
    sizes.append(frame.minimumSizeHint.toTuple())
    assert sizes == [sizes[0]] * 3


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
    start_to_propagate(world)
    press_escape(world)
    world.bench.run()
    assert left == []
    assert "cancel" in world.bench.client.requests
    assert not world.application().controller.status.running
    assert world.bench.voxels("A").any(axis=(1, 2)).sum() >= 2
    press_escape(world)
    assert left == [True]


def test_escape_during_a_drag_takes_the_drag_back_and_stays_in_the_effect(world):
    editors = world.qt.QShortcut(world.window)
    editors.setKey(world.qt.QKeySequence("Esc"))
    left = []
    editors.connect("activated()", lambda: left.append(True))
    world.host.switch_on()
    world.bench.run()
    start, end = (world.view.display_position(world.bench.world(*p)) for p in ((20, 15, 10), (40, 30, 10)))
    world.view.press(*start)
    world.view.move(*end)
    press_escape(world)
    world.view.release(*end)
    world.bench.run()
    assert left == []
    assert world.application().controller.prompts == ()
    assert not world.bench.voxels("A").any()
    press_escape(world)
    assert left == [True]


def test_leaving_the_effect_while_it_runs_gives_escape_back(world):
    editors = world.qt.QShortcut(world.window)
    editors.setKey(world.qt.QKeySequence("Esc"))
    start_to_propagate(world)
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


def test_end_of_the_application_comes_before_its_modules_are_unloaded(world):
    start_to_propagate(world)
    slots = dict(world.quitting)
    slots["moduleAboutToBeUnloaded(QString)"]("Welcome")
    assert world.application().controller.attached
    slots["moduleAboutToBeUnloaded(QString)"]("SAM2_3dMed")
    assert not world.application().controller.attached
    assert world.bench.client.state.name == "STOPPED"
    assert all(s.parent() is None for s in world.window.findChildren(world.qt.QShortcut._cls))
    world.host.switch_off()  # the editor's widgets go after that
    slots["aboutToQuit()"]()
    world.bench.run()
    assert world.bench.client.state.name == "STOPPED"


def test_the_effect_uses_the_modules_choices_that_a_scene_brought_along(world):
    node = world.bench.scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")
    node.SetModuleName("SAM2_3dMed")
    node.SetParameter("modelName", "a model of a later version")
    node.SetParameter("device", "CPU")
    world.host.switch_on()
    world.bench.run()
    assert world.application().controller.settings == engine_settings.EngineSettings("", "cpu")


def test_a_model_that_is_not_known_here_is_not_offered_to_the_combo_boxes(world):
    node = world.bench.scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")
    node.SetParameter("modelName", "a model of a later version")
    node.SetParameter("device", "CPU")
    engine_settings.forget_unknown_choices(node)
    assert list(node.GetParameterNames()) == ["device"]  # the wrapper writes the default for what is missing
