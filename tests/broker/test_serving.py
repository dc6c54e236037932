"""A started broker serves clients."""

from __future__ import annotations

from support.kafka import create_topics, produce, read_all, unique


def test_records_come_back_as_they_were_sent(kafka: str) -> None:
    topic = unique("serving")
    create_topics(kafka, {topic: 2})
    sent = produce(
        kafka,
        topic,
        [
            (b"k", b"first", 1, [("h", b"1"), ("h", b"2")]),
            (None, b"second", 0, []),
            (b"k", None, 1, []),
        ],
    )
    assert sent == [(1, 0), (0, 0), (1, 1)]
    records = read_all(kafka, topic)
    assert [(r.partition, r.offset, r.key, r.value) for r in records] == [
        (0, 0, None, b"second"),
        (1, 0, b"k", b"first"),
        (1, 1, b"k", None),
    ]
    assert list(records[1].headers) == [("h", b"1"), ("h", b"2")]
