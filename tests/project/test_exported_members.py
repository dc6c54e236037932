"""What a module says it exports, it has, and every module can be imported."""

from __future__ import annotations

import ast
import importlib
import pkgutil
from pathlib import Path

import pytest

import stream_infer

ROOT = Path(stream_infer.__file__).parent
MODULES = sorted(
    module.name for module in pkgutil.walk_packages(stream_infer.__path__, "stream_infer.")
)
PACKAGES = sorted(
    ".".join(("stream_infer", *path.parent.relative_to(ROOT).parts))
    for path in ROOT.rglob("__init__.py")
)


@pytest.mark.parametrize("name", MODULES)
def test_each_module_can_be_imported_and_has_what_it_exports(name: str) -> None:
    module = importlib.import_module(name)
    exported = list(getattr(module, "__all__", []))
    assert len(exported) == len(set(exported))
    assert [member for member in exported if not hasattr(module, member)] == []


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_exports_every_public_name_that_it_takes_from_its_own_modules(name: str) -> None:
    path = ROOT.joinpath(*name.split(".")[1:], "__init__.py")
    taken = re_exported(path.read_text(encoding="utf-8"), name)
    exported = set(getattr(importlib.import_module(name), "__all__", []))
    assert taken <= exported


def test_a_re_export_missing_from_all_is_found() -> None:
    source = "from stream_infer.records.partitioner import place, _hash\nfrom os import path\n"
    assert re_exported(source, "stream_infer.records") == {"place"}


def re_exported(source: str, package: str) -> set[str]:
    """Return the public names that a package's __init__ imports from its own modules."""
    return {
        alias.asname or alias.name
        for node in ast.parse(source).body
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{package}.")
        for alias in node.names
        if not (alias.asname or alias.name).startswith("_")
    }
