"""``stream-infer dlq``: list and show dead letters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from stream_infer.cli.options import json_option, settings_options
from stream_infer.cli.output import print_json, print_table, remark, run_client

if TYPE_CHECKING:
    from stream_infer.kafka.deadletters import DeadLetter
    from stream_infer.settings.loading import Settings

topic_option = click.option(
    "--topic", default="dead-letters", show_default=True, help="The dead-letter topic."
)


@click.group(name="dlq")
def command() -> None:
    """List and show dead letters: records that could not be used, as they came."""


@command.command(name="list")
@topic_option
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True)
@click.option("--code", help="Only those with this error code, such as bad_time.")
@settings_options
@json_option
def list_(*, topic: str, limit: int, code: str | None, settings: Settings, as_json: bool) -> None:
    """List the newest dead letters, oldest first."""
    from stream_infer.kafka.deadletters import newest_dead_letters

    letters = run_client(newest_dead_letters(settings.connection(), topic, limit, code=code))
    if as_json:
        print_json({"dead_letters": [_summary(letter) for letter in letters]})
        return
    rows = [tuple(_summary(letter).values()) for letter in letters]
    print_table(("position", "code", "stage", "original", "time", "bytes", "message"), rows)


def _summary(letter: DeadLetter) -> dict[str, Any]:
    from stream_infer.cli.records import time_text

    facts = letter.facts
    return {
        "position": letter.position,
        "code": facts.error_code or facts.exception,
        "stage": facts.stage,
        "original": letter.original,
        "time": time_text(letter.record.timestamp),
        "bytes": facts.original_bytes or len(letter.record.value or b""),
        "message": facts.message,
    }


@command.command()
@click.argument("position")
@topic_option
@click.option("--reveal", is_flag=True, help="Show key, value and the record's own headers.")
@settings_options
@json_option
def show(*, position: str, topic: str, reveal: bool, settings: Settings, as_json: bool) -> None:
    """Show the dead letter at POSITION, or the one made of the record at POSITION.

    POSITION is TOPIC-PARTITION-OFFSET, of the dead-letter topic or of the original. Key, value and
    the record's own headers may hold personal data, so they are shown with --reveal only.
    """
    from stream_infer.kafka.deadletters import find_dead_letters

    letters = run_client(find_dead_letters(settings.connection(), topic, position))
    details = [_details(letter, reveal=reveal) for letter in letters]
    if as_json:
        print_json({"dead_letters": details})
        return
    for detail in details:
        for name, value in detail.items():
            if name == "headers":
                for header, text in value:
                    click.echo(f"  header {header}: {text}")
            elif value is not None:
                click.echo(f"{name.replace('_', ' ')}: {value}")
    if not reveal:
        remark("Key, value and the record's own headers are hidden: show them with --reveal.")


def _details(letter: DeadLetter, *, reveal: bool) -> dict[str, Any]:
    from stream_infer.cli.records import bytes_json, headers_json, time_text
    from stream_infer.events.deadletter import original_headers

    facts, record = letter.facts, letter.record
    own = original_headers(record.headers)
    detail = _summary(letter) | {
        "attempt": facts.attempt,
        "consumer_group": facts.consumer_group,
        "original_time": time_text(facts.timestamp_ms),
        "stub": facts.stub,
        "sha256": facts.sha256,
        "unreadable_headers": list(facts.unreadable) or None,
        "headers": headers_json(own) if reveal else [[name, "***"] for name, _ in own],
    }
    if reveal:
        detail |= {"key": bytes_json(record.key), "value": bytes_json(record.value)}
    return detail
