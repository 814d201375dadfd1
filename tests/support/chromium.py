"""A real Chromium, headless, by the Chrome DevTools Protocol over a pipe (--remote-debugging-pipe): no port, no driver, no library.

https://chromedevtools.github.io/devtools-protocol/
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import queue
import shutil
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

PATIENCE = 60.0
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_OPTIONS = (
    "--headless",
    # It is in namespaces of the test's, where its own sandbox cannot be made; and it sees nothing but our page.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    "--no-proxy-server",
    "--remote-debugging-pipe",
)


def program() -> str | None:
    """The path of the browser, if there is one."""
    return next(filter(None, map(shutil.which, _NAMES)), None)


class Browser:
    """The browser, as a context manager: there when entered, gone when left. `folder` is for its profile."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = iter(range(1, 1_000_000))
        self._answers: dict[int, queue.Queue[dict[str, Any]]] = {}
        self._listeners: dict[str, Callable[[str, dict[str, Any]], None]] = {}

    def __enter__(self) -> Browser:
        path = program()
        assert path is not None
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()
        # Above the numbers that the browser wants, so that none is overwritten before it is used.
        high = [fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, 10) for one in (theirs_in, theirs_out)]
        log = str(self._folder / "log")
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
            (os.POSIX_SPAWN_DUP2, high[0], 3),
            (os.POSIX_SPAWN_DUP2, high[1], 4),
        ]
        command = [path, *_OPTIONS, f"--user-data-dir={self._folder / 'profile'}", "about:blank"]
        environment = os.environ | {"HOME": str(self._folder)}
        self._pid = os.posix_spawn(path, command, environment, file_actions=actions, setpgroup=0)
        for one in (theirs_in, theirs_out, *high):
            os.close(one)
        self._out = open(ours_out, "wb", buffering=0)
        self._reader = threading.Thread(target=self._read, args=(ours_in,), daemon=True)
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.killpg(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        self._out.close()
        self._reader.join(PATIENCE)

    def page(self) -> Page:
        """A new page."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        return Page(self, session)

    def listen(self, session: str, listener: Callable[[str, dict[str, Any]], None]) -> None:
        """Calls `listener` with the name and parameters of each event of a page."""
        self._listeners[session] = listener

    def call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """What the browser answers."""
        number = next(self._numbers)
        self._answers[number] = queue.Queue()
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        self._out.write(json.dumps(message).encode() + b"\0")
        try:
            answer = self._answers[number].get(timeout=PATIENCE)
        except queue.Empty:
            said = (self._folder / "log").read_text(errors="replace")[-2000:]
            raise AssertionError(f"{method} is not answered; the browser said: {said}") from None
        assert "error" not in answer, f"{method}: {answer['error']}"
        result: dict[str, Any] = answer["result"]
        return result

    def _read(self, descriptor: int) -> None:
        with open(descriptor, "rb", buffering=0) as stream:
            rest = b""
            while part := stream.read(65536):
                *messages, rest = (rest + part).split(b"\0")
                for message in map(json.loads, messages):
                    if "id" in message:
                        self._answers[message["id"]].put(message)
                    elif listener := self._listeners.get(message.get("sessionId", "")):
                        listener(message["method"], message["params"])


class Page:
    """A page. `requests` are the addresses that it asked for, `complaints` what stood in its console."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser, self._session = browser, session
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self._loaded = threading.Event()
        browser.listen(session, self._heard)
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command of the protocol."""
        return self._browser.call(method, self._session, **parameters)

    def go(self, address: str) -> None:
        """Opens the address, and waits until it has loaded."""
        self._loaded.clear()
        answer = self.call("Page.navigate", url=address)
        assert "errorText" not in answer, answer
        assert self._loaded.wait(PATIENCE), f"{address} does not load"

    def tell(self, expression: str) -> Any:
        """The value of an expression of JavaScript, or what the promise comes to that it is."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, expression: str) -> None:
        """Waits until the expression is true, looked at whenever the page changes."""
        self.tell(
            f"""new Promise((resolve) => {{
              const holds = () => {{ try {{ return Boolean({expression}); }} catch {{ return false; }} }};
              if (holds()) return resolve(true);
              const watch = new MutationObserver(() => holds() && (watch.disconnect(), resolve(true)));
              watch.observe(document, {{subtree: true, childList: true, attributes: true, characterData: true}});
            }})"""
        )

    def look(self, width: int, height: int = 900, *, dark: bool = False, script: bool = True) -> None:
        """From now on the window has this size, and the reader this taste."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        taste = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=taste)
        self.call("Emulation.setScriptExecutionDisabled", value=not script)

    def photograph(self, path: Path) -> None:
        """The whole page as a PNG."""
        answer = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(answer["data"]))

    def _heard(self, event: str, told: dict[str, Any]) -> None:
        match event:
            case "Page.loadEventFired":
                self._loaded.set()
            case "Network.requestWillBeSent":
                self.requests.append(told["request"]["url"])
            case "Runtime.exceptionThrown":
                self.complaints.append(str(told["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if told["type"] in ("error", "warning", "assert"):
                self.complaints.append(str(told["args"]))
            case "Log.entryAdded" if told["entry"]["level"] in ("error", "warning"):
                self.complaints.append(str(told["entry"]))
