"""The network on a device: where it runs, in which precision, and in which batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..network.features import SliceFeatures
from ..network.model import SAM23dMed
from ..network.slice_encoder import SliceEncoder, reduced_copy
from .errors import DeviceMemoryError, ran_out_of_memory
from .memory_bank import UnmadeFeatures
from .precision import default_dtype
from .step_runner import StepMode, StepRunner

# ImageNet statistics, as SAM2's image transforms use them.
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)
# On the CPU one slice at a time: batches gain nothing on two cores, and a slice's features then do not depend on what
# else was encoded with it, to the last bit.
_BATCH = {"cuda": 8, "mps": 2}
# Chains that are tracked as one batch: the two directions. On the CPU one, for the same reasons.
_TRACKING_BATCH = {"cuda": 2, "mps": 2}
# Rounds that are started before the first of them is looked at: the device must not wait while the host prepares the
# next batch of images, some 15 ms.
_ROUNDS_AHEAD = {"cuda": 4}

Result = TypeVar("Result")


def best_device() -> torch.device:
    """CUDA if a kernel really runs on the card, else Apple's MPS, else the CPU."""
    if torch.cuda.is_available():
        try:
            # A card too new or too old for this torch is 'available' and fails at its first kernel.
            torch.ones(1, device="cuda").add_(1).item()
            return torch.device("cuda")
        except RuntimeError:
            pass
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


@dataclass(frozen=True)
class ArrivingFeatures:
    """Features of one slice that another stream may still be computing; `done` None: they are there."""

    features: SliceFeatures
    done: torch.cuda.Event | None = None

    def wait(self) -> SliceFeatures:
        """Let the current stream, not the host, wait for them."""
        if self.done is not None:
            torch.cuda.current_stream(self.features.embedding.device).wait_event(self.done)
        return self.features


class SlicePredictor:
    """Runs the network on slices. Everything it returns lies on `device`.

    Attributes:
        network: on `device`, in evaluation mode; in reduced precision a copy of the one that was given.
        device: where it runs.
        dtype: what it computes in: float32, or bfloat16 by autocast.
        image_size: side S of the network's input in pixels.
        batch_size: slices encoded at once; shrinks when the device runs out of memory.
        tracking_batch: slices tracked at once.
        rounds_ahead: rounds of tracking that are started before the first is looked at.
        encoder, runner: encode and track slices; made of the network's weights as they were.
    """

    def __init__(
        self,
        network: SAM23dMed,
        device: str | torch.device = "auto",
        dtype: torch.dtype | None = None,
        step_mode: StepMode | None = None,
    ) -> None:
        """
        Args:
            network: from `network.build` or `network.checkpoint`.
            device: "auto", or a torch device.
            dtype: default `precision.default_dtype`.
            step_mode: default `StepMode.default`.
        """
        self.device = best_device() if device == "auto" else torch.device(device)
        self.dtype = dtype or default_dtype(self.device)
        running = network if self.dtype == torch.float32 else reduced_copy(network, self.dtype)
        self.network = running.to(self.device).eval()
        self.image_size = network.image_size
        self.batch_size = _BATCH.get(self.device.type, 1)
        self.tracking_batch = _TRACKING_BATCH.get(self.device.type, 1)
        self.rounds_ahead = _ROUNDS_AHEAD.get(self.device.type, 0)
        self.encoder = SliceEncoder(self.network)
        self.runner = StepRunner(self.network, self.device, step_mode or StepMode.default(self.device))
        self._mean = torch.tensor(_MEAN, device=self.device).view(1, 3, 1, 1)
        self._std = torch.tensor(_STD, device=self.device).view(1, 3, 1, 1)
        self._encoding_stream: torch.cuda.Stream | None = None
        if self.device.type == "cuda":
            self._encoding_stream = torch.cuda.Stream(self.device)
            self._encoding_stream.wait_stream(torch.cuda.current_stream(self.device))
        self._releases: list[Callable[[], None]] = []

    def on_low_memory(self, release: Callable[[], None]) -> Callable[[], None]:
        """Have `release` called when the device runs out of memory. Returns a function that takes it off again."""
        self._releases.append(release)

        def forget() -> None:
            if release in self._releases:
                self._releases.remove(release)

        return forget

    @contextmanager
    def running(self) -> Iterator[None]:
        """Inference mode, autocast, the card. Never hold it over a generator's yield: all are states of the thread."""
        reduced = self.dtype != torch.float32
        with (
            torch.cuda.device(self.device) if self.device.type == "cuda" else nullcontext(),
            torch.inference_mode(),
            # No cache of converted weights: `reduced_copy` has converted them, and a CUDA graph must not refer to one.
            torch.autocast(
                self.device.type, dtype=self.dtype if reduced else None, enabled=reduced, cache_enabled=False
            ),
        ):
            yield

    def warm_up(self) -> Iterator[None]:
        """On CUDA, do ahead of the first click what is slow once: load kernels, choose algorithms, capture graphs.

        A step of the iterator takes some 25 ms, the first ones up to some seconds; whoever takes them can stop between
        them. Changes no result. Elsewhere there is nothing to do.

        Raises:
            DeviceMemoryError: the memory does not suffice; all that was prepared has been given back.
        """
        if self.device.type != "cuda":
            return
        empty = np.zeros((self.image_size,) * 2, np.float32)
        for count in range(1, self.batch_size + 1):  # cuDNN plans each batch size anew
            features = self.encode_slices([empty] * count)[0]
            yield
        features = self.run(lambda: self._seen(features))
        steps = self.runner.warm_up(features, self.tracking_batch)
        while True:
            # Not through `run`: a generator that has failed cannot be tried once more.
            try:
                with self.running():
                    if next(steps, self) is self:
                        return
            except RuntimeError as error:
                if not ran_out_of_memory(error):
                    raise
                self._release_memory()
                raise self._memory_error() from None
            yield

    def _seen(self, features: SliceFeatures) -> SliceFeatures:
        """Features of a slice without neighbors, as tracking sees them; its decoder has run once with a click."""
        network, radius = self.network, self.network.adapter_radius
        alone = torch.arange(-radius, radius + 1, device=self.device) == 0
        window = features.embedding[:, None].expand(-1, len(alone), -1, -1, -1)
        embedding = network.contextualize_middle(window, alone[None])
        features = replace(features, embedding=embedding, boundary=network.detect_boundary(embedding, features))
        middle = torch.full((1, 1, 2), self.image_size / 2, device=self.device)
        label = torch.ones(1, 1, dtype=torch.int32, device=self.device)
        decoding = network.decode(network.condition(embedding, [], []), features, middle, label)
        network.encode_memory(embedding, decoding.logits, decoding.object_score, prompted=True)
        return features

    def run(self, step: Callable[[], Result]) -> Result:
        """Run one step on the device; when memory runs out, give back what can be and try once more.

        Raises:
            DeviceMemoryError: it ran out again.
        """
        try:
            with self.running():
                return step()
        except RuntimeError as error:
            if not ran_out_of_memory(error):
                raise
        # Outside the handler: the error's traceback would keep the step's tensors alive.
        self._release_memory()
        try:
            with self.running():
                return step()
        except RuntimeError as error:
            if not ran_out_of_memory(error):
                raise
            raise self._memory_error() from error

    def unmade(self, embedding: Tensor, remember: Callable[[Tensor], Tensor]) -> UnmadeFeatures:
        """A memory's features that `remember` makes of a slice's embedding at any time, also within another step."""

        def make() -> Tensor:
            with self.running():
                return remember(embedding)

        return UnmadeFeatures(make, embedding.nbytes)

    def encode_slices(self, images: Sequence[np.ndarray]) -> list[SliceFeatures]:
        """Encoder features of each slice, one entry a slice with batch size 1.

        Args:
            images: float arrays [rows, columns] in 0..1, canonical orientation, all of one shape.

        Raises:
            DeviceMemoryError: even one slice does not fit.
        """
        # On the stream of those ahead: each stream has memory of its own, and the encoder's maps take a gigabyte.
        return [entry.wait() for entry in self.encode_ahead(images)]

    def encode_ahead(self, images: Sequence[np.ndarray]) -> list[ArrivingFeatures]:
        """As `encode_slices`, on CUDA beside what is being tracked, whose many small kernels leave a card half idle."""
        if self._encoding_stream is None:
            return [ArrivingFeatures(features) for features in self._encode_batches(images)]
        using = torch.cuda.current_stream(self.device)
        with torch.cuda.stream(self._encoding_stream):
            encoded = self._encode_batches(images)
            done = self._encoding_stream.record_event()
        for features in encoded:
            for maps in features.maps():
                maps.record_stream(using)  # its memory is not given away while the other stream reads it
        return [ArrivingFeatures(features, done) for features in encoded]

    def _encode_batches(self, images: Sequence[np.ndarray]) -> list[SliceFeatures]:
        features: list[SliceFeatures] = []
        while len(features) < len(images):
            batch = images[len(features) : len(features) + self.batch_size]
            try:
                features += self.run(lambda batch=batch: self._encode(batch))
            except DeviceMemoryError:
                if len(batch) == 1:
                    raise
                self.batch_size = max(1, len(batch) // 2)
        return features

    def prepare(self, images: Sequence[np.ndarray]) -> Tensor:
        """Network input [N, 3, S, S] from slices in 0..1: stretched to the square, three channels, normalized."""
        stacked = torch.from_numpy(np.stack([np.ascontiguousarray(image, np.float32) for image in images]))
        on_cuda = self.device.type == "cuda"
        if on_cuda:
            stacked = stacked.pin_memory()  # from ordinary memory the copy would wait until the card is idle
        pixels = stacked.to(self.device, non_blocking=on_cuda)[:, None]
        if pixels.shape[-2:] != (self.image_size, self.image_size):
            pixels = functional.interpolate(
                pixels, size=(self.image_size,) * 2, mode="bilinear", align_corners=False, antialias=True
            )
        return (pixels.expand(-1, 3, -1, -1) - self._mean) / self._std

    def resize_mask(self, mask: np.ndarray) -> Tensor:
        """A canonical bool mask at network resolution, float [1, 1, S, S] of 0 and 1 (as `add_new_mask` of SAM2)."""
        pixels = torch.from_numpy(np.ascontiguousarray(mask, np.float32)).to(self.device)[None, None]
        if pixels.shape[-2:] != (self.image_size, self.image_size):
            pixels = functional.interpolate(
                pixels, size=(self.image_size,) * 2, mode="bilinear", align_corners=False, antialias=True
            )
        return (pixels >= 0.5).float()

    def masks_at_slice_size(self, logits: Tensor, shape: tuple[int, int]) -> Tensor:
        """Bool masks [B, rows, columns] on the device, straight from logits [B, 1, h, w] as SAM2's predictor does."""
        full = functional.interpolate(logits.float(), size=shape, mode="bilinear", align_corners=False)
        return full[:, 0] > 0

    def _encode(self, images: Sequence[np.ndarray]) -> list[SliceFeatures]:
        encoded = self.encoder.encode(self.prepare(images))
        if len(images) == 1:
            return [encoded]
        # Cloned, so that dropping one slice from a cache frees its memory.
        return [encoded.select(number)._map(torch.clone) for number in range(len(images))]

    def _memory_error(self) -> DeviceMemoryError:
        return DeviceMemoryError(
            f"The device {self.device} ran out of memory; close other programs, or choose the CPU."
        )

    def _release_memory(self) -> None:
        # Graphs and features are soon wanted again: a smaller batch of the encoder's leaves room for them.
        self.batch_size = max(1, self.batch_size // 2)
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)  # what is moved to the host may be of another stream
        for release in tuple(self._releases):
            release()
        self.runner.release()
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)  # what is on its way to the host may be fetched back by another stream
            torch.cuda.empty_cache()
        elif self.device.type == "mps":
            torch.mps.empty_cache()
