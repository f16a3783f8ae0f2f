"""Send the events that the state holds, in threads of their own: a receiver that hangs holds nothing up.

The state is opened without its lock, so that receivers are told after a run has let go of it: a command that is
called can run another spec. Two runners can therefore tell the same event, which has the same id then.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Event, Thread

from runner.errors import RunnerError
from runner.notify.events import is_wanted
from runner.notify.receiver_names import identify, name_receiver
from runner.notify.record import record_end
from runner.runs.context import build_event
from runner.runs.events import ProgressCallback
from runner.runs.project import find_output_root, find_state
from runner.spec.run_settings import Receiver
from runner.spec.spec import Spec
from runner.store.event_log import StoredEvent
from runner.store.open_store import open_store
from runner.store.store import Store

_WAIT_SECONDS = 5.0
"""The longest time that the end of a command waits for services and webhooks, in all."""

_KEPT_SECONDS = 30 * 86_400.0
"""The time after which an event is given up."""

_LOOK_SECONDS = 0.05


@dataclass(slots=True)
class _Sending:
    """Events that are being sent to a receiver, in a thread that ends with the process."""

    spec: Spec
    receiver: Receiver
    events: list[StoredEvent]
    thread: Thread

    def has(self, receiver: Receiver, event: StoredEvent) -> bool:
        return self.receiver is receiver and any(one.number == event.number for one in self.events)


@dataclass(slots=True)
class Outbox:
    """The events that one command sends; `report` gets the lines about what became of them.

    Of a simulated run nobody is told. After `stop` nothing is sent any more, and the next command goes on.
    """

    simulate: bool
    stop: Event
    report: ProgressCallback
    _sending: list[_Sending] = field(default_factory=list)
    _results: "SimpleQueue[tuple[Spec, str]]" = field(default_factory=SimpleQueue)

    def send(self, spec: Spec) -> None:
        """Begin to send what the receivers of a spec have not been told yet."""
        if self.simulate or not spec.notify:
            return
        with suppress(RunnerError, OSError):
            names = identify(spec.notify)
            for name, receiver, events in self._list_untold(spec, names):
                thread = Thread(target=self._tell, args=(spec, name, receiver, events), daemon=True)
                self._sending.append(_Sending(spec, receiver, events, thread))
                thread.start()

    def _list_untold(self, spec: Spec, names: Sequence[str]) -> list[tuple[str, Receiver, list[StoredEvent]]]:
        """Return the receivers of a spec with the events that nobody is telling them of now."""
        # Noted before the state is read: a thread that ends meanwhile has written there what it has told.
        busy = [one for one in self._sending if one.thread.is_alive()]
        with self._open_state(spec) as store:
            pending = [one for one in store.event_log.pending(spec.name) if not _settle(store, spec, one)]
            told = {one.number: store.event_log.list_told(one) for one in pending}
        found = []
        for name, receiver in zip(names, spec.notify, strict=True):
            wanted = (one for one in pending if is_wanted(receiver, one.name, one.mark))
            untold = [one for one in wanted if name not in told[one.number]]
            if left := [one for one in untold if not any(other.has(receiver, one) for other in busy)]:
                found.append((name, receiver, left))
        return found

    def _open_state(self, spec: Spec) -> AbstractContextManager[Store]:
        return open_store(find_state(find_output_root(spec, simulate=self.simulate)), lock=False)

    def _tell(self, spec: Spec, name: str, receiver: Receiver, events: Sequence[StoredEvent]) -> None:
        """Send events to a receiver in their order, up to the first that it does not take."""
        # Imported here: most commands tell nobody, and need no HTTP.
        from runner.notify.send import NotTold, Place, send_event

        shown = name_receiver(receiver)
        for event in events:
            try:
                send_event(receiver, event, Place(spec.root, self.stop))
            except NotTold as error:
                left = f"{error}; the next command of this spec tries again"
                self._results.put((spec, f"warning: {shown} was not told of {event.name!r}: {left}"))
                return
            # If it cannot be recorded, it is sent again.
            with suppress(RunnerError, OSError), self._open_state(spec) as store, store.transaction():
                store.event_log.note_told(event, name)
                _settle(store, spec, event)
            self._results.put((spec, f"{shown} was told of {event.name!r}"))

    def end(self, spec: Spec, error: RunnerError | None) -> None:
        """Record how the command ended for a spec, and begin to send that."""
        if not spec.notify or self.stop.is_set():
            return
        with suppress(RunnerError, OSError), self._open_state(spec) as store:
            record_end(store, spec, error, say=lambda line: self._report(store, spec, line))
        self.send(spec)

    def wait(self) -> None:
        """Wait for what is being sent: some seconds for services, and for commands until they end."""
        until = time.monotonic() + _WAIT_SECONDS
        while self._sending and not self.stop.is_set():
            is_late = time.monotonic() > until
            for one in [one for one in self._sending if is_late and one.thread.is_alive()]:
                if not one.receiver.command:
                    self._sending.remove(one)
                    line = f"{name_receiver(one.receiver)} has not answered yet; the next command tries again"
                    self._results.put((one.spec, f"warning: {line}"))
            self._sending = [one for one in self._sending if one.thread.is_alive()]
            time.sleep(_LOOK_SECONDS if self._sending else 0)
        self._report_results()

    def _report_results(self) -> None:
        with suppress(Empty):
            while True:
                spec, line = self._results.get_nowait()
                with suppress(RunnerError, OSError), self._open_state(spec) as store:
                    self._report(store, spec, line)

    def _report(self, store: Store, spec: Spec, line: str) -> None:
        """Report a line as an event of the newest run of a spec, if there is one yet."""
        for run in store.runs(spec.name)[:1]:
            self.report(build_event(store, run, "notified", line))


def _settle(store: Store, spec: Spec, event: StoredEvent) -> bool:
    """Settle an event if all receivers that want it have it, or if it is too old; return whether it is settled."""
    names = identify(spec.notify)
    wanting = [
        name
        for name, one in zip(names, spec.notify, strict=True)
        if is_wanted(one, event.name, event.mark) and time.time() - event.happened_at < _KEPT_SECONDS
    ]
    return store.event_log.settle(event, wanting)


@contextmanager
def open_outbox(
    specs: Sequence[Spec], *, simulate: bool, stop: Event, report: ProgressCallback
) -> Iterator[Outbox]:
    """Yield an outbox that begins to send what earlier commands have left, and waits for all that it sends."""
    outbox = Outbox(simulate, stop, report)
    for spec in specs:
        if spec.notify and find_state(find_output_root(spec, simulate=simulate)).exists:
            outbox.send(spec)
    try:
        yield outbox
    finally:
        outbox.wait()


@contextmanager
def notify_of_end(spec: Spec, *, simulate: bool, stop: Event, report: ProgressCallback) -> Iterator[Outbox]:
    """Yield the outbox of a command that follows one spec; at its end, receivers are told how it ended."""
    with open_outbox([spec], simulate=simulate, stop=stop, report=report) as outbox:
        try:
            yield outbox
        except RunnerError as error:
            outbox.end(spec, error)
            raise
        outbox.end(spec, None)
