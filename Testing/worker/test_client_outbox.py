"""The order of what goes to the inference process, and what is left of it when the process has gone."""

import itertools
from pathlib import Path

import pytest
from SAM2_3dMedLib.slicer_side.client_outbox import Outbox
from SAM2_3dMedLib.worker import messages as m
from SAM2_3dMedLib.worker.array_file import ArrayFolder
from worker_bench import phantom


@pytest.fixture
def outbox():
    folder = ArrayFolder()
    yield Outbox(folder, itertools.count(100).__next__)
    folder.close()


def hand_over(outbox):
    request = None
    while request is None:
        request = outbox.upload_step()
    return request


def test_what_stands_behind_a_volume_waits_for_it(outbox):
    before, behind = m.ReadConfidence(1, "volume", "one"), m.Propagate(2, "volume", "one", None, None)
    outbox.add(before)
    outbox.add_volume(phantom())
    outbox.add(behind)
    assert list(outbox.sendable()) == [before]
    assert list(outbox.sendable()) == []
    hand_over(outbox)
    assert list(outbox.sendable()) == [behind]
    assert outbox.busy


def test_cancel_takes_out_what_was_not_sent_and_knows_what_was(outbox):
    outbox.add(m.Propagate(1, "volume", "one", None, None))
    assert outbox.long_work
    assert [request.request for request in outbox.drop_long()] == [1]
    assert not outbox.busy
    outbox.add(m.Propagate(2, "volume", "one", None, None))
    list(outbox.sendable())
    assert outbox.drop_long() == []
    assert outbox.long_work
    outbox.answered(2)
    assert not outbox.busy


@pytest.mark.parametrize("handed_over", [False, True])
def test_a_process_that_goes_leaves_no_file_of_a_volume_it_had_not_opened(outbox, handed_over):
    outbox.add_volume(phantom())
    path = Path(outbox.upload.file.path)
    outbox.upload.step(0)
    assert path.exists()
    if handed_over:
        hand_over(outbox)
    assert len(outbox.clear()) == int(handed_over)
    assert not path.exists()
    assert not outbox.busy
