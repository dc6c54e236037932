from __future__ import annotations

from pathlib import Path

import pytest

from support.commands import run_command

FIELDS = "transaction_id,event_time,customer_id,terminal_id,amount\n1,2024-01-01T00:00:00Z,c,m,1\n"


@pytest.mark.parametrize(
    "words",
    [
        "topics create fraud",
        "topics describe fraud",
        "replay {file} --topic transactions",
        "tail transactions",
        "audit fraud",
        "dlq list",
        "dlq show transactions-0-1",
        "simulate fraud",
        "simulate traffic",
    ],
)
@pytest.mark.parametrize(
    ("address", "code"),
    [("127.0.0.1:1", "broker_refused"), ("no-such-host.invalid:9092", "broker_dns")],
)
def test_each_command_names_the_cause_and_a_fix_and_exits_1(
    tmp_path: Path, words: str, address: str, code: str
) -> None:
    file = tmp_path / "t.csv"
    file.write_text(FIELDS)
    command = [word.format(file=file) for word in words.split()]
    told = run_command(*command, "--bootstrap", address)
    assert told.code == 1
    assert told.out == ""
    assert told.err.startswith("error: ")
    assert "fix: " in told.err
    assert "Traceback" not in told.err
    as_json = run_command(*command, "--bootstrap", address, "--json")
    assert as_json.code == 1
    assert as_json.json["error"]["code"] == code
    assert as_json.json["error"]["fix"]
