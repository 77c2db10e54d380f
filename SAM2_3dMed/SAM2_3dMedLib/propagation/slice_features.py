"""The volume as the network sees it: slices prepared, encoded at most once, and put in context of their neighbors."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..network.features import BoundaryMaps, SliceFeatures
from ..volume import intensity
from ..volume.field_of_view import FieldOfView
from ..volume.planes import SliceAxis, SlicePlane
from .features_cache import CacheBudget, TieredCache
from .predictor import ArrivingFeatures, SlicePredictor

if TYPE_CHECKING:
    from ..volume.images import Volume


@dataclass(frozen=True)
class _Key:
    axis: SliceAxis
    field: FieldOfView | None
    position: int
    adapted: bool


@dataclass
class _Tally:
    encoded: int = 0


@dataclass(frozen=True)
class _AdaptedMaps:
    """What the adapter and the boundary branch made of a slice; the high-resolution maps stay with the raw features."""

    embedding: Tensor
    boundary: BoundaryMaps | None

    @property
    def nbytes(self) -> int:
        extra = 0 if self.boundary is None else self.boundary.features.nbytes + self.boundary.logits.nbytes
        return self.embedding.nbytes + extra

    def to(self, device: torch.device | str, non_blocking: bool = False) -> _AdaptedMaps:
        def moved(maps: Tensor) -> Tensor:
            return maps.to(device, non_blocking=non_blocking)

        boundary = self.boundary
        if boundary is not None:
            boundary = BoundaryMaps(moved(boundary.features), moved(boundary.logits))
        return _AdaptedMaps(moved(self.embedding), boundary)


class SliceFeatureStore:
    """Features of any slice of one volume along any axis. Shared by all objects of a session.

    Positions are in anatomical order along the axis.
    """

    def __init__(
        self,
        predictor: SlicePredictor,
        volume: Volume,
        window: intensity.Window,
        budget: CacheBudget | None = None,
    ) -> None:
        self._predictor = predictor
        self._volume = volume
        self._window = window
        self._planes = {axis: SlicePlane.of(volume.geometry, axis) for axis in SliceAxis}
        self._cache: TieredCache[SliceFeatures | _AdaptedMaps] = TieredCache(
            predictor.device, budget or CacheBudget.default(predictor.device)
        )
        self._arriving: dict[_Key, ArrivingFeatures] = {}
        # Slices that were asked for ahead and may be adapted together; what the adapter is told of a volume's ends.
        self._ahead: dict[SliceAxis, list[int]] = {}
        self._inside: dict[tuple[bool, ...], Tensor] = {}
        self._forget = predictor.on_low_memory(self._release)
        self._tally = _Tally()

    def narrowed(self, axis: SliceAxis, field: FieldOfView | None) -> SliceFeatureStore:
        """The same volume, along `axis` seen through a field of view; None: whole slices. Cache, budget and all that
        is under way are shared with this store, so that it alone is to be closed.
        """
        other = copy(self)
        other._planes = {**self._planes, axis: self._planes[axis].within(field)}
        return other

    @property
    def encoded_count(self) -> int:
        """How many slices the image encoder has run on, repeats included."""
        return self._tally.encoded

    @property
    def cached_bytes(self) -> int:
        """Bytes kept now, on the device and in host memory."""
        arriving = sum(entry.features.nbytes for entry in self._arriving.values())
        return self._cache.device_bytes + self._cache.host_bytes + arriving

    def plane(self, axis: SliceAxis) -> SlicePlane:
        return self._planes[axis]

    def image(self, axis: SliceAxis, position: int) -> np.ndarray:
        """The slice in 0..1, float32, canonical orientation."""
        plane = self._planes[axis]
        return intensity.apply(plane.extract(self._volume.array, plane.order(position)), self._window)

    def missing(self, axis: SliceAxis, positions: Sequence[int]) -> list[int]:
        """Slices that these positions need and that are neither kept nor on their way, in this order."""
        radius = self._predictor.network.adapter_radius
        wanted: list[int] = []
        for position in positions:
            if self._key(axis, position, adapted=True) in self._cache:
                continue
            wanted += [near for near in self._window_of(axis, position, radius) if near not in wanted]
        keys = {position: self._key(axis, position) for position in wanted}
        return [at for at, key in keys.items() if key not in self._cache and key not in self._arriving]

    def prefetch(self, axis: SliceAxis, positions: Sequence[int]) -> None:
        """Encode the slices that these positions need and that are not cached, in batches; see `settle`."""
        self._ahead[axis] = list(positions)
        wanted = self.missing(axis, positions)
        size = self._predictor.batch_size
        for first in range(0, len(wanted), size):
            batch = wanted[first : first + size]
            encoded = self._predictor.encode_ahead([self.image(axis, position) for position in batch])
            self._tally.encoded += len(batch)
            self._arriving.update(zip((self._key(axis, at) for at in batch), encoded, strict=True))

    def settle(self) -> None:
        """Put what was encoded ahead and not used under the cache's budget."""
        self._ahead.clear()
        while self._arriving:
            key, arriving = self._arriving.popitem()
            self._cache.put(key, arriving.wait())

    def features(self, axis: SliceAxis, position: int) -> SliceFeatures:
        """Features of one slice, batch size 1: embedding after the adapter, boundary maps if the network has them."""
        raw = self._raw(axis, [position])[position]
        network = self._predictor.network
        if network.adapter_radius == 0 and network.boundary is None:
            return raw
        adapted = self._cache.get(self._key(axis, position, adapted=True))
        if adapted is None:
            adapted = self._adapted(axis, [position, *self._adaptable(axis, position)])[0]
        return replace(raw, embedding=adapted.embedding, boundary=adapted.boundary)

    def clear(self) -> None:
        """Give back the memory; features are computed again when needed."""
        self._arriving.clear()
        self._cache.clear()

    def close(self) -> None:
        """Give back the memory for good."""
        self.clear()
        self._forget()

    def _key(self, axis: SliceAxis, position: int, *, adapted: bool = False) -> _Key:
        return _Key(axis, self._planes[axis].field, position, adapted)

    def _window_of(self, axis: SliceAxis, position: int, radius: int) -> list[int]:
        """Positions t-r..t+r, those beyond the volume's ends clamped."""
        last = self._planes[axis].slice_count - 1
        return [min(max(position + offset, 0), last) for offset in range(-radius, radius + 1)]

    def _raw(self, axis: SliceAxis, positions: Sequence[int]) -> dict[int, SliceFeatures]:
        found = {position: self._kept(self._key(axis, position)) for position in positions}
        missing = [position for position, value in found.items() if value is None]
        found.update(self._encode(axis, missing))
        return found

    def _kept(self, key: _Key) -> SliceFeatures | None:
        arriving = self._arriving.pop(key, None)
        if arriving is None:
            return self._cache.get(key)
        features = arriving.wait()
        self._cache.put(key, features)
        return features

    def _release(self) -> None:
        """Take everything off the device."""
        self._arriving.clear()
        self._cache.release_device()

    def _encode(self, axis: SliceAxis, positions: Sequence[int]) -> dict[int, SliceFeatures]:
        if not positions:
            return {}
        encoded = self._predictor.encode_slices([self.image(axis, position) for position in positions])
        self._tally.encoded += len(positions)
        for position, features in zip(positions, encoded, strict=True):
            self._cache.put(self._key(axis, position), features)
        return dict(zip(positions, encoded, strict=True))

    def _adaptable(self, axis: SliceAxis, position: int) -> list[int]:
        """Other slices that were asked for ahead, are not adapted and have all they need, as many as fit a batch."""
        ready = [
            at
            for at in self._ahead.get(axis, [])
            if at != position and self._key(axis, at, adapted=True) not in self._cache and not self.missing(axis, [at])
        ]
        return ready[: self._predictor.batch_size - 1]

    def _adapted(self, axis: SliceAxis, positions: Sequence[int]) -> list[_AdaptedMaps]:
        """Adapter and boundary branch on slices at once; kept in the cache."""
        radius = self._predictor.network.adapter_radius
        windows = {position: self._window_of(axis, position, radius) for position in positions}
        raw = self._raw(axis, sorted({near for window in windows.values() for near in window}))
        adapted = self._predictor.run(lambda: self._adapt(windows, raw))
        for position, maps in zip(positions, adapted, strict=True):
            self._cache.put(self._key(axis, position, adapted=True), maps)
        return adapted

    def _adapt(self, windows: dict[int, list[int]], raw: dict[int, SliceFeatures]) -> list[_AdaptedMaps]:
        network = self._predictor.network
        middle = network.adapter_radius
        embeddings = torch.stack([torch.cat([raw[near].embedding for near in window]) for window in windows.values()])
        # A clamped entry repeats its neighbor and is masked out.
        valid = torch.stack(
            [
                self._inside_mask(tuple(near == at + offset - middle for offset, near in enumerate(window)))
                for at, window in windows.items()
            ]
        )
        embedding = network.contextualize_middle(embeddings, valid)
        boundary = network.detect_boundary(embedding, SliceFeatures.stack([raw[at] for at in windows]))
        # Cloned: a part of a larger tensor would keep all of it in memory.
        return [
            _AdaptedMaps(
                embedding[row : row + 1].clone(),
                boundary
                and BoundaryMaps(boundary.features[row : row + 1].clone(), boundary.logits[row : row + 1].clone()),
            )
            for row in range(len(windows))
        ]

    def _inside_mask(self, inside: tuple[bool, ...]) -> Tensor:
        """As a tensor on the device, copied there once: the host would wait for each copy."""
        if inside not in self._inside:
            self._inside[inside] = torch.tensor(inside, device=self._predictor.device)
        return self._inside[inside]
