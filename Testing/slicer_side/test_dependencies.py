"""What is missing, in which order it is installed, and what the user is told.

Slicer's installer (slicer.packaging, the PyTorch extension) exists in the desktop application only: `Tools` stands
in for it and installs empty modules into a folder; what is looked for and found is Python's own import system.
"""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from SAM2_3dMedLib.slicer_side import dependencies

PACKAGE_ROOT = Path(dependencies.__file__).resolve().parents[2]


class Settings(dict):
    def value(self, name):
        return self.get(name)

    def setValue(self, name, value):  # noqa: N802 - as QSettings
        self[name] = value


class Tools:
    def __init__(self, folder, declined=False, code=0, running=False):
        self.folder, self.declined, self.code, self.running = folder, declined, code, running
        self.calls = []

    def _make(self, requirements):
        if self.code == 0:
            for requirement in requirements:
                (self.folder / f"{requirement.module}.py").write_text("raise RuntimeError('must not be imported')")

    def busy(self):
        return self.running

    def install_torch(self):
        self.calls.append("torch")
        if not self.declined:
            self._make([dependencies.TORCH])
        return not self.declined

    def pip_install(self, names, log, completed):
        self.calls.append(names)
        self._make([r for r in dependencies.SMALL_PACKAGES if r.name in names])
        log("Collecting ...")
        completed(self.code)

    def install_sam2(self, log, completed):
        self.calls.append("sam2")
        self._make([dependencies.SAM2])
        completed(self.code)


class Installation:
    def __init__(self, monkeypatch, tmp_path, present=(), **tools):
        self.folder = tmp_path / "site-packages"
        self.folder.mkdir()
        monkeypatch.setattr(sys, "path", [str(self.folder), *self._standard_library()])
        for name in {r.module for r in dependencies.REQUIREMENTS} | {"PyTorchUtils"}:
            monkeypatch.delitem(sys.modules, name, raising=False)
        self.tools, self.settings = Tools(self.folder, **tools), Settings()
        for module in present:
            (self.folder / f"{module}.py").write_text("raise RuntimeError('must not be imported')")
        importlib.invalidate_caches()
        self.ends, self.progress, self.lines = [], [], []

    @staticmethod
    def _standard_library():
        return [path for path in sys.path if "site-packages" not in path]

    def run(self):
        dependencies.run_installation(
            dependencies.plan_installation(),
            self.lines.append,
            lambda *step: self.progress.append(step),
            lambda *end: self.ends.append(end),
            self.settings,
            self.tools,
        )
        (end,) = self.ends
        self.ends = []
        return end


def test_nothing_is_missing_where_everything_is_found_and_nothing_is_imported_to_see(monkeypatch, tmp_path):
    modules = [requirement.module for requirement in dependencies.REQUIREMENTS]
    bench = Installation(monkeypatch, tmp_path, modules)
    assert dependencies.engine_available()
    assert dependencies.plan_installation().steps == ()
    assert bench.run() == (True, "Everything is installed.")
    assert bench.tools.calls == []


def test_a_torch_that_is_there_is_used_without_the_pytorch_extension(monkeypatch, tmp_path):
    bench = Installation(monkeypatch, tmp_path, ["torch"])
    plan = dependencies.plan_installation()
    assert plan.blocked == ""
    assert [step.key for step in plan.steps] == ["packages", "sam2"]
    assert plan.size_mb < 20
    assert bench.run()[0]
    assert bench.tools.calls == [[r.name for r in dependencies.SMALL_PACKAGES], "sam2"]


def test_a_missing_torch_needs_the_extension_and_says_so_before_anything_is_done(monkeypatch, tmp_path):
    bench = Installation(monkeypatch, tmp_path)
    ok, sentence = bench.run()
    assert not ok
    assert "extension PyTorch" in sentence
    assert bench.tools.calls == []
    assert not dependencies.installation_pending(bench.settings)


def test_everything_is_installed_in_order_with_progress(monkeypatch, tmp_path):
    bench = Installation(monkeypatch, tmp_path, ["PyTorchUtils"])
    assert dependencies.plan_installation().size_mb > 1000
    assert bench.run() == (True, "Everything is installed.")
    assert bench.tools.calls[0] == "torch"
    assert bench.tools.calls[-1] == "sam2"
    assert [done for done, _, _ in bench.progress] == [0, 1, 2, 3]
    assert bench.lines == ["Collecting ..."]
    assert dependencies.engine_available()
    assert not dependencies.installation_pending(bench.settings)


def test_an_interrupted_installation_goes_on_where_it_stopped(monkeypatch, tmp_path):
    bench = Installation(monkeypatch, tmp_path, ["torch"], code=1)
    ok, sentence = bench.run()
    assert not ok
    assert "network or proxy" in sentence
    assert dependencies.installation_pending(bench.settings)
    bench.tools.code = 0
    (bench.folder / "tqdm.py").write_text("")
    assert bench.run()[0]
    assert "tqdm>=4.66" not in bench.tools.calls[1]
    assert not dependencies.installation_pending(bench.settings)


def test_declining_and_a_busy_pip_end_with_what_to_do(monkeypatch, tmp_path):
    bench = Installation(monkeypatch, tmp_path, ["PyTorchUtils"], declined=True)
    assert "press Install" in bench.run()[1]
    assert not dependencies.installation_pending(bench.settings)
    bench.tools.running = True
    assert "wait until it is done" in bench.run()[1]


@pytest.mark.parametrize("module", ["dependencies", "worker_client", "prompt_store", "transports", "interpreter"])
def test_importing_the_slicer_side_imports_neither_torch_nor_qt(module):
    code = (
        f"import sys; sys.path.insert(0, {str(PACKAGE_ROOT)!r}); import SAM2_3dMedLib.slicer_side.{module}; "
        "print([name for name in ('torch', 'sam2', 'monai', 'qt', 'scipy') if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_every_sentence_that_users_read_can_be_translated(monkeypatch):
    """The module is loaded again under a translation that marks what went through it; nothing unmarked is shown."""
    import importlib.util
    import sys

    from SAM2_3dMedLib.slicer_side import translation

    monkeypatch.setattr(translation, "_", lambda text: f"<{text}>")
    specification = importlib.util.spec_from_file_location(
        "SAM2_3dMedLib.slicer_side.dependencies_translated", dependencies.__file__
    )
    translated = importlib.util.module_from_spec(specification)
    monkeypatch.setitem(sys.modules, specification.name, translated)
    specification.loader.exec_module(translated)
    monkeypatch.setattr(translated, "is_installed", lambda requirement: False)
    monkeypatch.setattr(translated.importlib.util, "find_spec", lambda name: None)
    plan = translated.plan_installation()
    shown = [r.reason for r in translated.REQUIREMENTS] + [plan.blocked] + [step.title for step in plan.steps]
    shown += [step.detail for step in plan.steps if step.key != "packages"]  # there it is names of packages
    said = []
    for code, key in ((0, "torch"), (1, "sam2")):
        step = next(step for step in plan.steps if step.key == key)
        run = translated._Installation(plan, said.append, None, lambda ok, sentence: shown.append(sentence), None, None)
        run._check(step, code)
    assert len(shown) == 6 + 1 + 3 + 2 + 2
    assert [text for text in shown if not text.startswith("<")] == ["SAM 2"]  # a name
