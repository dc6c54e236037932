"""Jars are fetched once per user, by one process, and only a complete set is used."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from stream_infer.broker import install as installing
from stream_infer.broker import quickstart
from stream_infer.broker.folders import cache_folder
from stream_infer.broker.install import Installation, install, is_complete
from stream_infer.errors import EmbeddedBrokerError


@pytest.fixture
def fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Replace download and format; return the list of folders that were fetched into."""
    calls: list[Path] = []

    def fetch(target: Path, progress: Callable[[str], None]) -> list[str]:
        calls.append(target)
        threading.Event().wait(0.2)  # long enough for a rival to arrive
        (target / "kafka.jar").write_bytes(b"jar")
        return ["kafka.jar"]

    def write_checkpoint(installation: Installation) -> None:
        installation.bootstrap_checkpoint.write_bytes(b"checkpoint")

    monkeypatch.setenv("STREAM_INFER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(installing, "fetch_jars", fetch)
    monkeypatch.setattr(installing, "_format", write_checkpoint)
    return calls


def quiet(line: str) -> None:
    pass


def test_the_second_start_fetches_nothing(fetched: list[Path]) -> None:
    first = install(quiet)
    assert install(quiet) == first
    assert len(fetched) == 1
    assert is_complete(first.folder)


def test_parallel_first_starts_fetch_once(fetched: list[Path]) -> None:
    lines: list[str] = []
    threads = [threading.Thread(target=install, args=(lines.append,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(fetched) == 1
    assert lines == ["waiting for another process that installs Apache Kafka"] * 3


@pytest.mark.parametrize("damage", ["short", "absent", "marker", "nonsense", "checkpoint"])
def test_a_damaged_cache_is_made_anew(fetched: list[Path], damage: str) -> None:
    folder = install(quiet).folder
    jar, marker = folder / "lib" / "kafka.jar", folder / "installed.json"
    damages: dict[str, Callable[[], object]] = {
        "short": lambda: jar.write_bytes(b"ja"),
        "absent": jar.unlink,
        "marker": marker.unlink,
        "nonsense": lambda: marker.write_text(json.dumps([1])),
        "checkpoint": (folder / "bootstrap.checkpoint").unlink,
    }
    damages[damage]()
    assert not is_complete(folder)
    install(quiet)
    assert is_complete(folder)
    assert len(fetched) == 2


def test_an_interrupted_fetch_leaves_nothing_that_is_used(
    fetched: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(target: Path, progress: Callable[[str], None]) -> list[str]:
        (target / "kafka.jar").write_bytes(b"j")
        raise EmbeddedBrokerError("no_network", "The line went dead.", "Retry.")

    with monkeypatch.context() as dead_line:
        dead_line.setattr(installing, "fetch_jars", interrupted)
        with pytest.raises(EmbeddedBrokerError):
            install(quiet)
    folder = install(quiet).folder
    assert (folder / "lib" / "kafka.jar").read_bytes() == b"jar"
    assert [path.name for path in folder.parent.iterdir() if path.is_dir()] == [folder.name]


@pytest.mark.parametrize(
    ("own", "xdg", "expected"),
    [
        ("/own", "/xdg", "/own"),
        ("", "/xdg", "/xdg/stream-infer"),
        ("", "relative", "/home/someone/.cache/stream-infer"),
        ("", "", "/home/someone/.cache/stream-infer"),
    ],
)
def test_the_cache_folder_follows_the_environment(
    own: str, xdg: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.setenv("STREAM_INFER_CACHE", own)
    monkeypatch.setenv("XDG_CACHE_HOME", xdg)
    assert cache_folder() == Path(expected)


@pytest.mark.kafka
def test_the_quick_start_cache_fits_the_installed_broker() -> None:
    # The JVM ignores a cache that does not fit; with AOTMode=on it says so and ends.
    installation = install(quiet)
    flags = quickstart.quick_start_flags(installation, quiet)
    assert flags
    command = [
        str(installation.java),
        *flags,
        "-XX:AOTMode=on",
        "--enable-native-access=ALL-UNNAMED",
    ]
    class_path = f"{installation.jars}/*"
    result = subprocess.run(
        [*command, "-cp", class_path, "org.apache.kafka.common.utils.AppInfoParser"],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    # The class has no main method: the JVM came as far as looking for one.
    assert "Main method not found" in result.stderr + result.stdout


def test_a_quick_start_cache_that_cannot_be_made_is_tried_once(
    fetched: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[str] = []

    def refused(*_arguments: object) -> None:
        tries.append("tried")
        raise EmbeddedBrokerError("exited_early", "This JVM cannot.", "")

    monkeypatch.setattr(quickstart, "launch", refused)
    installation = install(quiet)
    assert quickstart.quick_start_flags(installation, quiet) == []
    assert quickstart.quick_start_flags(installation, quiet) == []
    assert tries == ["tried"]
