"""What nft(8) lists, to compare."""

from __future__ import annotations

import json
from typing import Any


def without_handles(value: Any) -> Any:
    """`value`, without the numbers that the kernel counts on and what goes by itself."""
    if isinstance(value, dict):
        # Elements with a timeout go by themselves.
        left_out = {"handle", "index", *(["elem"] if "timeout" in value.get("flags", ()) else [])}
        return {key: without_handles(item) for key, item in value.items() if key not in left_out}
    if isinstance(value, list):
        items = [without_handles(item) for item in value]
        return sorted(items, key=json.dumps) if all(isinstance(item, list | dict | str) for item in items) else items
    return value
