"""The page as a reader sees it: in a real Chromium, headless."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from reconciler.errors import PlatformError
from reconciler.kernel.live import LiveKernel
from reconciler.scratch import enter
from reconciler.watch.served import Board, Condition, Kind
from reconciler.watch.server import Server
from tests.laws.doing import apply
from tests.render.pictures import desired, host, many, without
from tests.support import chromium
from tests.support.chromium import Browser, Page
from tests.watch.shown import NOW, served

pytestmark = pytest.mark.skipif(chromium.program() is None, reason="Chromium is not installed (Debian: chromium)")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One for all, and for it and them a network of their own (without one, that of this machine's loopback will do)."""
    with contextlib.suppress(PlatformError):
        enter()
    with Browser(tmp_path_factory.mktemp("chromium")) as running:
        yield running


@pytest.fixture
def page(browser: Browser) -> Page:
    """A page of its own, of the size of a desk."""
    page = browser.page()
    page.look(1440)
    return page


@pytest.fixture
def board() -> Board:
    """An agent whose host is as the file says."""
    return Board(served(host(many(2)), many(2)))


@pytest.fixture
def server(board: Board) -> Iterator[Server]:
    """It, served."""
    with Server(board, clock=lambda: NOW) as running:
        yield running


CARDS = "[...document.querySelectorAll('.group-container .name')].map((one) => one.textContent)"
STATUS = "document.querySelector('#status strong').textContent"
FOLLOWS = "document.getElementById('following').textContent.startsWith('It follows')"


def test_it_loads_with_no_complaint_and_asks_nobody_else(page: Page, server: Server) -> None:
    page.go(server.url)
    page.until(FOLLOWS)
    assert page.tell(CARDS) == ["c0", "c1"]
    assert page.tell(STATUS) == "Synced"
    assert page.tell("document.title") == "Synced · edge-7"
    assert page.complaints == []
    assert all(address.startswith(server.url) for address in page.requests)
    assert page.tell("performance.getEntriesByType('navigation').length") == 1


def test_it_follows_a_change_without_being_loaded_anew(page: Page, server: Server, board: Board) -> None:
    page.go(server.url)
    page.tell("window.same = true")
    page.tell("document.getElementById('as-text').open = true")
    board.show(served(host(many(2)), many(3)))
    page.until(f"{STATUS} === 'Not synced'")
    assert page.tell(CARDS) == ["c0", "c1", "c2"]
    assert page.tell("document.querySelector('.group-container rect.is-missing') !== null")
    assert "missing" in page.tell("document.querySelector('#picture').textContent")
    assert "container c2" in page.tell("document.querySelector('.drift').textContent")
    board.show(served(host(many(3)), many(3)))
    page.until(f"{STATUS} === 'Synced'")
    assert not page.tell("document.querySelector('.is-missing') !== null")
    assert page.tell("window.same && document.getElementById('as-text').open")
    assert page.tell("document.getElementById('live').textContent").startswith("Synced")
    assert page.complaints == []


def test_drift_of_a_real_kernel_shows_and_goes(page: Page) -> None:
    document = many(2)
    with LiveKernel() as kernel:
        apply(kernel, desired(document))
        board = Board(served(kernel, document))
        with Server(board, clock=lambda: NOW) as server:
            page.go(server.url)
            assert page.tell(STATUS) == "Synced"
            lost = next(
                key for key in board.snapshot().found.resources if key.space == "address" and key.namespace == "c1"
            )
            kernel.submit(list(board.snapshot().found.resources[lost].delete()))
            board.show(served(kernel, document))
            page.until(f"{STATUS} === 'Not synced'")
            assert page.tell("document.querySelector('text.is-missing').textContent") == "10.88.0.11/16"
            apply(kernel, desired(document))
            board.show(served(kernel, document))
            page.until(f"{STATUS} === 'Synced'")


def test_it_says_when_it_has_lost_the_agent_and_finds_it_again(page: Page, board: Board) -> None:
    server = Server(board, clock=lambda: NOW)
    server.start()
    port = server.server_address[1]
    page.go(server.url)
    page.until(FOLLOWS)
    assert page.tell("document.getElementById('lost').hidden")
    server.close()
    page.until("!document.getElementById('lost').hidden")
    assert "What is below is as it was at" in page.tell("document.getElementById('lost').textContent")
    board.show(replace(board.snapshot(), revision="the next"))
    with Server(board, ("127.0.0.1", port), clock=lambda: NOW):
        page.until("document.getElementById('lost').hidden && document.body.textContent.includes('the next')")


def test_it_says_when_the_agent_looks_at_the_kernel_no_more(page: Page, board: Board) -> None:
    now = [NOW]
    with Server(board, clock=lambda: now[0]) as server:
        page.go(server.url)
        assert page.tell(STATUS) == "Synced"
        now[0] += 1000
        page.until(f"{STATUS} === 'Stale'")


def test_without_scripts_it_shows_all(page: Page, server: Server) -> None:
    page.look(1440, script=False)
    page.go(server.url)
    tree = page.call("DOM.getDocument", depth=-1)["root"]
    html = page.call("DOM.getOuterHTML", nodeId=tree["nodeId"])["outerHTML"]
    assert ">c1</text>" in html
    assert "Without a script it reloads itself" in html
    assert page.complaints == []


WIDER = """(() => {
  const bad = [];
  for (const group of document.querySelectorAll('[class^=group-]')) {
    const box = group.querySelector('rect:is(.container,.vm,.port,.bridge,.plug,.remark)');
    for (const text of group.querySelectorAll('text')) {
      if (!box) continue;
      const [outer, inner] = [box.getBBox(), text.getBBox()];
      const beside = inner.y + inner.height <= outer.y || inner.x >= outer.x + outer.width;
      if (!beside && (inner.x < outer.x || inner.x + inner.width > outer.x + outer.width + 0.5)) bad.push(text.textContent);
    }
  }
  return bad;
})()"""

LONG: dict[str, Any] = {
    "version": 1,
    "bridges": {
        "br-wwwwwwwwwwww": {
            "addresses": ["10.88.0.1/24", "2001:db8:1234:5678:9abc:def0:1234:1/64"],
            "containers": {
                "W" * 60: {"addresses": ["10.88.0.10"], "attach": {"netns": "W" * 50}},
                "web": {
                    "addresses": ["10.88.0.11", "2001:db8:1234:5678:9abc:def0:1234:5678"],
                    "ports": [
                        "[2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff]:60000-60010:60000-60010/sctp",
                        "127.0.0.1:8443:443",
                    ],
                },
                "db": {"addresses": ["10.88.0.12"], "mtu": 1400},
                "later": {"addresses": ["10.88.0.13"], "attach": {"docker": "m" * 60}},
            },
        },
    },
}


@pytest.mark.parametrize(("width", "dark"), [(1440, False), (1440, True), (390, False), (800, True)])
def test_no_text_is_wider_than_its_box_at_any_size(page: Page, width: int, dark: bool) -> None:
    """With the fonts that this machine has: the estimate (reconciler.render.metrics) is held to them."""
    with Server(Board(served(host(), LONG)), clock=lambda: NOW) as server:
        page.look(width, dark=dark)
        page.go(server.url)
        page.until(FOLLOWS)
        assert page.tell(WIDER) == []
        assert page.tell("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_light_and_dark_are_the_reader_s_choice(page: Page, server: Server) -> None:
    papers = []
    for dark in (False, True):
        page.look(1440, dark=dark)
        page.go(server.url)
        papers.append(page.tell("getComputedStyle(document.body).backgroundColor"))
        papers.append(page.tell("getComputedStyle(document.querySelector('.paper')).fill"))
    assert papers[0] == papers[1] != papers[2] == papers[3]


def test_names_of_others_run_nothing(page: Page) -> None:
    evil = '<img src=x onerror="window.hit=1"></script><script>window.hit=1</script>'
    document = many(1)
    shown = served(host(document), document, host=evil, revision=evil)
    shown = replace(shown, conditions=(Condition(Kind.DEGRADED, True, NOW, evil),))
    with Server(Board(shown), clock=lambda: NOW) as server:
        page.go(server.url)
        page.until(FOLLOWS)
        assert page.tell("window.hit") is None
        assert evil in page.tell("document.querySelector('#status').textContent")
        assert page.complaints == []


def test_a_script_that_is_not_ours_is_refused_by_the_policy(page: Page, server: Server) -> None:
    page.go(server.url)
    page.tell(
        "const one = document.createElement('img'); one.src = 'http://192.0.2.1/x.png'; document.body.append(one)"
    )
    page.until("document.querySelector('img')")
    assert page.tell("fetch('http://192.0.2.1/').then(() => 'let', () => 'refused')") == "refused"
    assert any("Content Security Policy" in told for told in page.complaints)


def test_the_picture_alone_is_shown_too(page: Page, server: Server) -> None:
    page.go(f"{server.url}picture.svg")
    assert page.tell("document.documentElement.tagName") == "svg"
    assert page.complaints == []


def test_a_thousand_containers_are_a_page(page: Page) -> None:
    document = many(1000)
    state = desired(document)
    shown = served(host(many(1)), many(1))
    with Server(Board(replace(shown, found=state, desired=state)), clock=lambda: NOW) as server:
        page.go(server.url)
        page.until(FOLLOWS)
        assert "and 850 more" in page.tell("document.querySelector('#picture').textContent")
        assert page.complaints == []


def test_what_is_gone_from_the_host_is_marked_in_the_picture(page: Page) -> None:
    document = many(2)
    kernel = without(str(host(document)), "address 10.88.0.1/16 on br-web")
    with Server(Board(served(kernel, document)), clock=lambda: NOW) as server:
        page.go(server.url)
        assert "10.88.0.1/16 (missing)" in page.tell("document.querySelector('.group-bridge').textContent")
