"""SIGTERM and SIGHUP as Ctrl-C: whatever is being written is removed before the program ends."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


class Terminated(BaseException):
    """The program was asked to end. Like KeyboardInterrupt it is no Exception, so that no handler of errors keeps it.

    Attributes:
        exit_code: 128 + the signal's number, as shells count.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


@contextmanager
def termination_raises() -> Iterator[None]:
    """Raise `Terminated` where the program is when it is asked to end; elsewhere the system ends it at once.

    Does nothing outside of the main thread, where Python takes no signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # Started with nohup, SIGHUP is ignored, and stays so.
    taken = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    former = {number: signal.signal(number, _raise) for number in taken}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _raise(number: int, frame: FrameType | None) -> None:
    raise Terminated(number)
