"""Slicer's side of the inference process: start it, send requests in order, deliver its events, survive its end.

Nothing here blocks the main thread: volumes are handed over in steps of a few milliseconds, answers come from the
event loop, a cancel that is not answered ends with the process (which loses nothing: model, volumes and prompts are
sent again to the next one).
"""

from __future__ import annotations

import dataclasses
import logging
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from ..worker import messages as m
from ..worker.array_file import ArrayFolder
from .client_events import ClientState, ClientStateChanged, Subscribers, UploadProgress, WorkerLost
from .client_memory import ClientMemory
from .client_outbox import Outbox
from .client_requests import RequestsMixin
from .engine_sentences import in_slicer
from .interpreter import InterpreterNotFound, worker_command
from .scheduling import QtScheduler, Scheduler
from .translation import _
from .transports import QProcessTransport, Transport
from .worker_process import WorkerProcess

_TICK_MS = 20
_SLOW_TICK_MS = 200
_CANCEL_TIMEOUT_S = 5.0
_LOG_LINES = 200
# More ends than this within a minute mean that a new start does not help.
_CRASHES_PER_MINUTE = 3


class WorkerClient(RequestsMixin):
    """See docs/decisions/0003-slicer-side.md. All methods return at once, `stop` excepted, which takes at most
    `timeout_s`.
    """

    def __init__(
        self,
        scheduler: Scheduler | None = None,
        transport_factory: Callable[[], Transport] | None = None,
        command: Sequence[str] | None = None,
    ) -> None:
        self._scheduler = scheduler if scheduler is not None else QtScheduler()
        self._transport_factory = transport_factory if transport_factory is not None else QProcessTransport
        self._command = list(command) if command is not None else None
        self._subscribers = Subscribers()
        self._memory = ClientMemory()
        self._folder = ArrayFolder()
        self._process: WorkerProcess | None = None
        self._number = 0
        self._outbox = Outbox(self._folder, self._next_number)
        self._sent_prompts: dict[int, Any] = {}
        self._log: deque[str] = deque(maxlen=_LOG_LINES)
        self._crashes: deque[float] = deque(maxlen=_CRASHES_PER_MINUTE)
        self._cancel_deadline: float | None = None
        self._device = "auto"
        self._state = ClientState.STOPPED
        self.device_sentence = ""

    # State

    @property
    def state(self) -> ClientState:
        return self._state

    @property
    def busy(self) -> bool:
        """True while any request is unanswered or waits to be sent."""
        return self._outbox.busy

    def subscribe(self, event_class: type, callback: Callable[[Any], None]) -> Callable[[], None]:
        return self._subscribers.add(event_class, callback)

    def log_tail(self) -> str:
        """The last lines that the process wrote to its standard error."""
        return "\n".join(self._log)

    def prompts(self, volume_id: str, object_id: str) -> tuple[Any, ...]:
        return self._memory.prompts(volume_id, object_id)

    # Start and end

    def start(self) -> None:
        """Starts the process if none runs; torch loads in it while the user looks at the image."""
        if self._process is not None:
            return
        try:
            command = self._command if self._command is not None else worker_command()
            process = WorkerProcess(self._transport_factory(), self._log, self._handle, self._ended)
            self._process = process
            self._set_state(ClientState.STARTING, _("Starting the inference process ..."))
            process.start(command)
        except (InterpreterNotFound, OSError) as error:
            self._process = None
            self._set_state(
                ClientState.FAILED, _("The inference process could not be started: {reason}").format(reason=error)
            )
            return
        process.send(m.Hello(self._next_number(), tuple(path for path in sys.path if path), self._device))
        self._replay()
        self._scheduler.call_later(_TICK_MS, lambda: self._tick(process))

    def stop(self, timeout_s: float = 2.0) -> None:
        """Ends the process: politely, and by force when it has not ended after `timeout_s`. Forgets volumes and
        prompts.
        """
        self._end_process(timeout_s)
        self._memory = ClientMemory()
        self._folder.close()
        self._set_state(ClientState.STOPPED, "")

    def restart(self) -> None:
        """A new process that gets model, volumes and prompts again."""
        self._end_process(0.0)
        self.start()

    def _end_process(self, timeout_s: float) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.end(m.Shutdown(self._next_number()), timeout_s)
        self._cancel_deadline = None
        self._fail_waiting(_("The inference process was ended."))

    # Requests that act at once

    def cancel(self) -> None:
        """Ends propagation and refinement between two slices; kills the process when it does not answer in time."""
        for item in self._outbox.drop_long():
            self._subscribers.send(m.Finished(item.request, item.kind_name, item.volume_id, item.object_id, True))
        if self._outbox.long_work:
            self._write(m.Cancel(self._next_number()))
            if self._cancel_deadline is None:
                self._cancel_deadline = time.monotonic() + _CANCEL_TIMEOUT_S
        self._update_state()

    # Sending

    def _next_number(self) -> int:
        self._number += 1
        return self._number

    def _send(self, request: m.Message) -> int:
        self.start()
        self._outbox.add(request)
        if self._process is None:  # the answer comes after the caller has the number
            self._scheduler.call_later(0, lambda: self._fail_waiting(_("The inference process does not run.")))
        self._pump()
        return request.request

    def _pump(self) -> None:
        """Sends what can be sent now."""
        if self._process is not None:
            for request in self._outbox.sendable():
                self._write(request)
        self._update_state()

    def _write(self, request: m.Message) -> None:
        if self._process is not None:
            self._process.send(request)

    def _cancel_running(self) -> None:
        if self._outbox.long_work:
            self.cancel()

    def _queue_volume(self, source: Any) -> None:
        """The volume, then the prompts that its objects had when it was open the last time."""
        volume_id = source.volume_id
        try:
            self._outbox.add_volume(source)
        except OSError as error:
            sentence = _(
                "The volume cannot be handed to the inference process ({reason}): free some disk space or memory."
            ).format(reason=error)
            self._memory.close_volume(volume_id)
            self._subscribers.send(m.Failed(0, "volume", sentence, False, volume_id, ""))
            return
        for object_id in self._memory.objects(volume_id):
            values = tuple(prompt.to_json() for prompt in self._memory.prompts(volume_id, object_id))
            self._outbox.add(m.SetPrompts(self._next_number(), volume_id, object_id, values, True))

    def _forget_volume(self, volume_id: str) -> None:
        self._outbox.drop_volume(volume_id)
        if self._process is not None:
            self._send(m.CloseVolume(self._next_number(), volume_id))

    def _replay(self) -> None:
        """Everything that the last process knew, for the new one."""
        unsent = self._outbox.take_unsent()
        if self._memory.model is not None and not any(isinstance(item, m.LoadModel) for item in unsent):
            self._outbox.add(m.LoadModel(self._next_number(), str(self._memory.model[0]), self._memory.model[1]))
        for source in tuple(self._memory.open_volumes.values()):
            self._queue_volume(source)
        self._outbox.put_back(unsent)
        self._pump()

    def _upload_step(self) -> None:
        upload = self._outbox.upload
        request = self._outbox.upload_step()
        if request is not None:
            self._write(request)
        self._subscribers.send(UploadProgress(upload.source.volume_id, upload.fraction))
        self._pump()

    def _tick(self, process: WorkerProcess) -> None:
        process.poll()
        if process is not self._process:
            return  # it was stopped, or ended by itself
        uploading = self._outbox.upload is not None
        if uploading:
            self._upload_step()
        if self._cancel_deadline is not None and time.monotonic() > self._cancel_deadline:
            self._log.append("No answer to Cancel: the process was ended by force.")
            self.restart()
            return
        busy = uploading or self.busy or self._state is not ClientState.IDLE
        self._scheduler.call_later(1 if uploading else _TICK_MS if busy else _SLOW_TICK_MS, lambda: self._tick(process))

    # Receiving

    def _handle(self, event: m.Message) -> None:
        if getattr(event, "sentence", ""):
            event = dataclasses.replace(event, sentence=in_slicer(event.sentence))
        if isinstance(event, m.WorkerStarted):
            self._set_state(ClientState.LOADING, _("Loading torch ..."))
        elif isinstance(event, (m.EngineReady, m.ModelLoaded)):
            self.device_sentence = event.sentence
        elif isinstance(event, m.VolumeOpened):
            request = self._outbox.request(event.request)
            if isinstance(request, m.OpenVolume):  # mapped; where that forbids removal, the folder goes at the end
                self._folder.remove(request.array)
        elif isinstance(event, (m.Finished, m.Failed)):
            self._answered(event)
        self._subscribers.send(event)
        self._update_state()

    def _answered(self, event: m.Finished | m.Failed) -> None:
        request = self._outbox.answered(event.request)
        prompt = self._sent_prompts.pop(event.request, None)
        if isinstance(event, m.Finished) and event.kind == "Hello" and self._state is ClientState.LOADING:
            self._set_state(ClientState.BUSY if self.busy else ClientState.IDLE, self.device_sentence)
        if isinstance(event, m.Failed):
            if prompt is not None and isinstance(request, m.AddPrompt):
                self._memory.drop_prompt(request.volume_id, request.object_id, prompt)
            if event.fatal or event.kind == "internal":
                logging.warning("SAM2-3dMed: %s\n%s", event.sentence, self.log_tail())
            if event.fatal:
                self._set_state(ClientState.FAILED, event.sentence)
        if not self._outbox.long_work:
            self._cancel_deadline = None

    def _ended(self, how: str) -> None:
        self._process = None
        self._cancel_deadline = None
        if self._state is ClientState.FAILED:
            self._fail_waiting(_("The inference process cannot start."))
            return
        now = time.monotonic()
        again = len(self._crashes) < _CRASHES_PER_MINUTE or now - self._crashes[0] > 60.0
        self._crashes.append(now)
        if again:
            sentence = _(
                "The inference process ended ({how}) and is started again; your prompts and segments are kept."
            )
        else:
            sentence = _(
                "The inference process ends again and again ({how}): choose another device or model, or see the log."
            )
        sentence = sentence.format(how=how)
        logging.warning("SAM2-3dMed: %s\n%s", sentence, self.log_tail())  # the log that the sentences speak of
        self._fail_waiting(sentence)
        self._subscribers.send(WorkerLost(sentence, again, self.log_tail()))
        if again and self._process is None:
            self.start()
        elif not again:
            self._set_state(ClientState.FAILED, sentence)

    def _fail_waiting(self, sentence: str) -> None:
        """Every request gets its answer, also from a process that is gone."""
        self._sent_prompts.clear()
        for request in self._outbox.clear():
            names = getattr(request, "volume_id", ""), getattr(request, "object_id", "")
            self._subscribers.send(m.Failed(request.request, "lost", sentence, False, *names))

    def _update_state(self) -> None:
        if self._state in (ClientState.IDLE, ClientState.BUSY):
            wanted = ClientState.BUSY if self.busy else ClientState.IDLE
            if wanted is not self._state:
                self._set_state(wanted, self.device_sentence)

    def _set_state(self, state: ClientState, sentence: str) -> None:
        self._state = state
        self._subscribers.send(ClientStateChanged(state, sentence))
