"""Starting, stopping, killing and restarting a broker."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from stream_infer.broker import EmbeddedBroker, layout, ports
from stream_infer.errors import ConflictError, EmbeddedBrokerError
from support.kafka import Message, create_topics, produce, read_all, unique

pytestmark = pytest.mark.kafka

MESSAGES: list[Message] = [(b"k", b"%d" % i, i % 2, []) for i in range(10)]


def values(broker: EmbeddedBroker, topic: str) -> set[bytes | None]:
    return {record.value for record in read_all(broker.bootstrap, topic)}


def test_a_killed_broker_comes_back_on_its_port_with_its_data() -> None:
    topic = unique("killed")
    with EmbeddedBroker() as broker:
        create_topics(broker.bootstrap, {topic: 2})
        produce(broker.bootstrap, topic, MESSAGES)
        before = (broker.bootstrap, broker.cluster_id)
        killed_pid = broker.pid
        broker.kill()
        assert not broker.running
        assert broker.pid is None
        assert killed_pid is not None
        assert not psutil.pid_exists(killed_pid)
        with pytest.raises(EmbeddedBrokerError, match="SIGKILL"):
            broker.check()
        broker.restart()
        broker.check()
        assert (broker.bootstrap, broker.cluster_id) == before
        assert values(broker, topic) == {value for _, value, _, _ in MESSAGES}


def test_a_restart_keeps_port_and_data_and_runs_another_process() -> None:
    topic = unique("restarted")
    with EmbeddedBroker() as broker:
        create_topics(broker.bootstrap, {topic: 2})
        produce(broker.bootstrap, topic, MESSAGES)
        before, pid = broker.bootstrap, broker.pid
        broker.restart()
        assert broker.bootstrap == before
        assert broker.pid != pid
        assert values(broker, topic) == {value for _, value, _, _ in MESSAGES}


def test_a_temporary_folder_is_removed_and_nothing_runs_after_a_stop() -> None:
    broker = EmbeddedBroker()
    broker.start()
    pid, folder = broker.pid, broker.folder
    supervisor = psutil.Process(broker.supervisor_pid)
    broker.start()  # a running one is left as it is
    assert broker.pid == pid
    assert broker.log_path.exists()
    broker.stop()
    broker.stop()
    assert not folder.exists()
    assert not supervisor.is_running()
    assert pid is not None
    assert not psutil.pid_exists(pid)


def test_a_data_folder_is_kept_and_used_again(tmp_path: Path) -> None:
    # A comma would split Kafka's list of log folders.
    folder = tmp_path / "kafka, with ä and spaces"
    topic = unique("kept")
    with EmbeddedBroker(folder) as broker:
        create_topics(broker.bootstrap, {topic: 2})
        produce(broker.bootstrap, topic, MESSAGES)
        first = (broker.port, broker.cluster_id)
    with EmbeddedBroker(folder) as broker:
        assert (broker.port, broker.cluster_id) == first
        assert values(broker, topic) == {value for _, value, _, _ in MESSAGES}
        marker = (folder / layout.MARKER).read_text()
        with pytest.raises(ConflictError) as refused:
            EmbeddedBroker(folder).start()
        assert refused.value.code == "data_dir_in_use"
        assert (folder / layout.MARKER).read_text() == marker
        assert values(broker, topic)
        other = broker.port + 1
    with EmbeddedBroker(folder, port=other) as broker:
        assert broker.bootstrap == f"127.0.0.1:{other}"
        assert values(broker, topic) == {value for _, value, _, _ in MESSAGES}


def test_two_brokers_do_not_meet() -> None:
    with EmbeddedBroker() as one, EmbeddedBroker() as other:
        assert one.port != other.port
        assert one.cluster_id != other.cluster_id
        create_topics(one.bootstrap, {"only-here": 1})
        with pytest.raises(LookupError):
            read_all(other.bootstrap, "only-here")


def test_a_broker_listens_on_loopback_only() -> None:
    with EmbeddedBroker() as broker:
        assert broker.pid is not None
        sockets = psutil.Process(broker.pid).net_connections("tcp")
        listening = {c.laddr.ip for c in sockets if c.status == psutil.CONN_LISTEN}
    # An IPv4 address may be shown in its IPv6 form.
    assert {ip.removeprefix("::ffff:") for ip in listening} == {"127.0.0.1"}


def test_a_port_that_another_process_takes_first_is_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with EmbeddedBroker() as first:
        # As if `first` had bound its port between our look and the JVM's bind.
        choices = iter([first.port, 0, 0, 0])
        free_port = ports.free_port

        def taken_first(taken: frozenset[int] = frozenset()) -> int:
            return next(choices, 0) or free_port(taken)

        monkeypatch.setattr(ports, "free_port", taken_first)
        with EmbeddedBroker() as second:
            assert second.port != first.port


def test_a_folder_with_other_files_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ConflictError) as refused:
        EmbeddedBroker(tmp_path).start()
    assert refused.value.code == "folder_not_ours"
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("marker", "code"),
    [
        (
            '{"kafka_version": "3.9.1", "cluster_id": "a", "port": 1, "controller_port": 2}',
            "data_version",
        ),
        ('{"kafka_version": ', "folder_damaged"),
        ('{"unknown": 1}', "folder_damaged"),
    ],
)
def test_a_folder_of_another_version_is_refused(tmp_path: Path, marker: str, code: str) -> None:
    (tmp_path / layout.MARKER).write_text(marker)
    with pytest.raises(ConflictError) as refused:
        EmbeddedBroker(tmp_path).start()
    assert refused.value.code == code


def test_questions_before_the_start_are_refused() -> None:
    broker = EmbeddedBroker()
    assert broker.pid is None
    assert not broker.running
    broker.stop()
    with pytest.raises(EmbeddedBrokerError) as refused:
        _ = broker.bootstrap
    assert refused.value.code == "not_started"
