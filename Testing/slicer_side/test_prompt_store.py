"""Prompts live in the scene: they survive saving, renaming and loading, and go with their segment."""

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="needs the wheel slicer-core in its own environment")

import mrml  # noqa: E402
from SAM2_3dMedLib.propagation.prompts import BoxPrompt, MaskPrompt, PointPrompt  # noqa: E402
from SAM2_3dMedLib.slicer_side.prompt_store import PromptStore, StoredPrompt  # noqa: E402
from SAM2_3dMedLib.slicer_side.slice_sums import SliceSums  # noqa: E402
from SAM2_3dMedLib.slicer_side.volume_place import VolumePlace  # noqa: E402
from SAM2_3dMedLib.volume.planes import SliceAxis  # noqa: E402

POINT = PointPrompt(SliceAxis.K, (4.5, 6.0, 3.0), True)
NEGATIVE = PointPrompt(SliceAxis.I, (4.0, 6.0, 3.0), False)
BOX = BoxPrompt(SliceAxis.J, (2.0, 5.0, 1.0), (9.0, 5.0, 7.0))


@pytest.fixture
def bench(scene):
    volume = mrml.add_volume(np.zeros((10, 24, 32), np.int16))
    segmentation, segments = mrml.add_segmentation('left; "kidney": 1 %', "b", reference=volume)
    return PromptStore(scene), segmentation, segments, volume


def mask_prompt():
    mask = np.zeros((24, 32), dtype=bool)
    mask[4:9, 5:20] = True
    return MaskPrompt(SliceAxis.K, 3, mask)


def test_prompts_come_back_in_order_and_can_be_changed(bench):
    store, segmentation, (one, two), volume = bench
    first = store.add(segmentation, one, volume, POINT)
    store.add(segmentation, one, volume, BOX)
    last = store.add(segmentation, one, volume, mask_prompt())
    assert [stored.prompt for stored in store.prompts(segmentation, one)] == [POINT, BOX, mask_prompt()]
    assert store.prompts(segmentation, two) == ()
    store.replace(segmentation, one, first.prompt_id, NEGATIVE)
    assert store.pop(segmentation, one) == last
    assert [stored.prompt for stored in store.prompts(segmentation, one)] == [NEGATIVE, BOX]
    store.remove(segmentation, one, first.prompt_id)
    assert [stored.prompt for stored in store.prompts(segmentation, one)] == [BOX]
    with pytest.raises(KeyError):
        store.remove(segmentation, one, first.prompt_id)
    store.clear(segmentation, one)
    assert store.pop(segmentation, one) is None
    assert store.segments(segmentation) == ()


def test_undo_brings_back_prompts_under_their_names(bench):
    store, segmentation, (one, _), volume = bench
    kept = store.add(segmentation, one, volume, POINT)
    store.set_all(segmentation, one, VolumePlace.of_node(volume), [kept, BOX])
    assert store.prompts(segmentation, one)[0] == StoredPrompt(kept.prompt_id, POINT)


def test_a_saved_scene_brings_the_prompts_back_also_into_a_scene_that_holds_others(bench, tmp_path):
    store, segmentation, (one, two), volume = bench
    store.add(segmentation, one, volume, POINT)
    store.add(segmentation, one, volume, mask_prompt())
    store.set_checked(segmentation, one, {5, 3})
    store.set_slice_sums(segmentation, one, SliceSums(2, {3: 11, 4: 12}))
    store.add(segmentation, one, volume, NEGATIVE)
    store.pop(segmentation, one)  # what is stored beside the prompts stays when they change
    store.add(segmentation, two, volume, NEGATIVE)
    path = tmp_path / "scene.mrml"
    for node in (segmentation, volume):
        node.AddDefaultStorageNode()
        suffix = ".seg.nrrd" if node is segmentation else ".nrrd"
        node.GetStorageNode().SetFileName(str(tmp_path / f"{node.GetName()}{suffix}"))
        assert node.GetStorageNode().WriteData(node)
    slicer.mrmlScene.SetURL(str(path))
    assert slicer.mrmlScene.Commit(str(path))

    scene = slicer.mrmlScene
    scene.Clear(False)
    mrml.add_segmentation("other")
    scene.SetURL(str(path))
    assert scene.Import()
    loaded = [
        n
        for n in (scene.GetNthNodeByClass(i, "vtkMRMLSegmentationNode") for i in range(2))
        if n.GetSegmentation().GetSegment(one)
    ]
    store = PromptStore(scene)
    assert [stored.prompt for stored in store.prompts(loaded[0], one)] == [POINT, mask_prompt()]
    assert [stored.prompt for stored in store.prompts(loaded[0], two)] == [NEGATIVE]
    assert store.checked_slices(loaded[0], one) == {3, 5}
    assert store.slice_sums(loaded[0], one) == SliceSums(2, {3: 11, 4: 12})
    assert store.slice_sums(loaded[0], two) is None
    assert set(store.segments(loaded[0])) == {one, two}
    assert store.volume_node(loaded[0], one).GetName() == "CT"


def test_a_renamed_segment_keeps_its_prompts_and_a_deleted_one_takes_them_along(bench):
    store, segmentation, (one, two), volume = bench
    store.add(segmentation, one, volume, POINT)
    store.add(segmentation, two, volume, BOX)
    segmentation.GetSegmentation().GetSegment(one).SetName("Leber")
    assert store.prompts(segmentation, one)[0].prompt == POINT
    segmentation.GetSegmentation().RemoveSegment(two)
    store.drop_missing()
    assert store.segments(segmentation) == (one,)
    slicer.mrmlScene.RemoveNode(segmentation)
    store.drop_missing()
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScriptedModuleNode") == 0


def test_a_prompt_that_cannot_be_read_does_not_take_the_others_with_it(bench):
    store, segmentation, (one, _), volume = bench
    store.add(segmentation, one, volume, POINT)
    store.add(segmentation, one, volume, BOX)
    node = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLScriptedModuleNode")
    name = node.GetParameterNames()[0]
    node.SetParameter(name, node.GetParameter(name).replace('"type":"point"', '"type":"hologram"'))
    assert [stored.prompt for stored in store.prompts(segmentation, one)] == [BOX]
    node.SetParameter(name, "{broken")
    assert store.prompts(segmentation, one) == ()
