"""`sam2-3dmed models`: which weights there are, where they lie, whether they are whole; fetch and remove."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Column, Table

from ..weights.download import download_weights, remove_weights
from ..weights.manifest import (
    BUNDLED,
    WeightsEntry,
    add_to_manifest,
    describe_file,
    find_weights,
    read_manifest,
    resolve_weights,
    store_folder,
)
from ..weights.verify import sha256_of, verify_file
from .errors import UserError


def list_models(console: Console) -> None:
    """Print every published model and where it lies."""
    manifest = read_manifest()
    # Names and paths are there to be copied: nothing is cut off, names are not broken over lines either.
    longest = max(len(entry.name) for entry in manifest.entries)
    columns = [Column(title, overflow="fold") for title in ("size", "licence", "where", "what")]
    table = Table(Column("model", min_width=longest), *columns)
    for entry in manifest.entries:
        path = find_weights(entry)
        name = entry.name + (" (default)" if entry.name == manifest.default else "")
        where = str(path) if path else "missing" if entry.is_bundled else "not downloaded"
        table.add_row(name, f"{entry.size / 1e6:.0f} MB", entry.licence, where, entry.description)
    console.print(table)
    console.print(f"Downloads are kept in {store_folder()}", soft_wrap=True, highlight=False, markup=False)


def verify_models(names: list[str]) -> list[str]:
    """One line for each model that is on this computer (or for the named ones): its path and that it is whole.

    Raises:
        WeightsError: one is missing or damaged.
    """
    manifest = read_manifest()
    chosen = names or [entry.name for entry in manifest.entries if find_weights(entry)]
    if not chosen:
        raise UserError("No model is on this computer; fetch one with: sam2-3dmed models download NAME")
    lines = []
    for name in chosen:
        path, expected = resolve_weights(name)
        if expected is None:
            lines.append(f"{path}: not a published file, SHA-256 {sha256_of(path)}")
        else:
            verify_file(path, expected)
            lines.append(f"{path}: whole")
    return lines


def download_model(name: str, console: Console) -> Path:
    """Fetch a model with a progress bar. Raises `WeightsError`."""
    entry = read_manifest().entry(name)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(entry.file, total=entry.size)
        return download_weights(entry, progress=lambda done, total: progress.update(task, completed=done, total=total))


def remove_model(name: str) -> bool:
    """Remove a downloaded model; False when there was none. Raises `UserError` for a bundled one."""
    entry = read_manifest().entry(name)
    if entry.is_bundled:
        raise UserError(f"'{name}' comes with the software and is not removed.")
    return remove_weights(entry)


def register_model(path: Path, description: str) -> WeightsEntry:
    """Write a bundled weight file into the manifest, with what the file says of itself; for whoever publishes weights.

    Raises:
        CheckpointError: not a weight file of this project.
    """
    from ..network.checkpoint import read_metadata  # imports torch: only here

    config, metadata = read_metadata(path)
    entry = describe_file(path, metadata.name, config.name, metadata.licence, BUNDLED, description or metadata.notes)
    add_to_manifest(entry)
    return entry
