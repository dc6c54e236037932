"""The two commands and what continuous integration runs, without running them."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# What the recipe itself needs; python3 is put beside them by each test.
TOOLS = ("sh", "make", "head", "touch", "echo")


def path_with(folder: Path, *tools: str) -> Path:
    """Make a folder of programs for PATH, so that nothing else of this machine is found."""
    folder.mkdir()
    for tool in tools:
        found = shutil.which(tool)
        assert found
        (folder / tool).symlink_to(found)
    return folder


def program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def run(*words: str, path: Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    # Neither the flags of a make that runs this test nor the Python that it was told to take.
    clean = {
        name: value
        for name, value in os.environ.items()
        if "MAKE" not in name and name not in {"MFLAGS", "PYTHON", "VENV"}
    }
    return subprocess.run(
        words,
        cwd=cwd,
        env=clean | {"PATH": str(path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("answer", ["exit 1", "echo broken shim >&2; exit 127"])
def test_without_a_fitting_python_make_says_which_one_to_install(
    tmp_path: Path, answer: str
) -> None:
    path = path_with(tmp_path / "bin", *TOOLS)
    program(path / "python3", answer)
    done = run("make", "install", f"VENV={tmp_path / 'venv'}", path=path)
    assert done.returncode == 2
    assert "error: no Python 3.11, 3.12 or 3.13 found" in done.stderr
    assert "fix: install one, or name it: make install PYTHON=" in done.stderr
    assert not (tmp_path / "venv").exists()


def test_without_the_venv_module_make_names_the_package_to_install(tmp_path: Path) -> None:
    path = path_with(tmp_path / "bin", *TOOLS)
    program(path / "python3", 'case "$*" in *venv*) exit 1;; *) exit 0;; esac')
    done = run("make", "install", f"VENV={tmp_path / 'venv'}", path=path)
    assert done.returncode == 2
    assert "fix: install its venv module" in done.stderr


def test_a_python_that_fits_is_taken_though_a_shim_before_it_runs_nothing(tmp_path: Path) -> None:
    path = path_with(tmp_path / "bin", *TOOLS)
    program(path / "python3", "exit 127")
    program(path / "python3.13", "exit 127")
    program(path / "python3.12", 'case "$*" in *venv*) exit 1;; *) exit 0;; esac')
    done = run("make", "install", f"VENV={tmp_path / 'venv'}", path=path)
    assert "error: python3.12 cannot make a virtual environment" in done.stderr


@pytest.mark.parametrize("target", ["test", "demo", "bench", "tests", "types"])
def test_each_target_makes_the_environment_first(tmp_path: Path, target: str) -> None:
    path = path_with(tmp_path / "bin", *TOOLS)
    done = run("make", "-n", target, f"VENV={tmp_path / 'venv'}", path=path)
    assert done.returncode == 0, done.stderr
    assert "--require-hashes" in done.stdout
    assert done.stdout.index("--require-hashes") < done.stdout.index("--editable .")


def test_make_test_runs_lint_types_and_tests(tmp_path: Path) -> None:
    path = path_with(tmp_path / "bin", *TOOLS)
    done = run("make", "-n", "test", f"VENV={tmp_path / 'venv'}", path=path)
    for step in ("ruff check", "ruff format --check", "-m mypy", "-m pytest"):
        assert step in done.stdout


@pytest.mark.parametrize(
    ("words", "shared"),
    [((), False), (("JOBS=3",), True), (("JOBS=3", "ARGS=-k late"), False)],
)
def test_processes_share_the_tests_where_jobs_says_so_and_nothing_is_chosen(
    tmp_path: Path, words: tuple[str, ...], *, shared: bool
) -> None:
    path = path_with(tmp_path / "bin", *TOOLS)
    done = run("make", "-n", "tests", f"VENV={tmp_path / 'venv'}", *words, path=path)
    [line] = [line for line in done.stdout.splitlines() if "-m pytest" in line]
    assert ("--maxprocesses 3" in line) is shared


@pytest.mark.parametrize("status", [0, 2])
def test_continuous_integration_runs_make_test_and_nothing_else(
    tmp_path: Path, status: int
) -> None:
    path = path_with(tmp_path / "bin", "sh", "bash", "dirname", "echo")
    program(path / "make", f'echo "make $*"; exit {status}')
    done = run("bash", str(ROOT / ".ci" / "run"), path=path, cwd=tmp_path)
    assert done.stdout.splitlines() == ["make test"]
    assert done.returncode == status
