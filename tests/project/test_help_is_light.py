"""`--help`, `--version` and completion answer at once, since nothing heavy is imported.

The budget is 200 ms. A clock would make the test depend on how busy the machine is; which
libraries were imported does not, and they are what costs (each alone in a fresh process, 4-core
machine, best of 3): lightgbm 1.1 s, numba 0.28 s, polars 0.22 s, onnxruntime 0.17 s,
aiokafka 0.11 s, numpy 0.10 s, Faust 0.08 s before its App is used; click takes 0.04 s.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from stream_infer.cli import COMMANDS

HEAVY = ("aiokafka", "faust", "lightgbm", "numba", "numpy", "onnxruntime", "polars", "pydantic")

PROGRAM = """
import sys
from stream_infer.cli import main
try:
    main(sys.argv[1:])
finally:
    print("HEAVY", *sorted(set({heavy!r}) & set(sys.modules)), file=sys.stderr)
"""


def heavy_imports_of(*arguments: str, environment: dict[str, str] | None = None) -> list[str]:
    """Run the command line and return which heavy libraries it had imported at its end."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(heavy=HEAVY), *arguments],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | (environment or {}),
    )
    last = done.stderr.strip().splitlines()[-1].split()
    assert last[0] == "HEAVY"
    assert done.stdout
    return last[1:]


@pytest.mark.parametrize("option", ["--help", "-h", "--version"])
def test_help_and_version_import_no_heavy_library(option: str) -> None:
    assert heavy_imports_of(option) == []


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_help_of_each_command_imports_no_heavy_library(command: str) -> None:
    assert heavy_imports_of(command, "--help") == []


def test_the_list_of_heavy_libraries_names_what_is_really_imported() -> None:
    # Were a name misspelt above, the test before this one could not fail.
    program = f"import sys, {', '.join(HEAVY)}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert set(HEAVY) <= set(done.stdout.split())
