"""What crosses to the kernel is counted here, and a read-only transport is stopped here.

Every function of this package that makes a writing system call asks the Meter right before it, with the
very bytes or arguments that it is about to pass. A dry run is a transport whose Meter refuses: it cannot
write even when the code above it is wrong.
"""

from __future__ import annotations

from collections import Counter

from reconciler.errors import RefusedError


class ReadOnlyError(RefusedError):
    """A read-only transport was asked to write.

    Nothing was written; that it was asked is a mistake of the program.
    """


class Meter:
    """Counts messages by type name, and refuses those that write when `read_only`."""

    def __init__(self, *, read_only: bool = False) -> None:
        self.read_only = read_only
        self.sent: Counter[str] = Counter()
        self.written = 0

    def read(self, name: str) -> None:
        """Count a message that cannot change anything."""
        self.sent[name] += 1

    def write(self, name: str) -> None:
        """Count a message that changes the kernel. Raises ReadOnlyError instead when that is not allowed."""
        if self.read_only:
            raise ReadOnlyError(f"a read-only run was about to send {name}; this is a mistake in reconcile itself")
        self.sent[name] += 1
        self.written += 1
