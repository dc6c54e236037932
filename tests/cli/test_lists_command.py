"""Lists are shown and changed by name; a mistake is named before anything is written."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from stream_infer.events.topic_names import lists_topic
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.topics import create_topics
from support.commands import Ran, run_command
from support.kafka import produce, read_all
from support.pipelines import own_pipeline, written

pytestmark = pytest.mark.kafka
Lists = Callable[..., Ran]


@pytest.fixture
def made(kafka: str, tmp_path: Path) -> tuple[Lists, str]:
    pipeline = own_pipeline()
    file = written(pipeline, tmp_path)
    asyncio.run(create_topics(Connection(bootstrap=kafka), pipeline, partitions=2))

    def lists(what: str, *words: str) -> Ran:
        return run_command("lists", what, file, *words, "--bootstrap", kafka)

    return lists, lists_topic(pipeline) or ""


def test_who_is_put_on_a_list_is_shown_until_taken_off(made: tuple[Lists, str]) -> None:
    lists, _ = made
    assert lists("add", "blocked-customers", "c-17", "--reason", "stolen").code == 0
    told = lists("add", "blocked-terminals", "m:4", "--json")
    assert told.json == {"list": "blocked-terminals", "entity": "m:4", "listed": True}
    shown = lists("show", "--json").json
    assert shown["unreadable"] == 0
    assert [(row["list"], row["entity"], row["reason"]) for row in shown["listed"]] == [
        ("blocked-customers", "c-17", "stolen"),
        ("blocked-terminals", "m:4", ""),
    ]
    assert lists("remove", "blocked-customers", "c-17").code == 0
    assert [row["entity"] for row in lists("show", "--json").json["listed"]] == ["m:4"]
    assert lists("show", "blocked-customers", "--json").json["listed"] == []
    assert "m:4" in lists("show").out


def test_a_list_that_is_not_declared_is_named_with_the_nearest(made: tuple[Lists, str]) -> None:
    lists, _ = made
    ran = lists("add", "blocked-customer", "c-17")
    assert ran.code == 3
    assert "Did you mean 'blocked-customers'?" in ran.err
    assert lists("show", "nobody").code == 3


def test_what_would_be_no_record_is_not_written(kafka: str, made: tuple[Lists, str]) -> None:
    lists, topic = made
    for entity, reason in (("", ""), ("c" * 257, ""), ("c-1", "x" * 501)):
        ran = lists("add", "blocked-customers", entity, "--reason", reason)
        assert (ran.code, ran.out) == (2, "")
    assert read_all(kafka, topic) == []


def test_a_record_of_somebody_else_s_is_counted_and_hides_nothing(
    kafka: str, made: tuple[Lists, str]
) -> None:
    lists, topic = made
    lists("add", "allowed-customers", "c-2")
    produce(kafka, topic, [(b"blocked-customers:c-1", b"{", None, [])])
    ran = lists("show", "--json")
    assert (ran.json["unreadable"], len(ran.json["listed"])) == (1, 1)


def test_a_sensitive_entity_is_shown_only_when_asked_for(
    kafka: str, tmp_path: Path, made: tuple[Lists, str]
) -> None:
    lists, topic = made
    lists("add", "blocked-customers", "4111111111111111")
    name = topic.removesuffix("-lists")
    file = tmp_path / f"{name}.py"
    source = file.read_text() + (
        "pipeline = dataclasses.replace(pipeline, events=dataclasses.replace("
        "pipeline.events, sensitive=('customer_id',)))\n"
    )
    masked = tmp_path / "masked.py"
    masked.write_text(source)
    command = ("lists", "show", masked, "--bootstrap", kafka)
    assert "4111111111111111" not in run_command(*command).out
    assert "***1111" in run_command(*command).out
    assert "4111111111111111" in run_command(*command, "--reveal").out
