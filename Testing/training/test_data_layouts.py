"""The three layouts give the same cases; what is wrong with a data folder is said in one sentence."""

import json
from pathlib import Path

import pytest
from SAM2_3dMedLib.training.data_layouts import Layout, LayoutError, read_layout


def _touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def _msd(folder: Path, **changes) -> Path:
    facts = {
        "name": "Pancreas",
        "modality": {"0": "CT"},
        "labels": {"0": "background", "1": "pancreas", "2": "cancer"},
        "training": [
            {"image": f"./imagesTr/p_{n}.nii.gz", "label": f"./labelsTr/p_{n}.nii.gz"} for n in ("004", "001")
        ],
    } | changes
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dataset.json").write_text(json.dumps(facts))
    _touch(folder, "imagesTr/p_001.nii.gz", "imagesTr/p_004.nii.gz", "imagesTr/._p_001.nii.gz")
    return folder


def test_msd_lists_its_cases_in_dataset_json(tmp_path) -> None:
    folder = _msd(tmp_path / "Task07_Pancreas")
    cases = read_layout(folder)
    assert [case.key for case in cases] == ["Task07_Pancreas/p_001", "Task07_Pancreas/p_004"]
    assert cases[0].labels == {1: "pancreas", 2: "cancer"}
    assert cases[0].modality == "CT"
    assert cases[0].image.is_file()
    assert cases[0].label == folder / "labelsTr" / "p_001.nii.gz"
    assert read_layout(tmp_path) == cases  # the folder above, as a tar unpacks
    cases[1].image.rename(folder / "imagesTr" / "p_004.nii")  # as some mirrors have it
    assert read_layout(folder)[1].image.name == "p_004.nii"
    assert read_layout(folder)[1].case == "p_004"


@pytest.mark.parametrize("version", [1, 2])
def test_nnunet_names_its_channels_in_the_file_names(tmp_path, version) -> None:
    folder = tmp_path / "Dataset007_Pancreas"
    facts = {"labels": {"0": "background", "1": "pancreas", "2": "cancer"}, "modality": {"0": "T1", "1": "T2"}}
    if version == 2:
        facts = {"channel_names": {"0": "T1", "1": "T2"}, "file_ending": ".nii.gz"}
        facts["labels"] = {"background": 0, "organ": [1, 2], "cancer": 2, "pancreas": 1, "ignore": 3}
    _touch(folder, *(f"imagesTr/p_{n}_000{c}.nii.gz" for n in (1, 2) for c in (0, 1)), "imagesTr/._p_1_0000.nii.gz")
    (folder / "dataset.json").write_text(json.dumps(facts))
    cases = read_layout(folder, channel=1)
    assert [case.case for case in cases] == ["p_1", "p_2"]
    assert cases[0].labels == {1: "pancreas", 2: "cancer"}
    assert cases[0].modality == "T2"
    assert cases[0].image.name == "p_1_0001.nii.gz"
    assert cases[0].label == folder / "labelsTr" / "p_1.nii.gz"
    with pytest.raises(LayoutError, match="no channel 2; it has 0, 1"):
        read_layout(folder, channel=2)


@pytest.mark.parametrize("modality", ["CT", ["CT"], {"0": "CT"}, {"0": "CT", "1": "PET"}])
def test_what_kind_of_image_it_is_is_read_however_it_is_written(tmp_path, modality) -> None:
    """CT that is taken for MR would be scaled by the file's own range instead of in Hounsfield units."""
    assert read_layout(_msd(tmp_path / "Task", modality=modality))[0].modality == "CT"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"training": []}, "lists no labeled case"),
        ({"training": ["imagesTr/p_001.nii.gz"]}, "no list 'training'"),
        ({"labels": {"0": "background"}}, "no label but the background"),
        ({"labels": [1]}, "no table 'labels'"),
        ({"labels": {"1": None}}, r'label "1" in .*Task/dataset\.json has the name null; give a text in quotes'),
        ({"labels": {"0": "background", "1": 2}}, r'label "1" in .*dataset\.json has the name 2'),  # which is which?
        ({"labels": {"1": " "}}, 'has the name " "'),
        ({"modality": {"0": None}}, r"Channel 0 in .*Task/dataset\.json has the name null; give a text"),
        ({"modality": 3}, "has the name 3"),
        ({"labels": {"spleen": None}}, r'label "spleen" in .*dataset\.json has the value null; give a whole number'),
        ({"labels": {"spleen": True}}, "has the value true"),
        ({"labels": {"spleen": 1.5}}, "has the value 1.5"),
        ({"labels": {"organ": [1, "two"]}}, 'label "organ" in .* has the value "two"'),
        ({"training": [{"image": "imagesTr/p_1.nii.gz", "label": "a"}] * 2}, "p_1 twice"),
    ],
)
def test_a_description_that_cannot_be_used_is_named(tmp_path, change, message) -> None:
    with pytest.raises(LayoutError, match=message):
        read_layout(_msd(tmp_path / "Task", **change))


def test_a_path_that_is_no_data_set_is_named(tmp_path) -> None:
    with pytest.raises(LayoutError, match="does not exist"):
        read_layout(tmp_path / "none")
    with pytest.raises(LayoutError, match=r"one dataset\.json \(found none\)"):
        read_layout(tmp_path)
    _msd(tmp_path / "Task01")
    _msd(tmp_path / "Task02")
    with pytest.raises(LayoutError, match="Task01, Task02"):
        read_layout(tmp_path)
    (tmp_path / "cases.csv").write_text("image,label\n")
    with pytest.raises(LayoutError, match="no column 'split'"):
        read_layout(tmp_path / "cases.csv")
    with pytest.raises(LayoutError, match="is a file"):
        read_layout(tmp_path / "cases.csv", Layout.MSD)


def test_brackets_without_end_are_no_description(tmp_path) -> None:
    folder = _msd(tmp_path / "Task07_Pancreas")
    (folder / "dataset.json").write_text("[" * 100_000)
    with pytest.raises(LayoutError, match="cannot be read as JSON"):
        read_layout(folder)


def _manifest(folder: Path, labels: str) -> Path:
    quoted = labels.replace('"', '""')
    (folder / "m.csv").write_text(
        f'split,dataset,case,modality,labels,image,label\ntrain,d,c,CT,"{quoted}",image.nii,label.nii\n'
    )
    return folder / "m.csv"


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ('{"1": null}', r'label "1" in line 2 of .*m\.csv has the name null'),
        ('{"1": 7}', "has the name 7; give a text in quotes"),
        ('{"one": "spleen"}', 'has the value "one"; give a whole number'),
        ('{"0": "background"}', r"labels in line 2 of .*m\.csv name no object"),
        ("{}", "name no object"),
        ("[]", "not a JSON table of numbers and names"),
        ("", "not a JSON table of numbers and names"),
        ("[" * 100_000, "not a JSON table of numbers and names"),
    ],
    ids=["null", "a number", "no value", "background alone", "nothing", "a list", "no text", "endless brackets"],
)
def test_labels_of_a_manifest_that_cannot_be_used_are_named(tmp_path, labels, message) -> None:
    with pytest.raises(LayoutError, match=message):
        read_layout(_manifest(tmp_path, labels))


def test_the_background_of_a_manifest_is_no_object(tmp_path) -> None:
    (case,) = read_layout(_manifest(tmp_path, '{"0": "background", "2": "b", "1": "a"}'))
    assert list(case.labels.items()) == [(1, "a"), (2, "b")]
