"""`docker:web` → the process that it is now, or why there is none (reconciler.kernel.namespaces.Containers)."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

from reconciler.core.messages import Absence
from reconciler.kernel.processes import Process
from reconciler.runtimes.engine import LABELS, Container, Engine, EngineError, Session, engine

_ATTEMPTS = 3
"""How often to ask for a container that is another one each time."""

Answer = Process | Absence | None
"""None: it does not run, and there is no more to say."""


class Containers:
    """Who knows the containers of this machine's engines. For one thread at a time.

    It remembers the processes that it found. So, while an engine does not answer, a container that was seen before is known to run or
    to have ended all the same: keep one of these where many looks are taken.
    """

    def __init__(self, engine: Callable[[str], Engine] = engine) -> None:
        self._engine = engine
        self._engines: dict[str, Engine] = {}
        self._seen: dict[str, tuple[Container, Process]] = {}

    def find(self, names: Iterable[str]) -> dict[str, Process | Absence]:
        """For each of `names` (`docker:web`) the first process of that container, or an Absence if there is more to say than that it
        does not run; else nothing. Raises PlatformError if the Docker SDK is not installed.
        """
        by_runtime = defaultdict(list)
        for name in sorted(names):
            runtime, _, container = name.partition(":")
            by_runtime[runtime].append(container)
        found: dict[str, Process | Absence] = {}
        for runtime, containers in by_runtime.items():
            for container, answer in self._ask(runtime, containers):
                if answer is not None:
                    found[f"{runtime}:{container}"] = answer
        return found

    def _ask(self, runtime: str, names: list[str]) -> Iterator[tuple[str, Answer]]:
        if runtime not in self._engines:
            self._engines[runtime] = self._engine(runtime)
        left = list(names)
        try:
            with self._engines[runtime].connected() as session:
                while left:
                    answer = self._one(session, runtime, left[0])
                    yield left.pop(0), answer
        except EngineError as error:
            for name in left:
                yield name, self._without_engine(runtime, name, error)

    def _one(self, session: Session, runtime: str, name: str) -> Answer:
        key = f"{runtime}:{name}"
        for _ in range(_ATTEMPTS):
            container = session.container(name)
            if container is None or not container.pid:
                break
            refusal = _refusal(runtime, container)
            if refusal:
                self._seen.pop(key, None)
                return Absence(refusal)
            seen = self._seen.get(key)
            if seen is not None and seen[0] == container and seen[1].lives():
                return seen[1]
            try:
                process = Process.of(container.pid)
            except ProcessLookupError:
                continue
            # The number may have become another process's before we came to know its start. It has not, if it is still the
            # container's.
            if session.container(name) == container and process.lives():
                if _is_at_home(process):
                    return Absence(
                        f"{_label(runtime, name)} is in the host's own network namespace, which stays as it is"
                    )
                self._seen[key] = container, process
                return process
        self._seen.pop(key, None)
        return None

    def _without_engine(self, runtime: str, name: str, error: EngineError) -> Answer:
        seen = self._seen.get(f"{runtime}:{name}")
        if seen is None:
            return Absence(str(error), unknown=True)
        return seen[1] if seen[1].lives() else Absence(f"{_label(runtime, name)} has ended, and {error}")


def _refusal(runtime: str, container: Container) -> str:
    """Why the container's network is not ours to wire, "" if it is: it has to be its own."""
    kind, _, whose = container.network.partition(":")
    if kind == "host":
        why = "has the host's own network, which stays as it is"
    elif kind == "container":
        why = f"shares the network of the container {whose[:12]}: attach that one instead"
    elif kind == "ns":
        why = f"shares the network namespace {whose}: attach that one instead, by {{netns: {os.path.basename(whose)}}}"
    else:
        return ""
    return f"{_label(runtime, container.name)} {why} (or run it with `--network none`)"


def _label(runtime: str, name: str) -> str:
    return f"{LABELS[runtime]} container {name}"


def _is_at_home(process: Process) -> bool:
    """Whether a process is in the network namespace that the calling thread is in: nothing of a container's is ever done to that."""
    try:
        return os.path.samestat(os.stat(f"/proc/{process.pid}/ns/net"), os.stat("/proc/thread-self/ns/net"))
    except OSError:
        return False
