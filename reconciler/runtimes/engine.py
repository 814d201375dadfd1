"""One engine, by its socket: what it says of a container, and what it tells as it happens."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from reconciler.errors import PlatformError

LABELS = {"docker": "Docker", "podman": "Podman"}
"""The engines, by the word of the file, with the name that people know them by."""

TIMEOUT = 10.0
"""Seconds that an engine may take for an answer."""
_SO_PEERCRED = struct.Struct("3i")  # struct ucred, unix(7)


class EngineError(PlatformError):
    """An engine is not there, or its answer is of no use. No reason to end: only its containers are concerned."""


class Container(NamedTuple):
    """What an engine says of one container. `pid` is its first process, 0 if it does not run; `network` as in `--network`."""

    name: str
    id: str
    pid: int
    started: str
    network: str


class Session:
    """A connection to an engine. What it raises is EngineError."""

    def __init__(self, label: str, client: Any) -> None:
        self._label = label
        self._client = client

    def container(self, name: str) -> Container | None:
        """The container of just this name, None if there is none (an engine would also take the beginning of an id for a name)."""
        from docker.errors import NotFound

        with _told_apart(self._label):
            try:
                said = self._client.inspect_container(name)
            except NotFound:
                return None
            container = _read(said)
        return container if name in (container.name, container.id) else None

    def events(self) -> Stream:
        """What happens to containers from now on."""
        with _told_apart(self._label):
            return Stream(self._client.events(filters={"type": "container"}, decode=True))


class Stream:
    """Events as an engine tells them: iterated, mappings as the API has them; a broken connection is an end, or an OSError or
    ValueError. Of the SDK's CancellableStream, whose `close` wakes its reader but leaves the socket to the garbage collector."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[Any]:
        return iter(self._stream)

    def interrupt(self) -> None:
        """Ends it for its reader, who may be waiting. From any thread."""
        # The engine may have been quicker: then there is no socket left to shut down.
        with contextlib.suppress(OSError, AttributeError):
            self._stream.close()

    def close(self) -> None:
        """Gives back all that it holds. For its reader, who has done with it."""
        self.interrupt()
        response = getattr(self._stream, "_response", None)
        if response is not None:
            response.close()


class Engine:
    """The engine `runtime` (docker, podman) of this machine. `socket` tells the path of its socket, anew for each connection."""

    def __init__(self, runtime: str, socket: Callable[[], str]) -> None:
        self.runtime = runtime
        self._socket = socket

    @property
    def label(self) -> str:
        """Its name, for people."""
        return LABELS[self.runtime]

    @contextlib.contextmanager
    def connected(self) -> Iterator[Session]:
        """A Session. Raises EngineError if the engine is not there, PlatformError without the SDK."""
        path = self._socket()
        try:
            import docker
        except ImportError as error:
            raise PlatformError(
                f"attach: {{{self.runtime}: NAME}} takes the Docker SDK for Python, for Podman too: install it with "
                "`pip install 'reconcile-network[runtimes]'` (Debian: python3-docker)"
            ) from error
        _reach(self.label, path)
        with _told_apart(self.label):
            client = docker.APIClient(f"unix://{path}", version="auto", timeout=TIMEOUT)
        # Neither proxies nor passwords of the user's are of any concern to a local socket.
        client.trust_env = False
        try:
            yield Session(self.label, client)
        finally:
            client.close()


def engine(runtime: str, environment: Mapping[str, str] = os.environ) -> Engine:
    """The engine `runtime`, where this environment has it."""
    from reconciler.runtimes import sockets

    return Engine(runtime, lambda: sockets.find(runtime, environment))


def _reach(label: str, path: str) -> None:
    """Raises EngineError, in plain words, unless somebody listens at `path` who counts processes as we do."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection:
            connection.settimeout(TIMEOUT)
            connection.connect(path)
            credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _SO_PEERCRED.size)
    except OSError as error:
        raise EngineError(f"{label} does not answer at {path} ({error.strerror or error})") from error
    if not _counts_as_we_do(_SO_PEERCRED.unpack(credentials)[0]):
        raise EngineError(
            f"{label} at {path} is in another PID namespace than this, so the processes that it names cannot be found "
            "(run reconcile where the engine runs; in a container, with --pid=host)"
        )


def _counts_as_we_do(pid: int) -> bool:
    """Whether process `pid`, who listens (systemd, where that hands the socket over), is in our PID namespace. 0 is one that we
    cannot see from ours (pid_namespaces(7)); of one that has ended, or is hidden from us, nothing is known."""
    try:
        return pid != 0 and os.readlink(f"/proc/{pid}/ns/pid") == os.readlink("/proc/self/ns/pid")
    except OSError:
        return True


@contextlib.contextmanager
def _told_apart(label: str) -> Iterator[None]:
    """All that can go wrong with an engine, as an EngineError."""
    import requests
    from docker.errors import DockerException

    try:
        yield
    except (DockerException, requests.RequestException, OSError, ValueError, KeyError, TypeError) as error:
        raise EngineError(f"{label} gives no answer that is of use ({_short(error)})") from error


def _short(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:199]}…"


def _read(said: Any) -> Container:
    """A container, out of the answer to GET /containers/NAME/json. Raises KeyError, TypeError or ValueError.

    While an engine waits to start a container again, Docker calls it running, with pid 0.
    """
    state = said["State"]
    return Container(
        name=str(said["Name"]).removeprefix("/"),
        id=str(said["Id"]),
        pid=int(state["Pid"]) if state["Running"] else 0,
        started=str(state["StartedAt"]),
        network=str(said["HostConfig"]["NetworkMode"]),
    )
