from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stream_infer.cli.completion import INSTALL
from support.commands import run_command

COMPLETER = [sys.executable, "-c", "from stream_infer.cli import main; main()"]


@pytest.mark.parametrize("shell", sorted(INSTALL))
def test_the_script_binds_the_name_that_is_installed(shell: str) -> None:
    ran = run_command("completion", shell)
    assert ran.code == 0
    assert f"_STREAM_INFER_COMPLETE={shell}_complete" in ran.out
    assert "stream-infer" in ran.out
    assert "stream-infer" in run_command("completion", shell, "--json").json["install"]


def test_what_the_script_asks_for_is_answered_with_commands_and_options() -> None:
    environment = os.environ | {
        "_STREAM_INFER_COMPLETE": "bash_complete",
        "COMP_WORDS": "stream-infer dl",
        "COMP_CWORD": "1",
    }
    done = subprocess.run(COMPLETER, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["plain,dlq"]


def test_the_shell_of_the_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", str(Path("/usr/bin/fish")))
    assert run_command("completion", "--json").json["shell"] == "fish"
    monkeypatch.setenv("SHELL", "/bin/none")
    assert run_command("completion").code == 2
