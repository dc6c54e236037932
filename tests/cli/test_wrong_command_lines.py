"""A command line that cannot be read is one message, or one JSON object where it was asked for."""

from __future__ import annotations

import pytest

from support.commands import run_command


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("tpics", "describe", "fraud"), "topics"),
        (("dlq", "list", "--limt", "3"), "--limt"),
        (("dlq", "list", "--limit", "many"), "many"),
        (("replay",), "FILE"),
        (("dlq",), "dlq"),
    ],
)
def test_with_json_it_is_one_object_on_stdout_and_exit_2(
    words: tuple[str, ...], named: str
) -> None:
    ran = run_command(*words, "--json")
    assert ran.code == 2
    error = ran.json["error"]
    assert error["code"] == "usage"
    assert named in error["message"] + error["fix"]
    assert error["fix"].endswith("--help.")
    assert ran.err == ""


def test_for_people_it_stays_text_on_stderr() -> None:
    ran = run_command("dlq", "list", "--limt", "3")
    assert (ran.code, ran.out) == (2, "")
    assert "--limt" in ran.err
