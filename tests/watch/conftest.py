"""Hosts of their own for the agent, as the commands' tests have them."""

from __future__ import annotations

from tests.cli.conftest import host

__all__ = ["host"]
