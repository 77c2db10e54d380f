"""One channel of an image that has several in one 4D file, as MSD's brain tumor and prostate images do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import SimpleITK as sitk  # noqa: N813 - its customary name

from .case_reading import UnusableCaseError, open_header
from .data_layouts import LabeledCase
from .files import write_whole


def single_channel(case: LabeledCase, folder: Path) -> LabeledCase:
    """The case itself, or, for a 4D image, with its channel as a 3D file that is written into `folder` once.

    Raises:
        UnusableCaseError: the image cannot be read, or has no such channel.
    """
    reader = open_header(case.image)
    size = reader.GetSize()
    if len(size) < 4:
        return case
    if case.channel >= size[3]:
        raise UnusableCaseError(f"the image has {size[3]} channels, and channel {case.channel} was asked for.")
    # NRRD: its writer is found by a one-part ending, also under the temporary name.
    path = folder / case.dataset / f"{case.case}_{case.channel:04d}.nrrd"
    if not path.is_file() or path.stat().st_mtime_ns < case.image.stat().st_mtime_ns:
        reader.SetExtractSize([*size[:3], 0])
        reader.SetExtractIndex([0, 0, 0, case.channel])
        try:
            image = reader.Execute()
        except RuntimeError as error:
            raise UnusableCaseError(f"'{case.image}' is truncated or damaged.") from error
        write_whole(path, lambda temporary: sitk.WriteImage(image, str(temporary), useCompression=True))
    return replace(case, image=path)
