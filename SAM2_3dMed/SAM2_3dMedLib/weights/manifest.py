"""The list of known weights (`manifest.json`) and where their files lie on this computer.

Files are looked for, in this order: the folder of bundled weights of a checkout (`Resources/Weights`), of Slicer's
install tree (`Resources/Weights` beside the package), of an installed wheel (`share/sam2-3dmed/Weights` under the
Python prefix), then the user's own store, which survives updates of Slicer and of this extension.
"""

from __future__ import annotations

import json
import os
import re
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from .verify import WeightsError, sha256_of, verify_file

MANIFEST_PATH = Path(__file__).with_name("manifest.json")
PACKAGE_FOLDER = Path(__file__).resolve().parent.parent
HOME_VARIABLE = "SAM2_3DMED_HOME"
BUNDLED = "bundled"
_APPLICATION = "sam2-3dmed"


class ManifestError(WeightsError):
    """The manifest itself cannot be read."""


@dataclass(frozen=True)
class WeightsEntry:
    """One published weight file.

    Attributes:
        name: what the user types, e.g. `sam2-3dmed-nano`.
        file: name of the file, without folder.
        sha256: of the whole file, 64 lower-case hexadecimal digits.
        size: bytes.
        licence: SPDX name.
        config: name of the network configuration (`network.config.SIZE_NAMES`).
        source: https URL, or `bundled` for a file that comes with the software.
        description: one line for a list of models.
    """

    name: str
    file: str
    sha256: str
    size: int
    licence: str
    config: str
    source: str
    description: str = ""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[0-9a-f]{64}", self.sha256):
            raise ManifestError(
                f"The SHA-256 of '{self.name}' in the manifest is not 64 lower-case hexadecimal digits."
            )
        if Path(self.file).name != self.file or self.size <= 0:
            raise ManifestError(f"The file name or size of '{self.name}' in the manifest is not usable.")
        if not self.is_bundled and not self.source.startswith("https://"):
            raise ManifestError(f"The source of '{self.name}' in the manifest is neither '{BUNDLED}' nor an https URL.")

    @property
    def is_bundled(self) -> bool:
        return self.source == BUNDLED


@dataclass(frozen=True)
class Manifest:
    """All published weights and the name of the default."""

    default: str
    entries: tuple[WeightsEntry, ...]

    def entry(self, name: str) -> WeightsEntry:
        """The entry of a name. Raises `WeightsError` when there is none."""
        for entry in self.entries:
            if entry.name == name:
                return entry
        known = ", ".join(entry.name for entry in self.entries)
        raise WeightsError(f"There are no weights named '{name}'; choose one of: {known}; or give the path of a file.")

    def by_file(self, file_name: str) -> WeightsEntry | None:
        """The entry whose file has this name, if any."""
        return next((entry for entry in self.entries if entry.file == file_name), None)


def read_manifest(path: Path = MANIFEST_PATH) -> Manifest:
    """Read `manifest.json`. Raises `ManifestError` with the reason."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        entries = tuple(WeightsEntry(**values) for values in content["weights"])
        return Manifest(content["default"], entries)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ManifestError(
            f"The list of weights {path} cannot be read ({error}); install the software again."
        ) from error


def add_to_manifest(entry: WeightsEntry, path: Path = MANIFEST_PATH) -> None:
    """Add an entry, or replace the one of the same name; for whoever publishes weights. The file appears whole."""
    manifest = read_manifest(path)
    others = [known for known in manifest.entries if known.name != entry.name]
    entries = [entry, *others] if entry.name == manifest.default else [*others, entry]
    content = {"default": manifest.default, "weights": [asdict(known) for known in entries]}
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def store_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """The user's folder for downloaded weights (not created here).

    `SAM2_3DMED_HOME` overrides the platform's data folder: `%LOCALAPPDATA%` on Windows,
    `~/Library/Application Support` on macOS, `$XDG_DATA_HOME` or `~/.local/share` elsewhere.
    """
    if environment.get(HOME_VARIABLE):
        return Path(environment[HOME_VARIABLE]).expanduser() / "weights"
    if sys.platform == "win32":
        base = Path(environment.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(environment.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return base / _APPLICATION / "weights"


def bundled_folders() -> list[Path]:
    """Folders in which weights that come with the software may lie; none of them needs to exist."""
    prefix = Path(sysconfig.get_path("data"))
    return [
        PACKAGE_FOLDER.parent.parent / "Resources" / "Weights",  # checkout: SAM2_3dMed/SAM2_3dMedLib -> Resources
        PACKAGE_FOLDER.parent / "Resources" / "Weights",  # Slicer: beside qt-scripted-modules/SAM2_3dMedLib
        prefix / "share" / _APPLICATION / "Weights",  # wheel: data files of pyproject.toml
    ]


def find_weights(entry: WeightsEntry) -> Path | None:
    """Where the file of an entry lies, or None. Its content is not checked here."""
    for folder in [*bundled_folders(), store_folder()]:
        if (folder / entry.file).is_file():
            return folder / entry.file
    return None


def default_weights() -> Path:
    """The default weights' file, bundled or downloaded.

    Raises:
        WeightsError: it is not there.
    """
    manifest = read_manifest()
    return _existing(manifest.entry(manifest.default))


def _existing(entry: WeightsEntry) -> Path:
    path = find_weights(entry)
    if path is not None:
        return path
    if entry.is_bundled:
        raise WeightsError(
            f"The weights '{entry.name}' should have come with the software but {entry.file} is in none of its "
            "folders; install it again, or choose a weight file yourself."
        )
    raise WeightsError(
        f"The weights '{entry.name}' are not on this computer; "
        f"fetch them ({entry.size / 1e6:.0f} MB) with: sam2-3dmed models download {entry.name}"
    )


def resolve_weights(name_or_path: str | Path | None = None) -> tuple[Path, str | None]:
    """The file that a user means, and the SHA-256 it must have (None for a file that is not ours).

    A name of the manifest is looked up; anything else is a path. A path whose file name is that of a published file
    must also have its content, so that a damaged copy is noticed wherever it lies. None is the default.

    Raises:
        WeightsError: nothing there, or not on this computer yet.
    """
    manifest = read_manifest()
    if name_or_path is None:
        entry = manifest.entry(manifest.default)
        return _existing(entry), entry.sha256
    text = str(name_or_path)
    if not text.strip():  # as a path, the current folder
        raise WeightsError("The name of the weights is empty; give a name of `sam2-3dmed models list`, or a file.")
    path = Path(text).expanduser()
    if path.is_file():
        known = manifest.by_file(path.name)
        return path, known.sha256 if known else None
    if any(entry.name == text for entry in manifest.entries):
        entry = manifest.entry(text)
        return _existing(entry), entry.sha256
    if path.is_dir():
        raise WeightsError(f"{path} is a folder; give the weight file inside it.")
    if path.suffix in (".safetensors", ".pt", ".pth") or len(path.parts) > 1:
        raise WeightsError(f"The weight file {path} does not exist; check the path.")
    manifest.entry(text)
    raise AssertionError("unreachable: entry() raises for an unknown name")


def verified_weights(name_or_path: str | Path | None = None) -> Path:
    """`resolve_weights`, and the content checked against the published SHA-256 where there is one.

    Raises:
        WeightsError: nothing there, or the file is damaged.
    """
    path, expected = resolve_weights(name_or_path)
    if expected is not None:
        verify_file(path, expected)
    return path


def describe_file(path: Path, name: str, config: str, licence: str, source: str, description: str = "") -> WeightsEntry:
    """The manifest entry of a weight file on this computer; its size and SHA-256 are taken from it."""
    return WeightsEntry(
        name=name,
        file=path.name,
        sha256=sha256_of(path),
        size=path.stat().st_size,
        licence=licence,
        config=config,
        source=source,
        description=description,
    )
