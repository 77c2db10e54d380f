"""A real inference process with a real (untrained, small) network, reached as Slicer reaches it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

WORKER = Path(__file__).resolve().parents[2] / "SAM2_3dMed" / "SAM2_3dMedLib" / "worker" / "__main__.py"
COMMAND = [sys.executable, str(WORKER)]


@dataclass(frozen=True, eq=False)
class Source:
    """What the client takes from a VolumeSource, without MRML."""

    volume_id: str
    array: np.ndarray
    ijk_to_ras: np.ndarray
    name: str = "phantom"
    modality: str | None = "CT"
    node_id: str = "node"


def phantom(volume_id="volume", slices=8, side=48):
    """A bright ball in noise, [K, J, I] int16."""
    k, j, i = np.indices((slices, side, side))
    ball = ((k - slices / 2) * 3) ** 2 + (j - side / 2) ** 2 + (i - side / 2) ** 2 < (side / 4) ** 2
    noise = np.random.default_rng(0).normal(0, 20, ball.shape)
    return Source(volume_id, (ball * 200 + noise).astype(np.int16), np.diag([-0.8, -0.8, 2.5, 1.0]))


class Slicer:
    """The client with its loop, and all events it delivered."""

    def __init__(self, command=COMMAND, transport_factory=None, scheduler=None):
        from SAM2_3dMedLib.slicer_side.client_events import ClientStateChanged, UploadProgress, WorkerLost
        from SAM2_3dMedLib.slicer_side.scheduling import ManualScheduler
        from SAM2_3dMedLib.slicer_side.transports import PopenTransport
        from SAM2_3dMedLib.slicer_side.worker_client import WorkerClient
        from SAM2_3dMedLib.worker import messages

        self.scheduler = scheduler or ManualScheduler()
        self.transports = []

        def make():
            self.transports.append((transport_factory or PopenTransport)())
            return self.transports[-1]

        self.client = WorkerClient(self.scheduler, make, command)
        self.events = []
        kinds = [value for value in vars(messages).values() if isinstance(value, type)]
        for kind in (*kinds, ClientStateChanged, UploadProgress, WorkerLost):
            self.client.subscribe(kind, self.events.append)

    def of(self, kind, request=None):
        return [e for e in self.events if isinstance(e, kind) and request in (None, getattr(e, "request", None))]

    def until(self, condition, timeout_s=60.0):
        done = self.scheduler.run(condition, timeout_s)
        assert done, f"nothing came; log: {self.client.log_tail()}; last events: {self.events[-5:]}"

    def answer(self, request):
        """Waits for the answer to a request and returns it."""
        from SAM2_3dMedLib.worker.messages import Failed, Finished

        self.until(lambda: self.of((Finished, Failed), request))
        return self.of((Finished, Failed), request)[-1]
