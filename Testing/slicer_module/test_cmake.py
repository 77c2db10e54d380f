"""Slicer installs exactly the files that the module needs: each listed file exists, each needed file is listed."""

import json
import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import shipped_files
from shipped_files import MODULE, REPOSITORY

HINT = "run: python Testing/slicer_module/shipped_files.py"


@pytest.fixture(scope="module")
def cmake():
    return (MODULE / "CMakeLists.txt").read_text(encoding="utf-8")


def test_every_script_is_listed_once(cmake):
    assert shipped_files.listed("scripts", cmake) == shipped_files.scripts(), HINT


def test_every_resource_is_listed_once(cmake):
    assert shipped_files.listed("resources", cmake) == shipped_files.resources(), HINT


def test_weights_and_samples_are_listed(cmake):
    assert shipped_files.listed("data", cmake) == shipped_files.data(), HINT


def test_training_is_not_installed_and_no_module_of_ours_needs_it(cmake):
    assert "SAM2_3dMedLib/training/" not in cmake
    for name in shipped_files.scripts():
        if "/commands/" in name or name.endswith("cli_app.py"):
            continue  # the command line says what is missing when it is asked to train
        assert not re.search(r"^\s*(from|import) .*\btraining\b", (MODULE / name).read_text(encoding="utf-8"), re.M), (
            name
        )


def test_files_of_the_effect_exist_and_are_listed():
    folder = REPOSITORY / "SegmentEditorSAM2_3dMed"
    text = (folder / "CMakeLists.txt").read_text(encoding="utf-8").replace("${MODULE_NAME}", folder.name)
    names = re.findall(r"^  (\S+\.(?:py|png|svg|ui))$", text, re.M)
    present = [n for n in shipped_files.tracked(folder) if Path(n).suffix in {".py", ".png", ".svg", ".ui"}]
    assert sorted(names) == sorted(present)


def test_extension_metadata_is_complete():
    text = (REPOSITORY / "CMakeLists.txt").read_text(encoding="utf-8")
    assert "project(SAM2_3dMed)" in text
    for key in ("HOMEPAGE", "CONTRIBUTORS", "DESCRIPTION", "ICONURL", "SCREENSHOTURLS"):
        assert re.search(rf'set\(EXTENSION_{key} "[^"]+"\)', text), key
    assert 'set(EXTENSION_DEPENDS "PyTorch")' in text
    for folder in re.findall(r"add_subdirectory\((\S+)\)", text):
        assert (REPOSITORY / folder / "CMakeLists.txt").is_file(), folder


def test_catalog_entry_is_what_the_extensions_index_takes():
    entry = json.loads((REPOSITORY / "docs" / "SAM2_3dMed.json").read_text(encoding="utf-8"))
    assert entry["$schema"].endswith("slicer-extension-catalog-entry-schema-v1.0.1.json#")
    allowed = {"$schema", "category", "scm_url", "scm_revision", "build_dependencies", "build_subdirectory", "tier"}
    assert set(entry) <= allowed
    assert entry["category"] == "Segmentation"
    assert entry["build_dependencies"] == ["PyTorch"]
    assert entry["scm_url"].endswith("SlicerSAM2_3dMed.git")


def test_no_byte_order_mark_and_no_other_module_beside_the_module_files():
    for folder in ("SAM2_3dMed", "SegmentEditorSAM2_3dMed"):
        beside = [path.name for path in (REPOSITORY / folder).glob("*.py")]
        assert beside == [f"{folder}.py"]
        for name in shipped_files.tracked(REPOSITORY / folder):
            if name.endswith((".py", ".ui", ".json", ".txt")):
                assert not (REPOSITORY / folder / name).read_bytes().startswith(b"\xef\xbb\xbf"), name


def test_sample_volumes_have_their_published_checksums():
    import hashlib

    from SAM2_3dMedLib.slicer_side.sample_data import SAMPLES, sample_path

    for sample in SAMPLES:
        assert hashlib.sha256(sample_path(sample).read_bytes()).hexdigest() == sample.sha256
        assert (MODULE / "Resources" / "Icons" / sample.thumbnail).is_file()
