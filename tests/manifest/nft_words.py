"""Whether a text for nftables says what it is meant to say, and no more: whatever a file has in its names, it is inside of quotes."""

from __future__ import annotations

import re
from collections.abc import Iterable

from reconciler.core.messages import Nft, NftElement, Request
from reconciler.core.resource import State
from reconciler.kinds.layout import BRIDGE_CHAINS, BRIDGE_SETS, CHAINS, SETS
from reconciler.kinds.marks import tables

_QUOTED = r'"[^"\\\x00-\x1f\x7f]+"'
"""What nft's scanner takes for one string: all up to the next quote. There is no escape in it (scanner.l, `quotedstring`)."""
_WORD = r"[0-9a-z][0-9a-z.:/-]*"
_KEY = rf"(?:{_QUOTED}|{_WORD})(?: \. (?:{_QUOTED}|{_WORD}))*"
_DATA = rf"accept|drop|goto only_(?:published|open)|{_KEY}"
_ELEMENT = re.compile(rf"{_KEY}(?: timeout \d+s)?(?: comment {_QUOTED})?(?: : (?:{_DATA}))?")
_NAMES = {item.name for item in (*SETS, *BRIDGE_SETS)} | {chain.name for chain in (*CHAINS, *BRIDGE_CHAINS)}
_RULES = {rule.text for chain in (*CHAINS, *BRIDGE_CHAINS) for rule in chain.rules}
_COMMAND = re.compile(
    r"(?:add|delete|flush) (?:table|set|map|chain|rule) ((?:inet|bridge) [\w.-]+)(?: (\w+)(?: (.*))?)?"
)
_BODY = re.compile(
    r"\{ type [\w. :]+; (?:flags [\w, ]+; )?\}|\{ type \w+ hook \w+ priority -?\d+; policy accept; \}",
)
_COMMENT_BYTES = 128
"""NFTNL_UDATA_COMMENT_MAXLEN, with the end of the string."""


def misread(owner: str, requests: Iterable[Request]) -> list[str]:
    """Those texts that could be read as anything else than one element, or one of the table's own parts."""
    return [item.text for item in requests if isinstance(item, Nft | NftElement) and not _is_right(owner, item)]


def _is_right(owner: str, request: Nft | NftElement) -> bool:
    if isinstance(request, NftElement):
        comments = re.findall(rf" comment ({_QUOTED})", request.text)
        short = all(len(comment.encode()) - 2 < _COMMENT_BYTES for comment in comments)
        place = request.table in tables(owner) and request.set in _NAMES
        return place and short and _ELEMENT.fullmatch(request.text) is not None
    found = _COMMAND.fullmatch(request.text)
    if found is None or found[1] not in tables(owner) or found[2] not in (None, *_NAMES):
        return False
    rest = found[3] or ""
    return not rest or _BODY.fullmatch(rest) is not None or rest.partition(' comment "')[0] in _RULES


def requests_of(state: State) -> list[Request]:
    """All that is ever sent for what is in `state`: when it comes, and when it goes."""
    return [
        request
        for item in state.resources.values()
        for requests in (item.create(), item.delete())
        for request in requests
    ]
