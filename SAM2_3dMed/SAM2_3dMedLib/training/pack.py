"""Packs labeled volumes into a few compact files that numpy alone can read.

A training machine without a network or SimpleITK receives the volumes through these files. A pack is an uncompressed
`.npz` (no pickle): `index` is UTF-8 JSON, `image_N` and `label_N` are xz streams of uint8 voxels. Voxels are stored
`[S, P, L]`: slices toward Superior, rows toward Posterior, columns toward Left, whatever the file's own axes were.

CT is kept in 248 levels, finest where soft tissue is (`CT_LEVELS`), so that any usual window can still be drawn.
"""

from __future__ import annotations

import argparse
import json
import lzma
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .files import write_whole

if TYPE_CHECKING:
    from .usable import Unusable

FORMAT = 1
# HU at the center of every stored level: steps of 20 HU in lung, 4 HU in soft tissue and fat, 20 HU in bone.
CT_LEVELS = np.concatenate(
    [np.arange(-1024, -224, 20), np.arange(-224, 416, 4), np.arange(416, 1376, 20)], dtype=np.float32
)


class PackError(ValueError):
    """A manifest or a pack that cannot be used; the message says what to do next."""


@dataclass(frozen=True)
class CaseInfo:
    """What is known about one packed case.

    `shape` and `spacing_mm` follow the stored array, `[S, P, L]`. `kind` is "ct" (levels of `CT_LEVELS`), "ct8" (CT
    whose window was applied before it reached us) or "mr" (0..255 over the file's own range). `labels` maps a value to
    its name. Where the manifest says that the spacing is not known, `spacing_mm` is nominal and no mm are reported.
    """

    dataset: str
    case: str
    kind: str
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    labels: dict[int, str]
    spacing_known: bool = True


@dataclass(frozen=True)
class PackedCase:
    """One case: its facts, image uint8 `[S, P, L]` and label map uint8 `[S, P, L]`."""

    info: CaseInfo
    image: np.ndarray
    label: np.ndarray


def hounsfield_to_level(hounsfield: np.ndarray) -> np.ndarray:
    """HU of any numeric dtype -> uint8 index of the nearest of `CT_LEVELS` (clipped at both ends)."""
    middles = (CT_LEVELS[1:] + CT_LEVELS[:-1]) / 2
    return np.searchsorted(middles, hounsfield.astype(np.float32), side="right").astype(np.uint8)


def _differences(voxels: np.ndarray) -> bytes:
    # Differences along columns, modulo 256: their entropy is about a fifth lower than that of the voxels themselves,
    # and numpy undoes them with one cumulative sum.
    return np.diff(voxels, axis=-1, prepend=np.uint8(0)).tobytes()


def _undo_differences(data: bytes, shape: tuple[int, ...]) -> np.ndarray:
    flat = np.frombuffer(data, dtype=np.uint8).reshape(shape)
    return np.cumsum(flat, axis=-1, dtype=np.uint8)


@dataclass(frozen=True)
class CompressedCase:
    """One case as it lies in a pack: xz streams of voxel differences and of labels."""

    info: CaseInfo
    image: bytes
    label: bytes

    @property
    def size(self) -> int:
        """Bytes in the pack."""
        return len(self.image) + len(self.label)


def compress(case: PackedCase, preset: int = 6) -> CompressedCase:
    """Compress a case; `preset` 0..9 trades time for size as xz does (reading takes the same time)."""
    filters = [{"id": lzma.FILTER_LZMA2, "preset": preset, "lc": 4, "lp": 0, "pb": 0}]
    image = lzma.compress(_differences(case.image), format=lzma.FORMAT_XZ, filters=filters)
    return CompressedCase(case.info, image, lzma.compress(case.label.tobytes(), preset=preset))


def write_pack(path: Path, cases: Iterable[CompressedCase]) -> int:
    """Write compressed cases to one file, which appears whole or not at all, and return its size in bytes."""
    arrays: dict[str, np.ndarray] = {}
    infos = []
    for number, case in enumerate(cases):
        infos.append(asdict(case.info))
        arrays[f"image_{number}"] = np.frombuffer(case.image, dtype=np.uint8)
        arrays[f"label_{number}"] = np.frombuffer(case.label, dtype=np.uint8)
    index = json.dumps({"format": FORMAT, "cases": infos}).encode()
    arrays["index"] = np.frombuffer(index, dtype=np.uint8)

    def write(temporary: Path) -> None:
        with temporary.open("wb") as stream:
            np.savez(stream, **arrays)

    return write_whole(path, write).stat().st_size


def read_pack(path: Path, threads: int = 8) -> Iterator[PackedCase]:
    """Yield the cases of one pack in its own order. Raises PackError if the file is no pack of this format."""
    try:
        archive = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise PackError(f"{path} cannot be read as a pack ({error}); pack the volumes again.") from error
    with archive:
        if "index" not in archive:
            raise PackError(f"{path} is not a pack; write one with `python -m SAM2_3dMedLib.training.pack`.")
        index = json.loads(archive["index"].tobytes())
        if index.get("format") != FORMAT:
            raise PackError(f"{path} has pack format {index.get('format')}, not {FORMAT}; pack the volumes again.")
        streams = [
            (archive[f"image_{n}"].tobytes(), archive[f"label_{n}"].tobytes()) for n in range(len(index["cases"]))
        ]
    with ThreadPoolExecutor(threads) as pool:  # lzma releases the interpreter lock
        yield from pool.map(_decompress, index["cases"], streams)


def _decompress(facts: dict, streams: tuple[bytes, bytes]) -> PackedCase:
    info = CaseInfo(
        dataset=facts["dataset"],
        case=facts["case"],
        kind=facts["kind"],
        shape=tuple(facts["shape"]),
        spacing_mm=tuple(facts["spacing_mm"]),
        labels={int(value): name for value, name in facts["labels"].items()},
        spacing_known=facts.get("spacing_known", True),  # packs of version 0.3.0 have it not
    )
    image = _undo_differences(lzma.decompress(streams[0]), info.shape)
    label = np.frombuffer(lzma.decompress(streams[1]), dtype=np.uint8).reshape(info.shape)
    return PackedCase(info, image, label)


def split_in_parts(sizes: Sequence[int], parts: int) -> list[list[int]]:
    """Indices of `sizes` divided among `parts` so that the sums are nearly equal (largest first)."""
    totals, members = [0] * parts, [[] for _ in range(parts)]
    for index in sorted(range(len(sizes)), key=lambda n: -sizes[n]):
        emptiest = totals.index(min(totals))
        totals[emptiest] += sizes[index]
        members[emptiest].append(index)
    return [sorted(group) for group in members]


def pack_manifest(
    manifest: Path, root: Path, split: str, output: Path, parts: int = 2, threads: int = 2
) -> tuple[list[Path], tuple[Unusable, ...]]:
    """Pack the rows of `split` into `output/partN.npz`; the files, and the cases that were left out.

    The latter stand in `output/unusable.csv` too.

    Raises:
        PackError: there is no row of this split, or none that can be used.
        LayoutError: the manifest cannot be read.
    """
    # Here and not above: where packs are only read there is no SimpleITK.
    from .case_reading import read_case
    from .data_layouts import read_manifest
    from .usable import each_usable, write_report

    cases = [case for case in read_manifest(manifest, root) if case.split == split]
    if not cases:
        raise PackError(f"{manifest} has no rows of split '{split}'; choose one that it has with --split.")
    outcome = each_usable(cases, lambda case: compress(read_case(case)), threads)
    report = write_report(output / "unusable.csv", outcome.unusable)
    if not outcome.usable:
        raise PackError(f"None of the {len(cases)} cases of split '{split}' can be used; {report} says why.")
    # A shuffle by checksum spreads each data set over the parts, so that one part alone is a usable sample.
    packed = sorted(outcome.usable, key=lambda item: zlib.crc32(item.info.case.encode()))
    paths = []
    for number, group in enumerate(split_in_parts([case.size for case in packed], parts)):
        path = output / f"part{number}.npz"
        write_pack(path, (packed[index] for index in group))
        paths.append(path)
    return paths, outcome.unusable


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry of `python -m SAM2_3dMedLib.training.pack`. Exit code 2 for input that cannot be used."""
    parser = argparse.ArgumentParser(description="Pack the volumes of a manifest for training.")
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--root", type=Path, required=True, help="folder that the manifest's paths start from")
    parser.add_argument("--split", default="train")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--parts", type=int, default=2)
    options = parser.parse_args(arguments)
    from .data_layouts import LayoutError
    from .usable import sentences

    try:
        paths, unusable = pack_manifest(options.manifest, options.root, options.split, options.output, options.parts)
    except (PackError, LayoutError) as error:
        print(error)
        return 2
    for path in paths:
        print(f"{path} {path.stat().st_size / 2**20:.1f} MiB")
    for sentence in sentences(unusable, options.output / "unusable.csv"):
        print(sentence)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
