"""Telling systemd how it goes: sd_notify(3) and its watchdog. Without systemd nothing is told, and all works as well."""

from __future__ import annotations

import os
import socket
import time


class Notifier:
    """The service manager, if there is one (NOTIFY_SOCKET)."""

    def __init__(self) -> None:
        self._address = os.environ.get("NOTIFY_SOCKET", "")
        watched = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        microseconds = os.environ.get("WATCHDOG_USEC", "")
        # Half of it, as sd_watchdog_enabled(3) advises.
        self.interval = int(microseconds) / 2_000_000 if watched and microseconds.isdigit() else None
        """Seconds between two signs of life; None if nobody waits for them."""

    def __call__(self, *lines: str) -> None:
        """Tells the service manager `lines`, such as READY=1."""
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as told:
                told.sendto("\n".join(lines).encode(), address)
        except OSError:
            # It will find out by itself; there is nobody else to tell.
            return

    def ready(self, status: str) -> None:
        """The work has begun."""
        self("READY=1", f"STATUS={status}")

    def status(self, status: str) -> None:
        """How it goes, for `systemctl status`."""
        self(f"STATUS={status}")

    def reloading(self) -> None:
        """Everything is looked at anew (Type=notify-reload)."""
        self("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def alive(self) -> None:
        """A sign of life."""
        self("WATCHDOG=1")

    def stopping(self) -> None:
        """The end is near."""
        self("STOPPING=1")
