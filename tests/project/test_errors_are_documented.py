"""Whoever meets an error finds its code, its cause and its fix in the docs."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import stream_infer

ROOT = Path(stream_infer.__file__).parent
DOCS = ROOT.parent / "docs"
AGAIN = "run: python docs/make_errors.py"


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_errors", DOCS / "make_errors.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def entries(maker: ModuleType) -> dict[str, Any]:
    found: dict[str, Any] = maker.errors()
    assert found
    return found


def test_each_code_that_is_raised_has_an_entry_and_no_entry_is_of_a_code_that_is_not(
    entries: dict[str, Any],
) -> None:
    page = (DOCS / "errors.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^- `(\w+)`", page, re.MULTILINE))
    raised = set(entries)
    assert raised - documented == set(), AGAIN
    assert documented - raised == set(), AGAIN


def test_each_entry_says_a_cause(entries: dict[str, Any]) -> None:
    silent = {code for code, entry in entries.items() if not entry.said}
    assert silent == set(), "their words are put together where the script cannot see them"


def test_each_entry_stands_in_a_group_of_its_own_words(
    maker: ModuleType, entries: dict[str, Any]
) -> None:
    lost = {
        module
        for entry in entries.values()
        for module in entry.modules
        if not any(module.startswith(start) for _, starts in maker.GROUPS for start in starts)
    }
    assert lost == set(), "name them in GROUPS of docs/make_errors.py"


def test_errors_are_found_however_they_are_raised(maker: ModuleType) -> None:
    source = """
CODE = "by_constant"

def helper(code, message, *, fix):
    return ConfigError(code, message, fix)

def raising(number):
    if number == 1:
        code, other = "unseen", 0
        fix = "first"
    word = "by_branch_a" if number else "by_branch_b"
    raise NotFoundError(word, f"{number} is missing", "look")
    raise helper("by_helper", "why", fix="how")
    raise UsageError(code="by_keyword", message="why" + "not", fix="how")
    raise BrokerError(CODE, "why")
"""
    found = {each[0]: each[1:] for each in maker._Module(ast.parse(source)).raised()}
    assert found == {
        "by_branch_a": ("NotFoundError", "… is missing", "look"),
        "by_branch_b": ("NotFoundError", "… is missing", "look"),
        "by_helper": ("ConfigError", "why", "how"),
        "by_keyword": ("UsageError", "whynot", "how"),
        "by_constant": ("BrokerError", "why", ""),
    }
