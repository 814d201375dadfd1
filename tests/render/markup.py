"""What a comment comes to when it is read as Markdown: only the marks that we make ourselves."""

from __future__ import annotations

import html
import re
from typing import NamedTuple

from markdown_it import MarkdownIt

READER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
OURS = re.compile(
    r"(<!-- reconcile(:[A-Za-z0-9._~%-]*)? -->\n?"
    r"|<details( open)?><summary>(<code>(?P<name>[^<>]*)</code> [-+~±? \d]*|(?P<title>[A-Za-z,()= -]+))</summary>\n?"
    r"|</details>\n?)+"
)
BLOCKS = {"heading", "paragraph", "bullet_list", "list_item", "fence", "html_block", "inline"}
WITHIN = {"text", "code_inline", "strong", "softbreak"}
READ_INTO_TEXT = re.compile(r"@\w|#\d|\w://|www\.", re.IGNORECASE)
"""What GitHub makes something of, in text that is not code."""


class Read(NamedTuple):
    """The words of a comment: of its fenced blocks the lines, of what folds the titles, and all else that is said."""

    fenced: list[str]
    titles: list[str]
    said: list[str]


def read(comment: str) -> Read:
    """`comment` read. Raises AssertionError if there is anything in it that we do not write ourselves."""
    result = Read([], [], [])
    for token in READER.parse(comment):
        assert token.type.removesuffix("_open").removesuffix("_close") in BLOCKS, token
        if token.type == "fence":
            assert token.info == "diff"
            result.fenced.extend(token.content.splitlines())
        elif token.type == "html_block":
            assert OURS.fullmatch(token.content), token.content
            result.titles.extend(map(html.unescape, re.findall(r"<summary>(.*)</summary>", token.content)))
        for child in token.children or ():
            assert child.type.removesuffix("_open").removesuffix("_close") in WITHIN, child
            assert child.type != "text" or not READ_INTO_TEXT.search(child.content), child.content
        if token.type == "inline":
            result.said.append("".join(child.content for child in token.children or ()).replace("\u200b", ""))
    return result
