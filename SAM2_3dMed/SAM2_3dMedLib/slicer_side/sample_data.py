"""The CT and MR volumes that come with the extension, for Slicer's Sample Data module."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PACKAGE_FOLDER = Path(__file__).resolve().parent.parent
CATEGORY = "SAM2-3dMed"


@dataclass(frozen=True)
class Sample:
    """name: of the sample and of the volume node; file: in `Resources/Samples`; sha256: of the file."""

    name: str
    file: str
    sha256: str
    thumbnail: str


SAMPLES = (
    Sample(
        "SAM2-3dMed abdomen CT",
        "abdomen_ct_img.nii.gz",
        "821fedc2eb5cb2556125e397922e48005ccea65c8c8a06e1a72716fe4ee7d28b",
        "SampleAbdomenCT.png",
    ),
    Sample(
        "SAM2-3dMed thigh MR",
        "sarcoma_mr_img.nii.gz",
        "431dc863dec3352c9cff57b5d156588851f2f4dc064c4c75343a74d0e0ea527b",
        "SampleThighMR.png",
    ),
    Sample(
        "SAM2-3dMed spinal cord MR",
        "spinalcord_t2_img.nii.gz",
        "405f4ec4e3a6a937b10bddc8eb6869b66fb79c66526c0244a0a14230c039bb1d",
        "SampleSpinalCordMR.png",
    ),
)


def sample_path(sample: Sample) -> Path:
    """Where the file lies: a checkout (`SAM2_3dMed/SAM2_3dMedLib` -> `Resources`) or Slicer's install tree (beside)."""
    in_checkout = PACKAGE_FOLDER.parent.parent / "Resources" / "Samples" / sample.file
    return in_checkout if in_checkout.is_file() else PACKAGE_FOLDER.parent / "Resources" / "Samples" / sample.file


def register_samples(icons_folder: Path) -> None:
    """Add the volumes to the Sample Data module; nothing is read or loaded until the user asks for one."""
    from SampleData import SampleDataLogic

    for sample in SAMPLES:
        SampleDataLogic.registerCustomSampleDataSource(
            category=CATEGORY,
            sampleName=sample.name,
            uris=sample_path(sample).as_uri(),
            fileNames=sample.file,
            nodeNames=sample.name,
            thumbnailFileName=str(icons_folder / sample.thumbnail),
            loadFileType="VolumeFile",
            checksums="SHA256:" + sample.sha256,
        )
