"""The page that shows where everything is names only what is there, and all parts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "stream_infer"
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
FOLDERS = sorted(path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file())
NAMED = sorted(set(re.findall(rf"\b(?:{'|'.join(FOLDERS)})/[a-z_]+\b", PAGE)))


@pytest.mark.parametrize("name", NAMED)
def test_each_module_that_the_page_names_exists(name: str) -> None:
    path = PACKAGE / name
    assert path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


@pytest.mark.parametrize("folder", FOLDERS)
def test_each_package_stands_on_the_page(folder: str) -> None:
    assert re.search(rf"\b{folder}\b", PAGE)


def test_the_page_names_the_modules_of_every_step() -> None:
    steps = ("dataplane", "events", "records", "windows", "features", "scoring")
    assert {name.split("/")[0] for name in NAMED} >= set(steps)
