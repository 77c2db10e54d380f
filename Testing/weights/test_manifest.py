"""The list of weights and where their files are looked for."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from SAM2_3dMedLib.weights import manifest
from SAM2_3dMedLib.weights.manifest import (
    BUNDLED,
    Manifest,
    ManifestError,
    WeightsEntry,
    WeightsError,
    add_to_manifest,
    describe_file,
    read_manifest,
    resolve_weights,
    store_folder,
    verified_weights,
)

CONTENT = b"not really weights"


def entry_of(content: bytes, name="sam2-3dmed-nano", file="nano.safetensors", source=BUNDLED) -> WeightsEntry:
    return WeightsEntry(name, file, hashlib.sha256(content).hexdigest(), len(content), "Apache-2.0", "nano", source)


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """A manifest of one bundled file that lies in the bundled folder; returns the file."""
    folder = tmp_path / "Weights"
    folder.mkdir()
    path = folder / "nano.safetensors"
    path.write_bytes(CONTENT)
    monkeypatch.setattr(manifest, "read_manifest", lambda: Manifest("sam2-3dmed-nano", (entry_of(CONTENT),)))
    monkeypatch.setattr(manifest, "bundled_folders", lambda: [folder])
    monkeypatch.setenv("SAM2_3DMED_HOME", str(tmp_path / "home"))
    return path


def test_published_list_is_complete_and_fetched_over_https():
    published = read_manifest()
    assert {"sam2.1-tiny", "sam2.1-small", "sam2.1-base-plus", "sam2.1-large"} <= {e.name for e in published.entries}
    assert len({e.name for e in published.entries}) == len(published.entries)
    for entry in published.entries:
        assert entry.licence
        assert entry.is_bundled or entry.source.startswith("https://")


def test_bundled_files_of_this_checkout_have_the_published_content():
    bundled = [entry for entry in read_manifest().entries if entry.is_bundled]
    if not bundled:
        pytest.skip("no weights are bundled yet")
    for entry in bundled:
        path = verified_weights(entry.name)
        assert path.stat().st_size == entry.size <= 25e6


def test_default_is_found_and_checked(installed):
    assert manifest.default_weights() == installed
    assert verified_weights() == installed
    assert verified_weights("sam2-3dmed-nano") == installed


def test_damaged_copy_is_refused_wherever_it_lies(installed, tmp_path):
    damaged = tmp_path / "elsewhere" / installed.name
    damaged.parent.mkdir()
    damaged.write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(WeightsError, match="damaged"):
        verified_weights(damaged)
    own = damaged.with_name("my-own.safetensors")
    own.write_bytes(CONTENT)
    assert resolve_weights(own) == (own, None)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("no-such-model", "choose one of"),
        ("gone.safetensors", "does not exist"),
        (".", "is a folder"),
        ("", "is empty"),
    ],
)
def test_unusable_choice_says_what_to_do(installed, given, said):
    with pytest.raises(WeightsError, match=said):
        resolve_weights(given)


def test_missing_bundled_and_not_downloaded_say_what_to_do(installed, monkeypatch):
    installed.unlink()
    with pytest.raises(WeightsError, match="install it again"):
        manifest.default_weights()
    remote = entry_of(CONTENT, name="big", file="big.pt", source="https://example.org/big.pt")
    monkeypatch.setattr(manifest, "read_manifest", lambda: Manifest("big", (remote,)))
    with pytest.raises(WeightsError, match="sam2-3dmed models download big"):
        manifest.default_weights()


@pytest.mark.parametrize(
    "change", [{"sha256": "00"}, {"source": "http://example.org/x"}, {"file": "../x"}, {"size": 0}]
)
def test_unsafe_entries_are_refused(tmp_path, change):
    good = {key: getattr(entry_of(CONTENT), key) for key in WeightsEntry.__dataclass_fields__}
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps({"default": "x", "weights": [good | change]}))
    with pytest.raises(ManifestError):
        read_manifest(path)


def test_unreadable_manifest_is_one_sentence(tmp_path):
    path = tmp_path / "manifest.json"
    path.write_text("{")
    with pytest.raises(ManifestError, match="install the software again"):
        read_manifest(path)


def test_publishing_an_entry_replaces_the_one_of_the_same_name(tmp_path):
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps({"default": "sam2-3dmed-nano", "weights": []}))
    weights = tmp_path / "nano.safetensors"
    for content in (b"first", b"second"):
        weights.write_bytes(content)
        add_to_manifest(describe_file(weights, "sam2-3dmed-nano", "nano", "Apache-2.0", BUNDLED), path)
    (entry,) = read_manifest(path).entries
    assert (entry.sha256, entry.size) == (hashlib.sha256(b"second").hexdigest(), 6)


def test_store_is_in_the_users_own_data_folder(monkeypatch, tmp_path):
    assert store_folder({"SAM2_3DMED_HOME": str(tmp_path)}) == tmp_path / "weights"
    monkeypatch.setattr(sys, "platform", "linux")
    assert store_folder({"XDG_DATA_HOME": "/data"}) == Path("/data/sam2-3dmed/weights")
    assert store_folder({}) == Path.home() / ".local/share/sam2-3dmed/weights"
    monkeypatch.setattr(sys, "platform", "win32")
    assert store_folder({"LOCALAPPDATA": "/local"}) == Path("/local/sam2-3dmed/weights")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert store_folder({}) == Path.home() / "Library/Application Support/sam2-3dmed/weights"


def test_needs_nothing_but_the_standard_library():
    source = Path(manifest.__file__).parents[2]
    code = (
        f"import sys; sys.path.insert(0, {str(source)!r}); "
        "import SAM2_3dMedLib.weights, SAM2_3dMedLib.weights.download; "
        "print(sorted({'torch', 'numpy', 'sam2', 'scipy'} & set(sys.modules)))"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )
