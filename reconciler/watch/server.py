"""The page of an agent, over HTTP: it shows, and changes nothing.

    /             the page                        /events    what is new, as server-sent events
    /picture.svg  the picture of the network      /metrics   for Prometheus
    /state.json   the same for programs           /healthz   it works     /readyz   and has reached its first goal

Whoever can reach the address may look; so it is a loopback address unless told otherwise. There are no secrets in it and nothing to
write to, and yet it is next to the kernel of a host: GET and HEAD only; a request's head is small and comes soon; connections are
counted; a Host that is a name which nobody gave us is refused, since it may be a page of others' that has had its name point here
(DNS rebinding). An address as Host cannot be had that way.

Each connection carries one request. That costs a scraper a handshake on loopback, and spares us all that goes wrong between two.
"""

from __future__ import annotations

import io
import json
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from ipaddress import ip_address
from types import TracebackType
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

from reconciler.render.svg import svg
from reconciler.render.terminal import clean
from reconciler.watch import page
from reconciler.watch.served import Served, Source

MAX_HEAD = 16 * 1024
"""Bytes of a request's line and headers."""
HEAD_SECONDS = 5.0
"""All of a head must have come by then."""
SEND_SECONDS = 10.0
"""A reader that takes nothing for so long is gone."""
MAX_CONNECTIONS, MAX_FOLLOWERS = 64, 32
BEAT = 10.0
"""Seconds between two words to a follower that there is nothing new."""
AT_MOST_EVERY = 0.2
"""Seconds between two changes that a follower is told of; those between are told as one."""
MAX_COLUMNS = 8
_KEPT = 6
"""Rendered pages and pictures of the version that is shown."""

_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_BARE_POLICY = "default-src 'none'; frame-ancestors 'none'"
_HTML, _SVG = "text/html; charset=utf-8", "image/svg+xml; charset=utf-8"
_PLAIN, _JSON = "text/plain; charset=utf-8", "application/json"

Address = tuple[str, int]


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """Serves `source` at `address` (port 0: any that is free) to whoever asks for an IP address, `localhost`, or one of `names`.

    It listens from its making on, and answers between `start` and `close`; as a context manager it does both. Raises OSError where
    it cannot listen.
    """

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(
        self,
        source: Source,
        address: Address = ("127.0.0.1", 0),
        names: Iterable[str] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.source = source
        self.names = frozenset(name.lower().rstrip(".") for name in names) | {"localhost"}
        self.clock = clock
        self.closing = threading.Event()
        self.followers = threading.BoundedSemaphore(MAX_FOLLOWERS)
        self._connections = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self._thread: threading.Thread | None = None
        self._rendering = threading.Lock()
        self._rendered: dict[tuple[Any, ...], str] = {}
        self._rendered_version = -1
        self._exposition: Any = None
        super().__init__(address, _Handler)

    @property
    def url(self) -> str:
        """Where it is, such as `http://127.0.0.1:9798/`."""
        host, port = self.server_address[:2]
        name = f"[{host!s}]" if self.address_family == socket.AF_INET6 else str(host)
        return f"http://{name}:{port}/"

    def start(self) -> None:
        """Begins to answer, in a thread of its own."""
        self._thread = threading.Thread(target=self.serve_forever, args=(0.1,), name="http", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Answers no more. Followers are let go of within a moment."""
        self.closing.set()
        if self._thread is not None:
            self.shutdown()
            self._thread.join()
        self.server_close()

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- connections, as socketserver calls them

    def process_request(self, request: Any, client_address: Any) -> None:
        """Takes a connection, or turns it away if there are too many."""
        if not self._connections.acquire(blocking=False):
            with _quietly():
                request.settimeout(0.2)
                request.sendall(
                    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
                )
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread could be had
            self._connections.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """One connection, in its thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._connections.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A reader that went away is no error; anything else is ours, and is printed."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)

    # --- what is served

    def rendered(self, what: str, columns: int | None) -> str:
        """The page or the picture of what is shown now. Many readers of one version share it."""
        served = self.source.snapshot()
        now = self.clock()
        key = (what, columns, served.stale(now))
        with self._rendering:
            if served.version != self._rendered_version:
                self._rendered.clear()
                self._rendered_version = served.version
            if key not in self._rendered:
                if len(self._rendered) >= _KEPT:
                    self._rendered.clear()
                self._rendered[key] = _render(what, served, now, columns)
            return self._rendered[key]

    def exposition(self) -> Any:
        """What /metrics answers with. Raises ImportError where prometheus-client is not installed."""
        from reconciler.watch.metrics import Exposition

        with self._rendering:
            if self._exposition is None:
                self._exposition = Exposition(self.source.snapshot)
            return self._exposition


def _render(what: str, served: Served, now: float, columns: int | None) -> str:
    if what == "page":
        return page.page(served, now, columns)
    return svg(page.pictured(served), columns=columns)


class _Handler(BaseHTTPRequestHandler):
    """One request."""

    server_version = "reconcile"
    sys_version = ""
    protocol_version = "HTTP/1.1"
    timeout = SEND_SECONDS

    @property
    def _server(self) -> Server:
        return cast(Server, self.server)

    def handle(self) -> None:
        """Reads a head, and answers it."""
        self.close_connection = True
        head = self._head()
        if head is None:
            return
        self.rfile = io.BytesIO(head)
        self.raw_requestline = self.rfile.readline()
        if self.parse_request():
            self.close_connection = True
            try:
                self._answer()
            except OSError:
                raise
            except Exception:
                self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, "this could not be shown; the agent's log says why")
                raise

    def _head(self) -> bytes | None:
        """The request's line and headers; None if there are none to answer. What comes behind them is not read."""
        deadline = time.monotonic() + HEAD_SECONDS
        head = b""
        while b"\r\n\r\n" not in head and b"\n\n" not in head:
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            self.connection.settimeout(left)
            part = self.connection.recv(4096)
            if not part:
                return None
            head += part
            if len(head) > MAX_HEAD:
                self._prepare_refusal()
                self._refuse(
                    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"at most {MAX_HEAD} bytes of headers are read"
                )
                return None
        self.connection.settimeout(SEND_SECONDS)
        return head

    def _prepare_refusal(self) -> None:
        """For an answer to what was not even parsed."""
        self.connection.settimeout(SEND_SECONDS)
        self.requestline, self.command, self.request_version = "", "GET", "HTTP/1.1"

    def _answer(self) -> None:
        address = urlsplit(self.path)
        if not self.path.startswith("/") or self.path.startswith("//"):
            self._refuse(HTTPStatus.BAD_REQUEST, "a path begins with one slash")
        elif not self._host_is_ours():
            self._refuse(
                HTTPStatus.MISDIRECTED_REQUEST,
                "ask by an IP address, by localhost, or by a name that this server was given",
            )
        elif self.command not in ("GET", "HEAD"):
            self._refuse(HTTPStatus.METHOD_NOT_ALLOWED, "this server only shows", Allow="GET, HEAD")
        elif address.path not in _ROUTES:
            self._refuse(HTTPStatus.NOT_FOUND, f"there are: {' '.join(_ROUTES)}")
        else:
            _ROUTES[address.path](self, address.query)

    def _host_is_ours(self) -> bool:
        given = self.headers.get_all("Host") or []
        if len(given) != 1:
            return False
        try:
            name = urlsplit(f"//{given[0].strip()}").hostname or ""
        except ValueError:
            return False
        return name.rstrip(".") in self._server.names or _is_address(name)

    # --- what there is

    def _page(self, query: str) -> None:
        text = self._server.rendered("page", _columns(query))
        self._send(text, _HTML, policy=page.page_policy())

    def _picture(self, query: str) -> None:
        self._send(self._server.rendered("picture", _columns(query)), _SVG, policy=page.picture_policy())

    def _icon(self, query: str) -> None:
        self._send(page.icon(), _SVG)

    def _state(self, query: str) -> None:
        state = page.state_json(self._server.source.snapshot(), self._server.clock())
        self._send(json.dumps(state, indent=2) + "\n", _JSON)

    def _metrics(self, query: str) -> None:
        try:
            exposition = self._server.exposition()
        except ImportError:
            self._refuse(
                HTTPStatus.NOT_FOUND, "metrics need prometheus-client: pip install 'reconcile-network[metrics]'"
            )
            return
        kind, body = exposition.answer(self.headers.get("Accept", ""))
        self._send(body, kind)

    def _health(self, query: str) -> None:
        self._verdict(self._server.source.snapshot().unhealthy)

    def _ready(self, query: str) -> None:
        self._verdict(self._server.source.snapshot().unready)

    def _verdict(self, why_not: str) -> None:
        status = HTTPStatus.SERVICE_UNAVAILABLE if why_not else HTTPStatus.OK
        self._send(f"{clean(why_not) or 'ok'}\n", _PLAIN, status)

    def _events(self, query: str) -> None:
        """https://html.spec.whatwg.org/multipage/server-sent-events.html"""
        if self.command == "HEAD":
            self._send("", "text/event-stream")
        elif not self._server.followers.acquire(blocking=False):
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "too many follow already", **{"Retry-After": "10"})
        else:
            try:
                self._tell()
            finally:
                self._server.followers.release()

    def _tell(self) -> None:
        self.send_response(HTTPStatus.OK)
        self._headers("text/event-stream", _BARE_POLICY)
        self.end_headers()
        self.wfile.write(b"retry: 2000\n\n")
        server = self._server
        while not server.closing.is_set():
            served = server.source.snapshot()
            news = json.dumps({"version": served.version, "stale": served.stale(server.clock())})
            self.wfile.write(f"event: shown\nid: {served.version}\ndata: {news}\n\n".encode())
            self.wfile.flush()
            until = time.monotonic() + BEAT
            server.closing.wait(AT_MOST_EVERY)
            while not server.closing.is_set() and time.monotonic() < until:
                if server.source.wait(served.version, 1.0) != served.version:
                    break

    # --- answers

    def _send(
        self, body: str | bytes, kind: str, status: HTTPStatus = HTTPStatus.OK, policy: str = _BARE_POLICY, **more: str
    ) -> None:
        data = body.encode("utf-8", "replace") if isinstance(body, str) else body
        self.send_response(status)
        self._headers(kind, policy)
        for name, value in more.items():
            self.send_header(name, value)
        if kind != "text/event-stream":
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _headers(self, kind: str, policy: str) -> None:
        self.send_header("Content-Type", kind)
        self.send_header("Content-Security-Policy", policy)
        self.send_header("Connection", "close")
        for name, value in _HEADERS.items():
            self.send_header(name, value)

    def _refuse(self, status: HTTPStatus, why: str, **more: str) -> None:
        self._send(f"{status.value} {status.phrase}: {why}\n", _PLAIN, status, **more)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """As the library calls it for what it cannot parse: in a line of text, not in its page of HTML."""
        # It may have been taken for HTTP/0.9, which has no headers.
        self.command, self.request_version = "GET", "HTTP/1.1"
        self._refuse(HTTPStatus(code), "this is no request that can be read")

    def log_message(self, format: str, *args: Any) -> None:
        """Who reads is not written down."""


_ROUTES: dict[str, Callable[[_Handler, str], None]] = {
    "/": _Handler._page,
    "/picture.svg": _Handler._picture,
    "/state.json": _Handler._state,
    "/events": _Handler._events,
    "/metrics": _Handler._metrics,
    "/healthz": _Handler._health,
    "/readyz": _Handler._ready,
    "/icon.svg": _Handler._icon,
}


def _columns(query: str) -> int | None:
    """The `columns` that a query asks for; None if it does not ask, or not for a number."""
    text = parse_qs(query).get("columns", [""])[0] if len(query) < 100 else ""
    return max(1, min(MAX_COLUMNS, int(text))) if text.isascii() and text.isdigit() and len(text) < 4 else None


def _is_address(name: str) -> bool:
    try:
        ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True


@contextmanager
def _quietly() -> Iterator[None]:
    """For a last word to a reader that may be gone."""
    try:
        yield
    except OSError:
        return
