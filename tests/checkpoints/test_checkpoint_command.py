"""``stream-infer checkpoint``: what there is, and whether it is whole."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from stream_infer.checkpoints.folder import FolderStore
from stream_infer.checkpoints.manifest import Manifest
from stream_infer.features.plan import compile_plan
from stream_infer.pipelines.fraud import pipeline as fraud
from support.checkpoints import state_of, written
from support.commands import run_command


@pytest.fixture
def kept(tmp_path: Path) -> list[Manifest]:
    async def write() -> list[Manifest]:
        store = FolderStore(tmp_path, "fraud")
        current = compile_plan(fraud).stages[0].features_version
        facts = {"pipeline": "fraud", "topic": "transactions", "stage": "customer"}
        return [
            await written(store, state_of(30), 30, fingerprint=current, **facts),
            await written(store, state_of(60), 60, **facts),
        ]

    return asyncio.run(write())


def url(folder: Path) -> str:
    return f"--store=file://{folder}"


def test_the_list_says_what_there_is_and_what_fits(tmp_path: Path, kept: list[Manifest]) -> None:
    (tmp_path / "fraud" / "customer" / "transactions-0" / "broken.json").write_text("{")
    ran = run_command("checkpoint", "list", "fraud", "--json", url(tmp_path))
    assert ran.code == 0
    said = [
        (each["id"], each["offset"], each["chunks"], each["current"])
        for each in ran.json["checkpoints"]
    ]
    assert said == [(kept[1].id, 60, 1, False), (kept[0].id, 30, 1, True)]
    assert [each["name"] for each in ran.json["unreadable"]] == ["broken.json"]


def test_one_is_shown_by_the_first_digits_of_its_id(tmp_path: Path, kept: list[Manifest]) -> None:
    ran = run_command("checkpoint", "show", "fraud", "--json", kept[0].id[:20], url(tmp_path))
    assert ran.code == 0
    assert (ran.json["id"], ran.json["declared_start"]) == (kept[0].id, 0)
    assert run_command("checkpoint", "show", "fraud", "--json", "nope", url(tmp_path)).code == 3
    assert run_command("checkpoint", "show", "fraud", "--json", "", url(tmp_path)).code == 3


def test_verifying_reads_to_the_end_and_fails_for_a_damaged_one(
    tmp_path: Path, kept: list[Manifest]
) -> None:
    ran = run_command("checkpoint", "verify", "fraud", "--json", url(tmp_path))
    assert ran.code == 0
    assert [each["whole"] for each in ran.json["checkpoints"]] == [True, True]
    [path] = tmp_path.rglob(f"*{kept[1].id}.chunks")
    path.write_bytes(path.read_bytes()[:-1])
    ran = run_command("checkpoint", "verify", "fraud", "--json", url(tmp_path))
    assert ran.code == 6
    assert [each["whole"] for each in ran.json["checkpoints"]] == [False, True]
    assert "chunk 0" in ran.json["checkpoints"][0]["reason"]
    assert (
        run_command("checkpoint", "verify", "fraud", "--json", kept[0].id, url(tmp_path)).code == 0
    )


@pytest.mark.parametrize(
    ("where", "code"), [("file://relative", 2), ("s3://bucket", 2), ("file:///nowhere-at-all", 3)]
)
def test_a_place_that_is_none_is_named(where: str, code: int) -> None:
    ran = run_command("checkpoint", "list", "fraud", "--json", f"--store={where}")
    assert ran.code == code
    assert ran.json["error"]["fix"]
