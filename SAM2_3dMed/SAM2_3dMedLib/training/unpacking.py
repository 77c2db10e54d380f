"""Unpacks a downloaded data set: only what training needs, and only into the folder that it is given."""

from __future__ import annotations

import gzip
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from .data_layouts import LayoutError

ENDINGS = (".tar", ".tar.gz", ".tgz")
_NEEDED = ("imagesTr", "labelsTr", "dataset.json")  # not imagesTs, which has no labels and much of the bytes


def is_archive(path: Path) -> bool:
    """Whether the file's name is that of a tar archive."""
    return path.name.lower().endswith(ENDINGS)


def unpack(archive: Path, folder: Path) -> Path:
    """The archive's labeled part in `folder/<name of the archive>`, unpacked there unless it was before.

    The folder appears whole or not at all.

    Raises:
        LayoutError: no archive, truncated, unsafe, without a dataset.json, or the disk is full.
    """
    name = archive.name
    ending = max((end for end in ENDINGS if name.lower().endswith(end)), key=len, default="")
    target = folder / name.removesuffix(name[len(name) - len(ending) :])
    if target.is_dir():
        return target
    if not hasattr(tarfile, "data_filter"):
        raise LayoutError(f"This Python cannot unpack archives safely; unpack {archive} yourself and give the folder.")
    folder.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder))
    try:
        with tarfile.open(archive) as opened:
            opened.extractall(partial, members=_needed(opened), filter="data")
            _require_whole(opened)
        if not any(partial.rglob("dataset.json")):
            raise LayoutError(f"{archive} holds no dataset.json; is it a task of MSD or a data set of nnU-Net?")
        partial.chmod(0o755)
        partial.replace(target)
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        if target.is_dir():  # another host was faster, on a disk that they share
            return target
        raise LayoutError(
            f"{archive} could not be unpacked ({error}); download it again, or free some space."
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def _needed(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    for member in archive:
        parts = PurePosixPath(member.name).parts
        if not parts or parts[-1].startswith("._"):  # macOS's second file beside every file
            continue
        if any(part in _NEEDED for part in parts):
            yield member


def _require_whole(archive: tarfile.TarFile) -> None:
    """Raise for a damaged archive: after its first header, tarfile takes any that it cannot read for the end."""
    file = archive.fileobj
    if isinstance(file, gzip.GzipFile):
        while file.read(1 << 20):  # up to the checksum, which follows the last byte
            pass
        return
    file.seek(archive.offset)
    block = file.read(tarfile.BLOCKSIZE)
    if len(block) < tarfile.BLOCKSIZE or block.strip(b"\0"):
        raise tarfile.ReadError("it ends before its end")
