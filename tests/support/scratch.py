"""The scratch namespaces of `reconciler.scratch`, under the names that tests use."""

from __future__ import annotations

from reconciler.errors import PlatformError as ScratchUnavailable
from reconciler.scratch import CLONE_NEWNET, link_up, setns, unshare
from reconciler.scratch import enter as enter_scratch

__all__ = ["CLONE_NEWNET", "ScratchUnavailable", "enter_scratch", "link_up", "setns", "unshare"]
