"""The same client over Qt's QProcess and QTimer.

Inside Slicer they come from PythonQt, which exists in the application only; here the same Qt classes come from
PySide6, which stands in for Slicer's module `qt` (both connect a signal by `object.signal.connect`, and both give
bytes from QByteArray.data()).
"""

import os
import signal
import sys

import pytest
from SAM2_3dMedLib.propagation.prompts import BoxPrompt
from SAM2_3dMedLib.slicer_side.client_events import ClientState, WorkerLost
from SAM2_3dMedLib.slicer_side.scheduling import QtScheduler
from SAM2_3dMedLib.slicer_side.transports import QProcessTransport
from SAM2_3dMedLib.volume.planes import SliceAxis
from SAM2_3dMedLib.worker import messages as m
from worker_bench import Slicer, phantom

QtCore = pytest.importorskip("PySide6.QtCore", reason="needs PySide6")
BOX = BoxPrompt(SliceAxis.K, (14.0, 14.0, 4.0), (34.0, 34.0, 4.0))


class QtLoop(QtScheduler):
    """Qt's event loop, run until a condition holds."""

    def run(self, until, timeout_s):
        loop, elapsed = QtCore.QEventLoop(), QtCore.QElapsedTimer()
        elapsed.start()
        while not until() and elapsed.elapsed() < timeout_s * 1000:
            loop.processEvents(QtCore.QEventLoop.ProcessEventsFlag.AllEvents, 20)
        return until()


@pytest.fixture
def qt_side(weights):
    application = QtCore.QCoreApplication.instance() or QtCore.QCoreApplication([])
    side = Slicer(transport_factory=lambda: QProcessTransport(QtCore), scheduler=QtLoop(QtCore))
    side.answer(side.client.load_model(weights, "cpu"))
    yield side
    side.client.stop()
    application.processEvents()


def test_prompts_propagation_crash_and_stop_over_qprocess(qt_side):
    client = qt_side.client
    volume_id = client.open_volume(phantom())
    request = client.add_prompt(volume_id, "one", BOX)
    assert isinstance(qt_side.answer(request), m.Finished)
    assert qt_side.of(m.Preview, request)
    request = client.propagate(volume_id, "one", (3, 5))
    assert isinstance(qt_side.answer(request), m.Finished)
    if sys.platform != "win32":
        os.kill(qt_side.of(m.WorkerStarted)[-1].pid, signal.SIGKILL)
        qt_side.until(lambda: qt_side.of(WorkerLost))
        request = client.propagate(volume_id, "one", (3, 5))
        assert isinstance(qt_side.answer(request), m.Finished)
    client.stop()
    assert client.state is ClientState.STOPPED


def test_processes_that_ended_are_deleted_and_not_collected():
    application = QtCore.QCoreApplication.instance() or QtCore.QCoreApplication([])
    gone, ended = [], []

    def run_one() -> None:
        before = len(gone)
        transport = QProcessTransport(QtCore)
        transport._process.destroyed.connect(lambda *_: gone.append(True))
        transport.on_ended = ended.append
        transport.start([sys.executable, "-c", "print('hello')"])
        assert QtLoop(QtCore).run(lambda: len(gone) > before, 20)
        transport.poll()  # the client's clock may look once more
        transport.write(b"late")
        assert transport.wait(0.1)

    for _ in range(3):
        run_one()
    assert ended == ["exit code 0"] * 3
    assert len(gone) == 3
    application.processEvents()


def test_a_program_that_is_not_there_fails_with_a_sentence_over_qprocess(weights):
    application = QtCore.QCoreApplication.instance() or QtCore.QCoreApplication([])
    side = Slicer(["/nonexistent/PythonSlicer"], lambda: QProcessTransport(QtCore), QtLoop(QtCore))
    side.client.load_model(weights)
    side.until(lambda: side.client.state is ClientState.FAILED)
    assert "could not be started" in side.of(WorkerLost)[-1].sentence
    side.client.stop()
    application.processEvents()
