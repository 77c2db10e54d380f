"""The files of a training state: one `state.safetensors`, or pieces of at most 15 MiB where only small files travel.

Both appear whole or not at all. The pieces of a new state are written beside those of the old one, `compact.json` then
names the new ones, and the old ones go last: whenever a run is killed, one of the two states is there.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load as load_bytes
from safetensors.torch import save as save_bytes
from safetensors.torch import save_file

from .files import write_bytes_whole, write_text_whole, write_whole

STATE_FILE = "state.safetensors"
INDEX_FILE = "compact.json"
PIECE_BYTES = 15 * 2**20
_OLD_PIECES = "compact.[0-9][0-9]"  # without an index: version 0.2.0 and older


class StateError(RuntimeError):
    """A saved state that cannot be resumed; the message says what to do next."""


def has_state(folder: Path) -> bool:
    """Whether `folder` holds a state, in full or compact."""
    return (folder / STATE_FILE).is_file() or (folder / INDEX_FILE).is_file() or any(folder.glob(_OLD_PIECES))


def write_state(folder: Path, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> Path:
    """Write everything as it is to `folder/state.safetensors`. Raises StateError when the disk does not take it."""
    metadata = {"facts": json.dumps(facts)}
    try:
        return write_whole(folder / STATE_FILE, lambda path: save_file(_plain(tensors), str(path), metadata=metadata))
    except (OSError, SafetensorError) as error:
        raise _not_written(folder, error) from error


def write_pieces(folder: Path, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> list[Path]:
    """Write the tensors in float16 as pieces `compact.<content>.00`, ... and their index `compact.json`.

    Raises StateError when the disk does not take them.
    """
    data = save_bytes(_plain(tensors, half=True), metadata={"facts": json.dumps(facts)})
    digest = hashlib.sha256(data).hexdigest()
    pieces = [folder / f"compact.{digest[:8]}.{number:02d}" for number in range(math.ceil(len(data) / PIECE_BYTES))]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        earlier = {*folder.glob("compact.*.[0-9][0-9]"), *folder.glob(_OLD_PIECES)}
        for number, piece in enumerate(pieces):
            write_bytes_whole(piece, data[number * PIECE_BYTES : (number + 1) * PIECE_BYTES])
        index = {"sha256": digest, "pieces": [piece.name for piece in pieces]}
        write_text_whole(folder / INDEX_FILE, json.dumps(index) + "\n")
        for piece in earlier.difference(pieces):
            piece.unlink()
    except OSError as error:
        raise _not_written(folder, error) from error
    return pieces


def _not_written(folder: Path, error: Exception) -> StateError:
    return StateError(
        f"The training state could not be written to {folder} ({error}); free some space and go on with --resume from "
        "the former one."
    )


def read_state(folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Tensors and facts of a saved state, in full or compact. Raises StateError if `folder` has neither."""
    path = folder / STATE_FILE
    try:
        if path.is_file():
            with safe_open(str(path), framework="pt") as archive:
                facts = json.loads(archive.metadata()["facts"])
                return {name: archive.get_tensor(name) for name in archive.keys()}, facts  # noqa: SIM118  (no mapping)
        data = _joined_pieces(folder)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        return load_bytes(data), json.loads(header["__metadata__"]["facts"])
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise StateError(f"The training state in {folder} is damaged ({error}); remove it to start anew.") from error


def _joined_pieces(folder: Path) -> bytes:
    index = folder / INDEX_FILE
    if not index.is_file():
        pieces = sorted(folder.glob(_OLD_PIECES))
        if not pieces:
            raise StateError(f"{folder} holds no saved training state; leave out --resume to start anew.")
        return b"".join(piece.read_bytes() for piece in pieces)
    listed = json.loads(index.read_text(encoding="utf-8"))
    missing = [name for name in listed["pieces"] if not (folder / name).is_file()]
    if missing:
        raise StateError(f"{folder} lacks the piece {missing[0]} of its training state; copy all of compact.* there.")
    data = b"".join((folder / name).read_bytes() for name in listed["pieces"])
    if hashlib.sha256(data).hexdigest() != listed["sha256"]:
        raise StateError(f"The pieces of the training state in {folder} are damaged; copy all of compact.* again.")
    return data


def _plain(tensors: Mapping[str, torch.Tensor], half: bool = False) -> dict[str, torch.Tensor]:
    """Independent, contiguous tensors on the host, as safetensors wants them."""
    kind = {"dtype": torch.float16} if half else {}
    return {
        name: value.detach().to("cpu", **(kind if value.is_floating_point() else {})).contiguous().clone()
        for name, value in tensors.items()
    }
