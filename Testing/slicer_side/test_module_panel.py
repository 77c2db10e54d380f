"""The module's panel: what it opens, chooses, installs and fetches, and what is left when it is reloaded.

What stands in for the application: `module_bench.py`.
"""

import pytest

slicer = pytest.importorskip("slicer", reason="needs the wheel slicer-core in its own environment")
pytest.importorskip("PySide6.QtUiTools", reason="needs PySide6 for real Qt widgets")

import effect_bench  # noqa: E402
import module_bench  # noqa: E402
from module_bench import EditorWidget  # noqa: E402

world, module = effect_bench.world, module_bench.module
end_without_teardown = effect_bench.end_without_teardown


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


def test_what_went_wrong_stands_above_the_editor_until_something_works(module, world):
    module.widget.enter()
    world.bench.run()
    assert not world.application().controller.propagate()
    assert module.ui.engineLabel.text == world.application().controller.status.error
    assert "Click on the structure" in module.ui.engineLabel.text
    effect_bench.click(world)
    assert module.ui.engineLabel.text == "CPU (stand-in)"


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


def test_an_effect_that_is_registered_after_the_module_was_entered_is_switched_on(module, world, monkeypatch):
    monkeypatch.setattr(EditorWidget, "availableEffectNames", lambda self: ("Paint",))
    module.widget.enter()
    assert not world.host._active
    monkeypatch.setattr(EditorWidget, "availableEffectNames", lambda self: ("Paint", "SAM2-3dMed"))
    for slot in module.factory.slots:
        slot()
    assert world.host._active
    assert "updateEffectList" in module.widget.editorPanel.editor.calls
