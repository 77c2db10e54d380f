"""What goes to the inference process, in order, and what of it is unanswered."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..worker import messages as m
from ..worker.array_file import ArrayFolder
from .volume_upload import VolumeUpload

UPLOAD_STEP_MS = 8.0
# Requests that Cancel ends between two slices.
LONG = (m.Propagate, m.RefineBoundary)


class Outbox:
    """Requests, and volumes that are handed over in steps of some ms; what stands behind a volume waits for it."""

    def __init__(self, folder: ArrayFolder, next_number: Callable[[], int]) -> None:
        self._folder = folder
        self._next_number = next_number
        self._items: deque[m.Message | VolumeUpload] = deque()
        self._unanswered: dict[int, m.Message] = {}

    @property
    def busy(self) -> bool:
        """True while any request is unanswered or waits to be sent."""
        return bool(self._unanswered or self._items)

    @property
    def long_work(self) -> bool:
        """True while a request that Cancel ends is unanswered."""
        return any(isinstance(request, LONG) for request in self._unanswered.values())

    def request(self, number: int) -> m.Message | None:
        """The unanswered request of this number."""
        return self._unanswered.get(number)

    def add(self, request: m.Message) -> None:
        self._unanswered[request.request] = request
        self._items.append(request)

    def answered(self, number: int) -> m.Message | None:
        """The request of this number has its answer; the request, None when it is not known."""
        return self._unanswered.pop(number, None)

    def sendable(self) -> Iterator[m.Message]:
        """Takes out what can be sent now: up to a volume that is not handed over yet."""
        while self._items and not isinstance(self._items[0], VolumeUpload):
            yield self._items.popleft()

    # Volumes

    def add_volume(self, source: Any) -> None:
        """OSError when there is no room for its file."""
        self._items.append(VolumeUpload(source, self._folder))

    @property
    def upload(self) -> VolumeUpload | None:
        """The volume that is handed over now."""
        return self._items[0] if self._items and isinstance(self._items[0], VolumeUpload) else None

    def upload_step(self) -> m.OpenVolume | None:
        """Hands over some more of it; the request to open it when it is complete."""
        upload = self.upload
        if upload is None or not upload.step(UPLOAD_STEP_MS):
            return None
        self._items.popleft()
        source = upload.source
        matrix = tuple(float(value) for value in np.asarray(source.ijk_to_ras, dtype=float).ravel())
        place = (self._next_number(), source.volume_id)
        request = m.OpenVolume(*place, upload.file, matrix, source.name, source.modality, "auto")
        self._unanswered[request.request] = request
        return request

    def drop_volume(self, volume_id: str) -> None:
        """A volume that is not handed over yet is not wanted any more."""
        for item in [item for item in self._items if isinstance(item, VolumeUpload)]:
            if item.source.volume_id == volume_id:
                self._items.remove(item)
                self._folder.remove(item.file)

    # Ends

    def drop_long(self) -> list[m.Message]:
        """Takes out the long requests that are not sent yet."""
        dropped = [item for item in self._items if isinstance(item, LONG)]
        for item in dropped:
            self._items.remove(item)
            del self._unanswered[item.request]
        return dropped

    def take_unsent(self) -> list[m.Message]:
        """Takes out all requests that are not sent yet, and drops the volumes: a new process gets them anew."""
        unsent = [item for item in self._items if not isinstance(item, VolumeUpload)]
        for upload in (item for item in self._items if isinstance(item, VolumeUpload)):
            self._folder.remove(upload.file)
        self._items.clear()
        return unsent

    def put_back(self, requests: list[m.Message]) -> None:
        """To the end, what `take_unsent` took out."""
        self._items.extend(requests)

    def clear(self) -> list[m.Message]:
        """The process is gone: forgets everything, and removes the files that it has not opened. The requests that have
        no answer.
        """
        self.take_unsent()
        lost = list(self._unanswered.values())
        for request in lost:
            if isinstance(request, m.OpenVolume):
                self._folder.remove(request.array)
        self._unanswered.clear()
        return lost
