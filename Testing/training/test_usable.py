"""Cases that cannot be used, told as part of a sentence."""

from pathlib import Path

from SAM2_3dMedLib.training.case_reading import UnusableCaseError
from SAM2_3dMedLib.training.data_layouts import LabeledCase
from SAM2_3dMedLib.training.usable import each_usable


def test_a_reason_ends_without_a_period() -> None:
    """Lines on the terminal have none, and what quotes a line adds its own."""

    def refuse(_: LabeledCase) -> None:
        raise UnusableCaseError("The image does not exist; check the path.")

    case = LabeledCase("d", "c", "CT", {1: "a"}, Path("image"), Path("label"))
    (unusable,) = each_usable([case], refuse).unusable
    assert unusable.sentence == "left out d/c: The image does not exist; check the path"
