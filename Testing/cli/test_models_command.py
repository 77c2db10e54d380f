"""`sam2-3dmed models`, the help texts, and what the program says when a package is missing."""

import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from SAM2_3dMedLib import cli as cli_module
from SAM2_3dMedLib.commands import models
from SAM2_3dMedLib.weights import manifest
from SAM2_3dMedLib.weights.manifest import BUNDLED, Manifest, WeightsEntry, sha256_of


@pytest.fixture
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("SAM2_3DMED_HOME", str(tmp_path))
    return tmp_path / "weights"


def test_list_names_every_model_and_the_store(cli, home):
    ended = cli("models", "list")
    assert ended.code == 0
    for name in ("sam2.1-tiny", "sam2.1-large", "not", "downloaded"):
        assert name in ended.out


@pytest.mark.parametrize("width", ["20", "60", "200"])
def test_a_narrow_terminal_breaks_lines_but_cuts_nothing_off(cli, home, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", width)
    ended = cli("models", "list")
    assert ended.code == 0
    assert "\N{HORIZONTAL ELLIPSIS}" not in ended.out
    assert f"Downloads are kept in {home}" in ended.out
    assert "sam2.1-base-plus" in ended.out


def test_the_package_that_no_extra_brings_along(cli, ct, weights, tmp_path, monkeypatch):
    """pip's usual way would build sam2 with a second torch, so it is no requirement of this package."""

    def missing(*_):
        raise ModuleNotFoundError("No module named 'sam2.modeling'", name="sam2.modeling")

    monkeypatch.setattr("SAM2_3dMedLib.commands.segment.load_predictor", missing)
    ended = cli("segment", ct, "--weights", weights, "--point", "9,9,4", "--output", tmp_path / "x.nii.gz")
    assert ended.code == 2
    assert ended.err.startswith("The package 'sam2' is missing; ")
    assert "pip install --no-deps --no-build-isolation sam2==" in ended.err


def test_verify_path_and_remove_of_a_downloaded_model(cli, home, monkeypatch):
    home.mkdir()
    path = home / "w.pt"
    path.write_bytes(b"weights")
    entries = (
        WeightsEntry("mine", "w.pt", sha256_of(path), 7, "MIT", "tiny", "https://example.org/w.pt"),
        WeightsEntry("ours", "o.safetensors", "0" * 64, 7, "MIT", "nano", BUNDLED),
    )
    for module in (manifest, models):
        monkeypatch.setattr(module, "read_manifest", lambda: Manifest("mine", entries))
    assert cli("models", "path").out.strip() == str(path)
    assert "whole" in cli("models", "verify").out
    path.write_bytes(b"wEights")
    damaged = cli("models", "verify", "mine")
    assert (damaged.code, "damaged" in damaged.err) == (2, True)
    assert "removed" in cli("models", "remove", "mine").out
    assert not path.exists()
    gone = cli("models", "path", "mine")
    assert (gone.code, "models download mine" in gone.err) == (2, True)
    bundled = cli("models", "remove", "ours")
    assert (bundled.code, "comes with the software" in bundled.err) == (2, True)
    assert cli("models", "verify").code == 2


def test_a_weight_file_is_published_with_what_it_says_of_itself(cli, weights, tmp_path, monkeypatch):
    path = tmp_path / "manifest.json"
    path.write_text('{"default": "random", "weights": []}')
    monkeypatch.setattr(models, "add_to_manifest", lambda entry: manifest.add_to_manifest(entry, path))
    ended = cli("models", "register", weights, "--description", "for tests")
    assert ended.code == 0, ended.err
    (entry,) = manifest.read_manifest(path).entries
    assert (entry.name, entry.config, entry.source, entry.description) == ("random", "nano", BUNDLED, "for tests")
    assert (entry.sha256, entry.size) == (sha256_of(weights), weights.stat().st_size)


@pytest.mark.parametrize("command", ["segment", "evaluate", "models", "demo", "train"])
def test_every_command_has_a_help_text(cli, command):
    ended = cli(command, "--help")
    assert ended.code == 0
    assert len(ended.out) > 200


def test_the_version_is_that_of_the_project(cli):
    project = Path(cli_module.__file__).parents[2] / "pyproject.toml"
    version = re.search(r'^version = "(.+)"', project.read_text("utf-8"), re.MULTILINE)[1]
    ended = cli("--version")
    assert (ended.code, ended.out) == (0, f"sam2-3dmed {version}\n")


def test_without_an_installed_package_there_is_no_version_to_tell(cli, monkeypatch):
    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", missing)
    assert (cli("--version").code, cli("--version").out) == (0, "sam2-3dmed, not installed\n")


def test_help_does_not_wait_for_torch():
    source = Path(cli_module.__file__).parents[1]
    code = (
        f"import sys; sys.path.insert(0, {str(source)!r}); from SAM2_3dMedLib.cli import main; main(['--help']); "
        "print(sorted({'torch', 'numpy', 'monai', 'SimpleITK'} & set(sys.modules)))"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stdout.strip().endswith("[]")


def test_a_missing_package_is_named(cli, monkeypatch, tmp_path):
    error = ModuleNotFoundError("No module named 'monai'", name="monai")

    def fail(*arguments):
        raise error

    monkeypatch.setattr(models, "list_models", fail)
    ended = cli("models", "list")
    assert ended.code == 2
    assert "'monai'" in ended.err
    assert "pip install" in ended.err


def test_a_defect_is_not_disguised_as_bad_input(cli, monkeypatch):
    def fail():
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(models, "read_manifest", fail)
    with pytest.raises(ZeroDivisionError):
        cli("models", "list")
