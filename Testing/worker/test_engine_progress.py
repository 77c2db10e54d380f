"""What the engine tells of a propagation that begins again, because the object outgrew its field of view."""

from __future__ import annotations

from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest
from SAM2_3dMedLib.propagation.cancel import CancelToken
from SAM2_3dMedLib.propagation.prompts import BoxPrompt
from SAM2_3dMedLib.slicer_side.volume_upload import VolumeUpload
from SAM2_3dMedLib.volume.planes import SliceAxis
from SAM2_3dMedLib.weights.manifest import resolve_weights
from SAM2_3dMedLib.worker import engine as engine_module
from SAM2_3dMedLib.worker import messages as m
from SAM2_3dMedLib.worker.array_file import ArrayFolder
from SAM2_3dMedLib.worker.engine import WIDER_FIELD, Engine
from worker_bench import Source

BOX = BoxPrompt(SliceAxis.K, (64.0, 74.0, 0.0), (76.0, 86.0, 0.0))


@pytest.fixture
def growing() -> Source:
    """A disk that is six times as wide on its last slice as on its first, in noise."""
    rows, columns = np.mgrid[:160, :160]
    disks = np.stack([np.hypot(rows - 80, columns - 70) < radius for radius in (7, 9, 12, 16, 21, 28, 40)])
    noise = np.random.default_rng(0).normal(0, 10, disks.shape)
    return Source("v", (disks * 150 + noise).astype(np.int16), np.diag([-1.0, -1.0, 3.0, 1.0]))


def test_the_time_left_is_counted_anew_and_the_user_is_told_why(growing, monkeypatch):
    folder, engine = ArrayFolder(), Engine("cpu")
    upload = VolumeUpload(growing, folder)
    upload.step(10_000)
    weights, _ = resolve_weights(None)
    matrix = tuple(growing.ijk_to_ras.ravel())
    for request in (
        m.LoadModel(1, str(weights), "cpu"),
        m.OpenVolume(2, "v", upload.file, matrix, "growing", "CT", "300/600"),
        m.AddPrompt(3, "v", "it", BOX.to_json()),
    ):
        list(engine.handle(request, CancelToken()))
    seconds = count()
    monkeypatch.setattr(engine_module, "time", SimpleNamespace(monotonic=lambda: float(next(seconds))))
    events = list(engine.handle(m.Propagate(4, "v", "it", 0, 6), CancelToken()))
    folder.close()
    notices = [event for event in events if isinstance(event, m.Notice)]
    assert [notice.sentence for notice in notices] == [WIDER_FIELD]
    begun_again = events.index(notices[0])
    assert begun_again > 0
    for event in events:
        if isinstance(event, m.SliceResult):  # a second a slice, before and after
            assert event.seconds_left == event.total - event.done
    assert [event.done for event in events[begun_again + 1 :]] == list(range(1, events[-1].total + 1))
