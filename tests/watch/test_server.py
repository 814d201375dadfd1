"""The server: what it answers, what it refuses, and that many may ask at once."""

from __future__ import annotations

import http.client
import json
import re
import socket
import threading
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from reconciler.core.resource import State
from reconciler.watch import server as module
from reconciler.watch.page import page, state_json
from reconciler.watch.served import Board, Change, Condition, Kind, Served
from reconciler.watch.server import MAX_CONNECTIONS, MAX_HEAD, Server
from tests.cli.host import until
from tests.render.pictures import host, many
from tests.watch.shown import NOW, served

PATHS = ("/", "/picture.svg", "/state.json", "/metrics", "/healthz", "/readyz", "/icon.svg")


@pytest.fixture
def board() -> Board:
    """What an agent shows whose host is as the file says."""
    return Board(served(host(many(2)), many(2)))


@pytest.fixture
def server(board: Board) -> Iterator[Server]:
    """A server that answers."""
    with Server(board, clock=lambda: NOW) as running:
        yield running


class Answer:
    """Status, headers and body."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def text(self) -> str:
        return self.body.decode()


def ask(server: Server, path: str = "/", method: str = "GET", **headers: str) -> Answer:
    """A request, and what comes of it."""
    address, port = server.server_address[:2]
    connection = http.client.HTTPConnection(str(address), port, timeout=30)
    try:
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        return Answer(connection.getresponse())
    finally:
        connection.close()


def say(server: Server, text: bytes) -> bytes:
    """All that comes back for these bytes."""
    with socket.create_connection(server.server_address[:2], timeout=30) as connection:
        connection.sendall(text)
        return b"".join(iter(lambda: connection.recv(65536), b""))


# --- what it answers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
def test_everything_is_answered_with_a_strict_policy(server: Server, path: str) -> None:
    if path == "/metrics":
        pytest.importorskip("prometheus_client")
    answer = ask(server, path)
    assert answer.status == 200
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert "*" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert "Python" not in (answer.headers["Server"] or "")


@pytest.mark.parametrize("path", [*PATHS, "/events"])
def test_head_is_get_without_a_body(server: Server, path: str) -> None:
    if path == "/metrics":
        pytest.importorskip("prometheus_client")
    answer = ask(server, path, "HEAD")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["Content-Type"]


class Outside(HTMLParser):
    """What a page would load or go to."""

    def __init__(self) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.handlers: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("src", "href", "action", "data", "srcset", "poster"):
                self.targets.append(value or "")
            if name.startswith("on") or name == "style":
                self.handlers.append(name)


def test_the_page_names_nothing_outside_and_has_no_code_but_its_script(server: Server) -> None:
    text = ask(server).text
    seen = Outside()
    seen.feed(text)
    assert set(seen.targets) == {"icon.svg", "state.json", "picture.svg", "metrics"}
    assert seen.handlers == []
    assert text.count("<script>") == 1


def test_without_any_script_the_page_has_all_there_is(server: Server) -> None:
    text = ask(server).text
    for part in (
        "edge-7",
        "Synced",
        "a1b2c3d",
        "10001/tcp",
        "container web made",
        "the host is as the file says",
        "br-web",
    ):
        assert part in text
    assert '<noscript><meta http-equiv="refresh"' in text


def test_the_picture_is_an_svg_document(server: Server) -> None:
    answer = ask(server, "/picture.svg?columns=1")
    assert answer.headers.get_content_type() == "image/svg+xml"
    assert ElementTree.fromstring(answer.text).tag.endswith("svg")


def test_columns_are_what_was_asked_for_within_reason(server: Server, board: Board) -> None:
    board.show(served(host(many(6)), many(6)))

    def width(query: str) -> float:
        return float(ElementTree.fromstring(ask(server, f"/picture.svg{query}").text).get("width", "0"))

    assert width("?columns=1") < width("?columns=3") < width("?columns=6") == width("?columns=999")
    assert width("") == width("?columns=4") == width("?columns=3")
    assert width("?columns=0") == width("?columns=1")
    for odd in ("?columns=-1", "?columns=x", "?columns=", "?columns=%C2%B2", "?a=1&" * 30, "?columns=" + "9" * 5000):
        assert width(odd) == width(""), odd


def test_the_state_says_what_the_page_says(server: Server, board: Board) -> None:
    state = json.loads(ask(server, "/state.json").text)
    assert state == json.loads(json.dumps(state_json(board.snapshot(), NOW)))
    assert state["status"]["in_sync"] is True
    assert {item["condition"]: item["holds"] for item in state["conditions"]} == {"Healthy": True, "Synced": True}
    assert state["changes"][0]["outcome"] == "applied"


def test_health_and_readiness_say_why_not(server: Server, board: Board) -> None:
    assert (ask(server, "/healthz").status, ask(server, "/readyz").text) == (200, "ok\n")
    board.show(replace(board.snapshot(), unhealthy="the kernel does not answer", unready="nothing was applied yet"))
    health, ready = ask(server, "/healthz"), ask(server, "/readyz")
    assert (health.status, health.text) == (503, "the kernel does not answer\n")
    assert (ready.status, ready.text) == (503, "nothing was applied yet\n")


def test_an_agent_that_has_only_begun_has_a_page() -> None:
    with Server(Board(Served(owner="default")), clock=lambda: NOW) as server:
        text = ask(server).text
        assert "No file could be read" in text
        assert "<strong>Starting</strong><span>it has not looked at the kernel yet</span>" in text
        assert ask(server, "/state.json").status == 200
        assert (ask(server, "/healthz").status, ask(server, "/readyz").status) == (200, 503)


def test_a_new_version_is_seen_at_once(server: Server, board: Board) -> None:
    assert ">c2</text>" not in ask(server).text
    board.show(served(host(many(3)), many(3)))
    assert ">c2</text>" in ask(server).text


def test_names_from_the_kernel_cannot_write_the_page() -> None:
    evil = '</script><script>alert(1)</script>"\x1b[2J\u202e'
    shown = Served(
        owner=evil,
        host=evil,
        revision=evil,
        conditions=(Condition(Kind.DEGRADED, True, NOW, evil),),
        changes=(Change(NOW, evil, evil, evil),),
        looked_at=NOW,
        found=State(),
    )
    text = page(shown, NOW)
    assert text.count("<script>") == 1
    assert "alert(1)</script>" not in text
    assert text.isprintable() or not re.search(r"[\x00-\x08\x0b-\x1f\u202e]", text)


@pytest.mark.parametrize(
    ("conditions", "word"),
    [
        ([(Kind.SYNCED, True), (Kind.HEALTHY, True), (Kind.DEGRADED, False)], "Synced"),
        ([(Kind.SYNCED, False), (Kind.HEALTHY, True)], "Not synced"),
        ([(Kind.SYNCED, True), (Kind.PENDING, True)], "Pending"),
        ([(Kind.SYNCED, False), (Kind.SUSPENDED, True)], "Suspended"),
        ([(Kind.PENDING, True), (Kind.AWAITING_CONFIRM, True)], "Awaiting confirmation"),
        ([(Kind.AWAITING_CONFIRM, True), (Kind.DEGRADED, True), (Kind.SYNCED, True)], "Degraded"),
        ([(Kind.HEALTHY, False), (Kind.SYNCED, True)], "Not healthy"),
        ([], "Unknown"),
    ],
)
def test_what_matters_most_is_said_first(conditions: list[tuple[Kind, bool]], word: str) -> None:
    shown = Served(
        owner="o", conditions=tuple(Condition(kind, holds, NOW) for kind, holds in conditions), looked_at=NOW
    )
    text = page(shown, NOW)
    assert re.search(r'id="status"><strong>([^<]*)<', text)[1] == word  # type: ignore[index]
    assert re.search(r'id="status"><strong>([^<]*)<', page(shown, NOW + 1000))[1] == "Stale"  # type: ignore[index]


# --- what it refuses -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "get", "X" * 100])
def test_nothing_but_reading_is_taken(server: Server, board: Board, method: str) -> None:
    before = board.snapshot()
    answer = say(server, f"{method} / HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 405 ")
    assert b"Allow: GET, HEAD" in answer
    assert board.snapshot() is before


@pytest.mark.parametrize(
    "host_name",
    ["localhost", "LOCALHOST:80", "127.0.0.1", "127.0.0.1:9", "[::1]", "[::1]:9", "192.0.2.1", "localhost."],
)
def test_an_address_or_localhost_is_answered(server: Server, host_name: str) -> None:
    assert ask(server, "/healthz", Host=host_name).status == 200


@pytest.mark.parametrize(
    "host_name",
    [
        "evil.example",
        "evil.example:80",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "",
        "[",
        "0x7f000001",
        "1.2.3",
    ],
)
def test_a_name_that_nobody_gave_us_is_refused(server: Server, host_name: str) -> None:
    """It may be a page of others' whose name has come to point here (DNS rebinding)."""
    assert ask(server, "/state.json", Host=host_name).status == 421


def test_a_name_that_was_given_is_answered(board: Board) -> None:
    with Server(board, names=["Edge-7.example"]) as server:
        assert ask(server, "/healthz", Host="edge-7.EXAMPLE:9798").status == 200


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", b"421"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", b"421"),
        (b"GET http://localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n", b"400"),
        (b"GET //evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n", b"404"),
        (b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n", b"404"),
        (b"GET /../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", b"404"),
        (b"GET /%2e%2e/etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", b"404"),
        (b"GET / HTTP/9\r\nHost: localhost\r\n\r\n", b"400"),
        (b"nonsense\r\n\r\n", b"400"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"A: b\r\n" * 200 + b"\r\n", b"431"),
        (b"GET /" + b"x" * MAX_HEAD, b"431"),
    ],
)
def test_odd_requests_get_an_error_and_no_more(server: Server, request_text: bytes, status: bytes) -> None:
    answer = say(server, request_text)
    assert answer.split(b" ")[1:2] == [status], answer[:200]
    assert b"Content-Security-Policy" in answer
    assert b"<" not in answer.partition(b"\r\n\r\n")[2]
    assert ask(server, "/healthz").status == 200


def test_a_head_that_does_not_come_is_not_waited_for(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEAD_SECONDS", 0.3)
    assert say(server, b"GET / HTTP/1.1\r\nHost: loc") == b""


def test_there_are_only_so_many_connections(server: Server) -> None:
    idle = []
    try:
        refused = b""
        for _ in range(MAX_CONNECTIONS + 1):
            connection = socket.create_connection(server.server_address[:2], timeout=30)
            idle.append(connection)
        refused = idle[-1].recv(4096)
        assert refused.startswith(b"HTTP/1.1 503 ")
    finally:
        for connection in idle:
            connection.close()
    # As soon as the threads have seen their readers go.
    until(lambda: say(server, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").startswith(b"HTTP/1.1 200 "))


# --- many at once ----------------------------------------------------------------------------------------------------


def test_many_read_while_it_changes_and_each_sees_one_moment(server: Server, board: Board) -> None:
    moments = [served(host(many(count)), many(count)) for count in (1, 2, 3, 4)]

    def read(number: int) -> tuple[int, int]:
        board.show(moments[number % len(moments)])
        text = ask(server, "/state.json").text if number % 2 else ask(server).text
        if number % 2:
            found = json.loads(text)["status"]["found"]
            return found["containers"], found["ports"]
        return len(re.findall(r">c\d+</text>", text)), len(re.findall(r">\d+/tcp</text>", text))

    with ThreadPoolExecutor(16) as readers:
        seen = list(readers.map(read, range(96)))
    assert all(containers == ports and 1 <= containers <= 4 for containers, ports in seen)


def follow(server: Server) -> tuple[socket.socket, Iterator[dict[str, object]]]:
    """A connection to /events, and what comes from it."""
    connection = socket.create_connection(server.server_address[:2], timeout=30)
    connection.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")

    def lines() -> Iterator[dict[str, object]]:
        with connection.makefile("rb") as stream:
            for line in stream:
                if line.startswith(b"data: "):
                    yield json.loads(line.removeprefix(b"data: "))

    return connection, lines()


def test_a_follower_is_told_of_each_change_and_at_first_of_what_is(server: Server, board: Board) -> None:
    connection, events = follow(server)
    with connection:
        first = next(events)
        assert first == {"version": board.snapshot().version, "stale": False}
        board.show(replace(board.snapshot(), revision="b"))
        assert next(events) == {"version": board.snapshot().version, "stale": False}


def test_a_follower_hears_that_there_is_nothing_new(
    server: Server, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BEAT", 0.3)
    connection, events = follow(server)
    with connection:
        assert next(events) == next(events) == next(events)


def test_only_so_many_follow_and_the_others_still_read(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.followers = threading.BoundedSemaphore(2)
    following = [follow(server) for _ in range(2)]
    try:
        assert all(next(events) for _, events in following)
        assert ask(server, "/events").status == 503
        assert ask(server).status == 200
    finally:
        for connection, _ in following:
            connection.close()


def test_followers_are_let_go_of_when_it_closes(board: Board) -> None:
    server = Server(board)
    server.start()
    connection, events = follow(server)
    with connection:
        next(events)
        server.close()
        assert list(events) == []


def test_it_listens_where_it_is_told_to(board: Board) -> None:
    with Server(board, ("::1", 0)) as server:
        assert server.url.startswith("http://[::1]:")
        with socket.create_connection(("::1", server.server_address[1]), timeout=30) as connection:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: [::1]\r\n\r\n")
            assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")
    with Server(board) as server:
        assert server.server_address[0] == "127.0.0.1"
