"""A stand-in for the inference process, for tests of the controller that are about the controller.

It answers each request as the real one does (same messages, from the event loop), with masks that are known in advance:
a disk of `radius` voxels around each positive point without those around negative ones, a box as it is, a mask prompt
as it is. The real process is used in test_controller_with_worker.py.
"""

from __future__ import annotations

import numpy as np
from SAM2_3dMedLib.slicer_side.client_events import ClientState, ClientStateChanged, Subscribers
from SAM2_3dMedLib.slicer_side.stroke_mask import in_plane_axes, slice_shape
from SAM2_3dMedLib.worker import messages as m


class StandInWorker:
    """Same methods as `WorkerClient`; `requests` lists the names of what was asked."""

    def __init__(self, scheduler, radius: float = 4.0) -> None:
        self.scheduler = scheduler
        self.radius = radius
        self.state = ClientState.STOPPED
        self.device_sentence = "CPU (stand-in)"
        self.requests: list[str] = []
        self.sources: dict = {}
        self.told: list[tuple[int, int, np.ndarray]] = []  # what it was told of slices that others have segmented
        self.held = False  # True: a propagation stops after two slices until it is canceled
        self.answer_ms = 1  # how long an answer takes
        self._subscribers = Subscribers()
        self._objects: dict[tuple[str, str], tuple] = {}
        self._number = 0
        self._running: int | None = None

    def subscribe(self, event_class, callback):
        return self._subscribers.add(event_class, callback)

    def start(self) -> None:
        if self.state is ClientState.STOPPED:
            self._state(ClientState.IDLE)

    def stop(self, timeout_s: float = 2.0) -> None:
        self._state(ClientState.STOPPED)
        self._objects.clear()

    def load_model(self, weights, device="auto") -> int:
        return self._ask("load_model", lambda n: [m.ModelLoaded(n, "stand-in", 256, "cpu", self.device_sentence)])

    def open_volume(self, source) -> str:
        if source.volume_id not in self.sources:
            self.requests.append("open_volume")
            self.sources[source.volume_id] = source
        return source.volume_id

    def close_volume(self, volume_id) -> None:
        self.requests.append("close_volume")
        self.sources.pop(volume_id, None)

    def close_volumes_of(self, node_id) -> None:
        for source in tuple(self.sources.values()):
            if source.node_id == node_id:
                self.close_volume(source.volume_id)

    def prompts(self, volume_id, object_id) -> tuple:
        return self._objects.get((volume_id, object_id), ())

    def tell_slice(self, volume_id, object_id, axis, index, mask) -> int:
        self.told.append((int(axis), int(index), np.array(mask)))
        self._number += 1
        return self._number

    def add_prompt(self, volume_id, object_id, prompt) -> int:
        self._stop_running()
        known = self._objects.get((volume_id, object_id), ())
        self._objects[(volume_id, object_id)] = (*known, prompt)
        return self._ask("add_prompt", lambda n: [self._preview(n, volume_id, object_id, prompt)])

    def set_prompts(self, volume_id, object_id, prompts) -> int:
        self._stop_running()
        before = self._objects.get((volume_id, object_id), ())
        self._objects[(volume_id, object_id)] = tuple(prompts)
        changed = [p for p in prompts if p not in before]
        return self._ask("set_prompts", lambda n: [self._preview(n, volume_id, object_id, p) for p in changed])

    def remove_object(self, volume_id, object_id) -> int:
        self._objects.pop((volume_id, object_id), None)
        return self._ask("remove_object", lambda n: [])

    def read_confidence(self, volume_id, object_id) -> int:
        prompts = self._objects.get((volume_id, object_id), ())
        source = self.sources[volume_id]
        axis = int(prompts[0].axis)
        slices = tuple(
            m.SliceConfidenceData(i, max(0.1, 1.0 - 0.1 * abs(i - prompts[0].slice_index)), 0.9, 0.8, 0.7)
            for i in range(source.array.shape[2 - axis])
        )
        return self._ask("read_confidence", lambda n: [m.ConfidenceReport(n, volume_id, object_id, axis, slices)])

    def refine_boundary(self, volume_id, object_id, axis, masks) -> int:
        def answers(n):
            grown = {}
            for index, mask in masks.items():
                mask = mask.to_mask() if isinstance(mask, m.MaskCrop) else mask
                grown[index] = np.roll(mask, 2, axis=0)  # as large as before, two rows further
            total = len(grown)
            return [
                m.SliceResult(n, volume_id, object_id, axis, i, m.MaskCrop.of(mask), 0.9, 1.0, d + 1, total, 0.0)
                for d, (i, mask) in enumerate(grown.items())
            ]

        return self._ask("refine_boundary", answers, kind="RefineBoundary")

    def propagate(self, volume_id, object_id, slice_range=None) -> int:
        self.requests.append("propagate")
        self._number += 1
        number, self._running = self._number, self._number
        prompt = self._objects[(volume_id, object_id)][0]
        axis, count = int(prompt.axis), self.sources[volume_id].array.shape[2 - int(prompt.axis)]
        first, last = slice_range or (0, count - 1)
        order = sorted(range(first, last + 1), key=lambda i: abs(i - prompt.slice_index))
        mask = self._mask(volume_id, prompt)

        def step(done: int) -> None:
            if self._running != number:
                return
            if done == len(order):
                self._running = None
                self._send(m.Finished(number, "Propagate", volume_id, object_id, False))
                return
            left = 0.1 * (len(order) - done)
            crop = m.MaskCrop.of(mask)
            result = (axis, order[done], crop, 0.9, 1.0, done + 1, len(order), left)
            self._send(m.SliceResult(number, volume_id, object_id, *result))
            if not (self.held and done >= 1):
                self.scheduler.call_later(1, lambda: step(done + 1))

        self._finish_running = lambda: self._send(m.Finished(number, "Propagate", volume_id, object_id, True))
        self.scheduler.call_later(1, lambda: step(0))
        return number

    def cancel(self) -> None:
        self.requests.append("cancel")
        self._stop_running()

    def fail_prompt(self, sentence: str) -> None:
        """The next prompt is refused with this sentence."""
        self._refuse = sentence

    def _stop_running(self) -> None:
        if self._running is not None:
            self._running = None
            self.scheduler.call_later(0, self._finish_running)

    def _ask(self, name: str, answers, kind: str = "") -> int:
        self.requests.append(name)
        self._number += 1
        number = self._number
        names = {"add_prompt": "AddPrompt", "set_prompts": "SetPrompts", "load_model": "LoadModel"}

        def answer() -> None:
            refused = getattr(self, "_refuse", None)
            if refused and name == "add_prompt":
                self._refuse = None
                self._send(m.Failed(number, "prompt", refused, False, "", ""))
                return
            for event in answers(number):
                self._send(event)
            self._send(m.Finished(number, kind or names.get(name, name), "", "", False))

        self.scheduler.call_later(self.answer_ms, answer)
        return number

    def _preview(self, number, volume_id, object_id, prompt):
        mask = np.zeros(slice_shape(self.sources[volume_id].array.shape, prompt.axis), dtype=bool)
        for given in self._objects.get((volume_id, object_id), ()):
            if (given.axis, given.slice_index) == (prompt.axis, prompt.slice_index):
                part = self._mask(volume_id, given)
                if hasattr(given, "mask"):
                    mask = part
                else:
                    mask = mask | part if getattr(given, "positive", True) else mask & ~part
        crop = m.MaskCrop.of(mask)
        return m.Preview(number, volume_id, object_id, int(prompt.axis), prompt.slice_index, crop, 0.9, 1.0)

    def _mask(self, volume_id, prompt) -> np.ndarray:
        shape = slice_shape(self.sources[volume_id].array.shape, prompt.axis)
        row, column = in_plane_axes(prompt.axis)
        rows, columns = np.mgrid[: shape[0], : shape[1]]
        if hasattr(prompt, "mask"):
            return np.array(prompt.mask)
        if hasattr(prompt, "corner_a"):
            a, b = np.array(prompt.corner_a), np.array(prompt.corner_b)
            low, high = np.minimum(a, b), np.maximum(a, b)
            return (rows >= low[row]) & (rows <= high[row]) & (columns >= low[column]) & (columns <= high[column])
        center = prompt.position
        return (rows - center[row]) ** 2 + (columns - center[column]) ** 2 <= self.radius**2

    def _state(self, state) -> None:
        self.state = state
        self._send(ClientStateChanged(state, ""))

    def _send(self, event) -> None:
        self._subscribers.send(event)
