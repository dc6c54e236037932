"""Whoever reads a line of a worker's log finds its word in the docs."""

from __future__ import annotations

import ast
from pathlib import Path

import stream_infer

ROOT = Path(stream_infer.__file__).parent
DOCS = ROOT.parent / "docs"
SAID = frozenset({"info", "warning", "error"})
"""Below them stands what only a developer asks for."""


def words_of(source: str) -> set[str]:
    """Return the words of ``log.info("word", …)`` and its like in a module."""
    return {
        str(call.args[0].value)
        for call in ast.walk(ast.parse(source))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr in SAID
        and isinstance(call.func.value, ast.Name)
        and call.func.value.id == "log"
        and call.args
        and isinstance(call.args[0], ast.Constant)
    }


def test_each_word_that_is_logged_stands_in_the_docs() -> None:
    documented = "".join(page.read_text(encoding="utf-8") for page in DOCS.glob("*.md"))
    missing = {
        f"{word} ({path.relative_to(ROOT)})"
        for path in ROOT.rglob("*.py")
        for word in words_of(path.read_text(encoding="utf-8"))
        if f"`{word}`" not in documented
    }
    assert missing == set()


def test_words_are_found_however_a_call_is_written() -> None:
    source = 'log.info("a", x=1)\nlog.warning(\n  "b",\n)\nlog.debug("c")\nother.error("d")\n'
    assert words_of(source) == {"a", "b"}
