"""constraints.txt pins what pyproject.toml asks for, with hashes and without addresses."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "constraints.txt").read_text(encoding="utf-8")
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
ENTRY = re.compile(r"^(?P<pin>[^\s#][^\\\n]*)(?P<hashes>(?:\\\n\s+--hash=\S+\s*)*)", re.MULTILINE)
PYTHONS = ("3.11", "3.12", "3.13")


def asked_for() -> list[str]:
    groups = [
        PROJECT["project"]["dependencies"],
        *PROJECT["project"]["optional-dependencies"].values(),
        *PROJECT["dependency-groups"].values(),
    ]
    return sorted({requirement for group in groups for requirement in group})


def pinned_for(name: str, python: str) -> list[str]:
    """Return the versions that are installed for a package on Linux with this Python."""
    environment = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "sys_platform": "linux",
        "platform_python_implementation": "CPython",
    }
    pins = (Requirement(match["pin"].strip()) for match in ENTRY.finditer(TEXT))
    return [
        str(pin.specifier).removeprefix("==")
        for pin in pins
        if canonicalize_name(pin.name) == canonicalize_name(name)
        and (pin.marker is None or pin.marker.evaluate(environment))
    ]


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("requirement", asked_for())
def test_each_requirement_is_pinned_once_to_a_version_that_fits(
    requirement: str, python: str
) -> None:
    wanted = Requirement(requirement)
    pins = pinned_for(wanted.name, python)
    assert len(pins) == 1, f"{wanted.name} is pinned {len(pins)} times; run make lock"
    assert wanted.specifier.contains(pins[0])


def pins_of(file: str) -> set[str]:
    text = (ROOT / file).read_text(encoding="utf-8")
    assert "--hash=sha256:" in text
    return {match["pin"].strip() for match in ENTRY.finditer(text)}


def test_the_image_is_built_from_the_same_versions_without_extras() -> None:
    inside, everything = pins_of("deploy/constraints.txt"), pins_of("constraints.txt")
    assert inside < everything
    names = {Requirement(pin).name for pin in inside}
    asked = {Requirement(text).name for text in PROJECT["project"]["dependencies"]}
    assert asked <= names
    assert names.isdisjoint({"jgo", "lightgbm", "mypy", "pytest"})


def test_each_pin_is_exact_and_carries_sha256_hashes() -> None:
    entries = list(ENTRY.finditer(TEXT))
    assert len(entries) > len(PROJECT["project"]["dependencies"])
    for entry in entries:
        assert re.match(r"[A-Za-z0-9._-]+==[^\s;*]+", entry["pin"]), entry["pin"]
        hashes = re.findall(r"--hash=(\S+)", entry["hashes"])
        assert hashes, entry["pin"]
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", each) for each in hashes)


@pytest.mark.parametrize("file", ["constraints.txt", "deploy/constraints.txt"])
def test_no_download_address_and_no_index_is_named(file: str) -> None:
    text = (ROOT / file).read_text(encoding="utf-8")
    assert re.findall(r"://|@\s|index-url|find-links|trusted-host", text) == []


def test_no_package_has_another_version_for_another_python() -> None:
    names = [Requirement(pin).name for pin in pins_of("constraints.txt")]
    assert sorted(names) == sorted(set(names))
