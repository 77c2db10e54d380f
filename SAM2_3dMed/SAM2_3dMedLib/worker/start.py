"""From Hello to a ready engine: the application's import path, torch, the device."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ..threads import let_waiting_threads_sleep
from . import messages as m

if TYPE_CHECKING:
    from .engine import Engine


def make_engine(hello: m.Hello) -> tuple[Engine, m.EngineReady]:
    """Imports torch and the library (seconds; ImportError when a package is missing) and chooses the device."""
    known = set(sys.path)
    sys.path.extend(path for path in hello.import_paths if path not in known)
    let_waiting_threads_sleep()
    import torch

    from .engine import Engine

    engine = Engine(hello.device)
    device = engine.device
    return engine, m.EngineReady(hello.request, device.device, device.sentence, torch.__version__, device.free_memory)
