"""One line an event, for people or machines, and never a secret."""

from __future__ import annotations

import ast
import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

import stream_infer
from stream_infer.logs import configure_logs
from stream_infer.settings.log import LogFormat, LogLevel, LogSettings

pytestmark = pytest.mark.usefixtures("_logs_as_before")

SECRET = "hunter2-of-nobody"  # noqa: S105 - looked for in what is logged
FORMATS: list[LogFormat] = ["console", "json"]


def logged(capsys: pytest.CaptureFixture[str], form: LogFormat, **facts: Any) -> str:
    configure_logs(LogSettings(format=form))
    structlog.get_logger("test").warning("said", **facts)
    written = capsys.readouterr()
    assert written.out == ""
    return written.err


def test_a_json_line_holds_the_facts_and_whose_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(LogSettings(format="json"), facts={"pipeline": "fraud"})
    structlog.get_logger("test").info("assigned", partitions=["a-0", "a-1"], after_s=1.5)
    found = json.loads(capsys.readouterr().err)
    assert found.pop("timestamp").endswith("Z")
    assert found.pop("worker")
    assert found == {
        "event": "assigned",
        "level": "info",
        "pipeline": "fraud",
        "partitions": ["a-0", "a-1"],
        "after_s": 1.5,
    }


def test_a_line_for_people_is_not_longer_for_the_worker_it_is_of(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logs(facts={"pipeline": "fraud"})
    structlog.get_logger("test").info("assigned", partitions=2)
    line = capsys.readouterr().err
    assert "assigned" in line
    assert "partitions=2" in line
    assert "pipeline" not in line


@pytest.mark.parametrize(
    ("level", "said"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_nothing_below_the_level_is_said(
    capsys: pytest.CaptureFixture[str], level: LogLevel, said: list[str]
) -> None:
    configure_logs(LogSettings(format="json", level=level))
    log = structlog.get_logger("test")
    for each in ("debug", "info", "warning", "error"):
        getattr(log, each)("said")
    lines = capsys.readouterr().err.splitlines()
    assert [json.loads(line)["level"] for line in lines] == said


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    "facts",
    [
        {"password": SECRET},
        {"sasl_plain_password": SECRET},
        {"API_KEY": SECRET},
        {"headers": {"Authorization": f"Bearer {SECRET}"}},
        {"options": [{"ssl": {"token": SECRET}}]},
        {"cause": f"cannot reach kafka://worker:{SECRET}@kafka-1:9092"},
        {"cause": f'sasl.jaas.config=PlainLoginModule username="w" password="{SECRET}";'},
        {"cause": f"GET /schemas?access_token={SECRET}&v=1 answered 401"},
        {"cause": f'{{"client_secret": "{SECRET}"}}'},
        {"error": ValueError(f"password={SECRET}")},
        {"value": SECRET.encode()},
        {"record": (SECRET.encode(), bytearray(SECRET.encode()))},
    ],
    ids=str,
)
def test_secrets_and_bytes_are_masked(
    capsys: pytest.CaptureFixture[str], form: LogFormat, facts: dict[str, Any]
) -> None:
    line = logged(capsys, form, **facts)
    assert "said" in line
    assert SECRET not in line


def test_what_is_no_secret_stays(capsys: pytest.CaptureFixture[str]) -> None:
    cause = "kafka-1:9092 refused the connection; see http://docs:80/kafka@4 for advice"
    line = json.loads(logged(capsys, "json", cause=cause, partition=3, ok=True, none=None))
    assert (line["cause"], line["partition"], line["ok"], line["none"]) == (cause, 3, True, None)


def test_fields_that_a_user_calls_sensitive_are_masked(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(sensitive={"customer_id"})
    structlog.get_logger("test").warning("said", customer_id="c-17", of={"Customer_ID": "c-17"})
    assert "c-17" not in capsys.readouterr().err


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("evil", ["a\nb", "a\r\nb", "a\x1b[2Jb", "a\u2028b", "a\x9bb", "a\x00b"])
def test_what_comes_from_outside_cannot_forge_a_line(
    capsys: pytest.CaptureFixture[str], form: LogFormat, evil: str
) -> None:
    line = logged(capsys, form, cause=evil, nested=[{"cause": evil}])
    assert len(line.splitlines()) == 1
    assert evil not in line


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    "odd", [2**70, float("nan"), "\ud800", {1: 2}, {1, 2}, object(), Path("/x")]
)
def test_a_value_that_cannot_be_encoded_does_not_end_the_worker(
    capsys: pytest.CaptureFixture[str], form: LogFormat, odd: Any
) -> None:
    assert "said" in logged(capsys, form, odd=odd)


def test_libraries_and_python_s_own_warnings_become_json_lines_too(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logs(LogSettings(format="json"))
    logging.getLogger("some.library").warning("it %s: password=%s", "failed", SECRET)
    logging.getLogger("some.library").info("chatter")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn("old ways", DeprecationWarning, stacklevel=1)
        logging.captureWarnings(capture=False)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["logger"] for line in lines] == ["some.library", "py.warnings"]
    assert lines[0]["event"] == "it failed: password=***"
    assert "old ways" in lines[1]["event"]


def test_an_exception_is_told_whole_and_masked(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(LogSettings(format="json"))
    try:
        int(f"password={SECRET}")
    except ValueError:
        structlog.get_logger("test").exception("failed")
    line = json.loads(capsys.readouterr().err)
    assert "Traceback" in line["exception"]
    assert "ValueError" in line["exception"]
    assert SECRET not in line["exception"]


def test_configuring_twice_says_things_once(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs()
    configure_logs()
    logging.getLogger("some.library").warning("once")
    assert capsys.readouterr().err.count("once") == 1


# What records hold is personal, and has no name by which a processor could know it.
OF_RECORDS = {"amount", "columns", "entity", "headers", "key", "keys", "payload", "record", "value"}


def log_calls() -> Iterator[tuple[str, ast.Call]]:
    root = Path(stream_infer.__file__).parent
    for path in sorted(root.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id == "log"
            ):
                yield f"{path.relative_to(root)}:{node.lineno}", node


def test_no_log_line_of_ours_names_what_a_record_holds() -> None:
    calls = list(log_calls())
    assert len(calls) > 5
    for place, call in calls:
        names = {keyword.arg for keyword in call.keywords}
        assert not names & OF_RECORDS, place
        # A text made of parts could hold anything; facts go by name.
        made = ast.JoinedStr | ast.BinOp | ast.Call
        assert not any(isinstance(argument, made) for argument in call.args), place
