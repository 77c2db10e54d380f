"""When memory runs out: smaller batches, the CPU, a sentence; the prompts stay."""

import numpy as np
import pytest
import torch
from SAM2_3dMedLib.propagation.cancel import CancelToken
from SAM2_3dMedLib.propagation.errors import DeviceMemoryError
from SAM2_3dMedLib.propagation.prompts import BoxPrompt
from SAM2_3dMedLib.propagation.session import VolumeSession
from SAM2_3dMedLib.slicer_side.volume_upload import VolumeUpload
from SAM2_3dMedLib.volume.planes import SliceAxis
from SAM2_3dMedLib.worker import messages as m
from SAM2_3dMedLib.worker.array_file import ArrayFolder
from SAM2_3dMedLib.worker.devices import DeviceChoice
from SAM2_3dMedLib.worker.engine import Engine
from SAM2_3dMedLib.worker.errors import EngineError
from worker_bench import phantom

BOX = BoxPrompt(SliceAxis.K, (14.0, 14.0, 4.0), (34.0, 34.0, 4.0))


@pytest.fixture
def engine(weights):
    """An engine with a model, a volume and a prompt; it believes that its device is a GPU, which this machine need
    not have.
    """
    engine, folder, source = Engine("cpu"), ArrayFolder(), phantom()
    upload = VolumeUpload(source, folder)
    upload.step(10_000)
    matrix = tuple(source.ijk_to_ras.ravel())
    requests = [
        m.LoadModel(1, str(weights), "cpu"),
        m.OpenVolume(2, "v", upload.file, matrix, "phantom", "CT", "auto"),
        m.AddPrompt(3, "v", "one", BOX.to_json()),
    ]
    for request in requests:
        list(engine.handle(request, CancelToken()))
    engine.device = DeviceChoice("cuda:0", "pretended")
    yield engine
    folder.close()


def fail_once(monkeypatch, error):
    """The first propagation fails after its first slice, as a full GPU does."""
    original, calls = VolumeSession.propagate, []

    def propagate(self, *args, **kwargs):
        calls.append(1)
        updates = original(self, *args, **kwargs)
        if len(calls) > 1:
            yield from updates
            return
        yield next(updates)
        raise error

    monkeypatch.setattr(VolumeSession, "propagate", propagate)
    monkeypatch.setattr("SAM2_3dMedLib.worker.engine.release_memory", lambda device: None)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        DeviceMemoryError("full"),
        RuntimeError("MPS backend out of memory"),
    ],
)
def test_a_full_gpu_goes_on_with_the_cpu_says_so_and_keeps_the_prompts(engine, monkeypatch, error):
    fail_once(monkeypatch, error)
    events = list(engine.handle(m.Propagate(4, "v", "one", 3, 6), CancelToken()))
    (notice,) = [event for event in events if isinstance(event, m.Notice)]
    assert notice.kind == "cpu_fallback"
    assert "prompts are kept" in notice.sentence
    (loaded,) = [event for event in events if isinstance(event, m.ModelLoaded)]
    assert loaded.device == "cpu"
    after = events[events.index(loaded) + 1 :]
    assert {event.index for event in after} == {3, 4, 5, 6}
    assert engine.device.device == "cpu"


def test_a_full_computer_ends_with_a_sentence_and_the_engine_goes_on(engine, monkeypatch):
    engine.device = DeviceChoice("cpu", "CPU")
    fail_once(monkeypatch, MemoryError())
    with pytest.raises(EngineError, match="close other programs") as caught:
        list(engine.handle(m.Propagate(4, "v", "one", 3, 6), CancelToken()))
    assert caught.value.kind == "memory"
    events = list(engine.handle(m.Propagate(5, "v", "one", 3, 6), CancelToken()))
    assert {event.index for event in events} == {3, 4, 5, 6}


def test_another_error_is_not_taken_for_a_full_memory(engine, monkeypatch):
    fail_once(monkeypatch, RuntimeError("size mismatch"))
    with pytest.raises(RuntimeError, match="size mismatch"):
        list(engine.handle(m.Propagate(4, "v", "one", 3, 6), CancelToken()))


def test_smaller_batches_are_told(engine, monkeypatch):
    original = VolumeSession.propagate

    def propagate(self, *args, **kwargs):
        self.predictor.batch_size = 1
        yield from original(self, *args, **kwargs)

    engine._predictor.batch_size = 4
    monkeypatch.setattr(VolumeSession, "propagate", propagate)
    events = list(engine.handle(m.Propagate(4, "v", "one", 4, 5), CancelToken()))
    assert [event.kind for event in events if isinstance(event, m.Notice)] == ["smaller_batches"]


def test_a_volume_of_nothing_is_refused_with_a_sentence(engine):
    folder = ArrayFolder()
    file, array = folder.create((4, 8, 8), np.dtype("f4"))
    array[:] = np.nan
    request = m.OpenVolume(5, "nan", file, tuple(np.eye(4).ravel()), "empty", None, "auto")
    with pytest.raises(EngineError) as caught:
        list(engine.handle(request, CancelToken()))
    assert caught.value.kind == "volume"
    with pytest.raises(EngineError) as again:
        list(engine.handle(m.AddPrompt(6, "nan", "one", BOX.to_json()), CancelToken()))
    assert str(again.value) == str(caught.value), "a click on it is told the same"
    folder.close()
