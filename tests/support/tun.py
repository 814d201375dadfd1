"""TAP devices need /dev/net/tun, which most systems let everyone open and some only root."""

from __future__ import annotations

import os

import pytest

HAVE_TUN = os.access("/dev/net/tun", os.R_OK | os.W_OK)
needs_tun = pytest.mark.skipif(not HAVE_TUN, reason="/dev/net/tun cannot be opened by this user")
