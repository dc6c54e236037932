"""What `init` writes runs, and after two edited lines scores a user's JSON with their ONNX file.

The user's JSON has other names, nested places and seconds instead of milliseconds; their model is
one ONNX file and nothing beside it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from stream_infer.pipelines.loading import load_pipeline
from support.commands import run_command
from support.documents import ROOT
from support.kafka import aproduce, aread_all, unique
from support.onnx_models import logistic_model
from support.worker import make_topics, settle, worker_process

FEATURES = 9
WEIGHTS = np.linspace(0.01, -0.001, FEATURES, dtype=np.float32)[:, None]
START_S = 1_767_600_000


def new_project(folder: Path) -> tuple[Path, str]:
    place = folder / unique("shop")
    made = run_command("init", str(place), "--json")
    assert made.code == 0
    return place, made.json["pipeline"]


def user_event(number: int) -> bytes:
    event = {
        "id": f"o-{number}",
        "created": START_S + 60 * number,
        "user": {"id": f"u-{number % 3}"},
        "payment": {"total": 15.5 if number % 2 else 400.0},
    }
    return json.dumps(event).encode()


def edit_line(file: Path, begins: str, line: str) -> None:
    lines = file.read_text().splitlines()
    [place] = [number for number, text in enumerate(lines) if text.startswith(begins)]
    lines[place] = line
    file.write_text("\n".join(lines) + "\n")


def documented_lines() -> list[str]:
    """Return the two lines that the document shows."""
    text = (ROOT / "docs" / "own-pipeline.md").read_text(encoding="utf-8")
    [block] = re.findall(r"^```toml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return list(block.splitlines())


def edited_for_the_user(place: Path) -> Path:
    """Edit the two lines as the document shows them."""
    config = place / "stream-infer.toml"
    fields, path = documented_lines()
    edit_line(config, "fields =", fields)
    edit_line(config, "# path =", path)
    (place / "mine.onnx").write_bytes(logistic_model(weights=WEIGHTS))
    return config


@pytest.mark.kafka
async def test_two_edited_lines_score_a_user_s_json_with_their_onnx_file(
    kafka: str, tmp_path: Path
) -> None:
    place, name = new_project(tmp_path)
    config = edited_for_the_user(place)
    file = place / "pipeline.py"
    pipeline = load_pipeline(str(file))
    await make_topics(kafka, pipeline, 1)
    await aproduce(
        kafka, f"{name}-events", [(b"u", user_event(number), 0, ()) for number in range(9)]
    )
    options = ("--config", str(config), "--publish-features")
    async with worker_process(file, kafka, *options) as worker:
        await settle(kafka, pipeline, worker.alive)
    scored = [
        json.loads(record.value or b"") for record in await aread_all(kafka, f"{name}-scored")
    ]
    assert [event["order_id"] for event in scored] == [f"o-{number}" for number in range(9)]
    assert {event["model"] for event in scored} == {"mine"}
    for event in scored:
        row = np.array(list(event["features"].values()), np.float32)
        expected = 1 / (1 + np.exp(-float(row @ WEIGHTS[:, 0])))
        assert event["score"] == pytest.approx(expected, abs=1e-6)
        decided = "decline" if expected >= 0.9 else "review" if expected >= 0.5 else "approve"
        assert event["decision"] == decided
    assert len({event["decision"] for event in scored}) > 1


def test_as_it_is_it_computes_features_of_the_events_that_come_with_it(tmp_path: Path) -> None:
    place, _name = new_project(tmp_path)
    out = tmp_path / "features.csv"
    ran = run_command("features", place / "pipeline.py", place / "events.jsonl", out)
    assert ran.code == 0
    rows = out.read_text().splitlines()
    assert len(rows) == 11
    assert len(rows[0].split(",")) == 2 + FEATURES


def test_as_it_is_every_check_that_needs_no_kafka_passes(tmp_path: Path) -> None:
    place, _name = new_project(tmp_path)
    checked = run_command(
        "check",
        place / "pipeline.py",
        "--config",
        place / "stream-infer.toml",
        "--bootstrap",
        "127.0.0.1:1",
        "--json",
    ).json["checks"]
    assert [check["status"] for check in checked[:4]] == ["ok"] * 4


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "pipeline.py").write_text("mine")
    ran = run_command("init", tmp_path, "--name", "shop", "--json")
    assert ran.code == 4
    assert ran.json["error"]["code"] == "file_exists"
    assert (tmp_path / "pipeline.py").read_text() == "mine"
    assert not (tmp_path / "stream-infer.toml").exists()


def test_a_folder_that_cannot_name_a_pipeline_asks_for_a_name(tmp_path: Path) -> None:
    ran = run_command("init", tmp_path / "123", "--json")
    assert ran.code == 2
    assert "--name" in ran.json["error"]["fix"]
    assert run_command("init", tmp_path / "123", "--name", "shop").code == 0
