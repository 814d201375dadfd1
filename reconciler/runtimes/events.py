"""Starts and ends of containers, as they come.

    stop = threading.Event()
    threading.Thread(target=watch, args=(engine("docker"), queue.put, stop)).start()

Events are hints: which containers run is found out by asking again (reconciler.runtimes.containers), at whatever time that suits.
None is missed without a word: each time the stream of events begins and each time it breaks off, there is one of the kind `lost`.
"""

from __future__ import annotations

import contextlib
import enum
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from reconciler.runtimes.engine import Engine, EngineError, Stream

FIRST_WAIT, LONGEST_WAIT = 0.1, 5.0
"""Seconds before an engine that is away is tried again; doubled each time."""


class Kind(enum.StrEnum):
    """What happened."""

    START = "start"
    DIE = "die"
    LOST = "lost"
    """The engine came or went, or a container got another name: everything may have changed."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened to the container `name` of the engine `runtime`; to all of them (name "") if `kind` is `lost`."""

    kind: Kind
    runtime: str
    name: str = ""

    @property
    def namespace(self) -> str:
        """How keys and a Snapshot call the container's network namespace: `docker:web`."""
        return f"{self.runtime}:{self.name}"


_KINDS = {"start": Kind.START, "die": Kind.DIE, "died": Kind.DIE, "rename": Kind.LOST}


def watch(engine: Engine, on_event: Callable[[Event], None], stop: threading.Event) -> None:
    """Calls `on_event`, in this thread, for all that happens to containers of `engine` until `stop` is set; then returns, at once.

    While the engine is away, it is tried again and again, less and less often. Its first connection is an event of kind `lost`,
    too: a look that is taken after that misses nothing. `on_event` should take no time: what it raises ends the watch and comes out of
    here. Raises PlatformError if the Docker SDK is not installed. A thread of its own waits for `stop`, and ends only with that.
    """
    ending = _Ending(stop)
    wait = FIRST_WAIT
    while not stop.is_set():
        heard = False
        try:
            with engine.connected() as session:
                stream = session.events()
                with ending.of(stream):
                    heard, wait = True, FIRST_WAIT
                    on_event(Event(Kind.LOST, engine.runtime))
                    for event in read(engine.runtime, stream):
                        on_event(event)
        except EngineError:
            pass
        if heard and not stop.is_set():
            on_event(Event(Kind.LOST, engine.runtime))
        stop.wait(wait)
        wait = min(2 * wait, LONGEST_WAIT)


def read(runtime: str, stream: Iterable[Any]) -> Iterator[Event]:
    """The events in what an engine tells, until that ends. What is of no use is passed over. Raises EngineError."""
    messages = iter(stream)
    while True:
        try:
            message = next(messages)
            kind = _KINDS.get(message["Action"])
            name = str(message["Actor"]["Attributes"].get("name", ""))
        except StopIteration:
            return
        except (KeyError, TypeError, AttributeError):
            continue
        except (OSError, ValueError) as error:
            raise EngineError(f"the events of {runtime} broke off ({error})") from error
        if kind is not None:
            yield Event(kind, runtime, "" if kind is Kind.LOST else name)


class _Ending:
    """Interrupts a stream when `stop` is set, which its reader, who waits for the engine, would not see."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._lock = threading.Lock()
        self._stream: Stream | None = None
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def of(self, stream: Stream) -> Iterator[None]:
        """While in here, `stream` is the one to interrupt; then it is closed."""
        with self._lock:
            self._stream = stream
        if self._thread is None:
            self._thread = threading.Thread(target=self._wait, name="end of events", daemon=True)
            self._thread.start()
        elif self._stop.is_set():
            self._interrupt()
        try:
            yield
        finally:
            with self._lock:
                self._stream = None
                stream.close()

    def _wait(self) -> None:
        self._stop.wait()
        self._interrupt()

    def _interrupt(self) -> None:
        with self._lock:
            if self._stream is not None:
                self._stream.interrupt()
