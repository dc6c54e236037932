"""``stream-infer dlq``: list and show dead letters, and send them again."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from stream_infer.cli.options import Instant, json_option, settings_options
from stream_infer.cli.output import Progress, print_json, print_table, remark, run_client
from stream_infer.errors import GateFailedError, UsageError

if TYPE_CHECKING:
    from stream_infer.kafka.connection import Connection
    from stream_infer.kafka.deadletters import DeadLetter
    from stream_infer.kafka.resending import Resending, Result
    from stream_infer.settings.loading import Settings

topic_option = click.option(
    "--topic", default="dead-letters", show_default=True, help="The dead-letter topic."
)


@click.group(name="dlq")
def command() -> None:
    """List, show and replay dead letters: records that could not be used, as they came."""


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
    from stream_infer.events.resend import attempt_of

    facts, record = letter.facts, letter.record
    own = original_headers(record.headers)
    detail = _summary(letter) | {
        "attempt": attempt_of(record.headers) if facts.attempt else None,
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


@command.command()
@click.argument("positions", nargs=-1)
@topic_option
@click.option("--code", "codes", multiple=True, help="Only this error code; may be repeated.")
@click.option("--stage", "stages", multiple=True, help="Only this stage; may be repeated.")
@click.option("--since", type=Instant(), help="Only those written from then on.")
@click.option("--until", type=Instant(), help="Only those written before.")
@click.option("--to", metavar="TOPIC", help="Another topic than the original one.")
@click.option(
    "--rate",
    type=click.IntRange(1, 100_000),
    default=1_000,
    show_default=True,
    help="Records a second at most.",
)
@click.option("--limit", type=click.IntRange(min=1), help="Send so many at most.")
@click.option(
    "--attempts-max",
    type=click.IntRange(2),
    default=3,
    show_default=True,
    help="Refuse one that has failed so often.",
)
@click.option("--again", is_flag=True, help="Also those that were sent before.")
@click.option("--dry-run", is_flag=True, help="Say what would be done; write nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@settings_options
@json_option
def replay(
    *,
    positions: tuple[str, ...],
    topic: str,
    codes: tuple[str, ...],
    stages: tuple[str, ...],
    since: int | None,
    until: int | None,
    to: str | None,
    rate: int,
    limit: int | None,
    attempts_max: int,
    again: bool,
    dry_run: bool,
    yes: bool,
    settings: Settings,
    as_json: bool,
) -> None:
    """Send dead letters back to the topic they came from: those at POSITIONS, or all that fit.

    Key, value and headers go out as they came; the dead letters stay. One that was sent is not
    sent again, whether this run or another sent it, so a run that was broken off is simply
    started again. With --json each line is one dead letter, and the last one the summary.
    """
    from stream_infer.events.resend import Choice
    from stream_infer.kafka.deadletters import parse_position
    from stream_infer.kafka.resending import Resending

    for position in positions:
        parse_position(position)
    job = Resending(
        topic=topic,
        choice=Choice(
            codes=frozenset(codes),
            stages=frozenset(stages),
            since_ms=since,
            until_ms=until,
            positions=frozenset(positions),
        ),
        to=to,
        rate=rate,
        limit=limit,
        attempts_max=attempts_max,
        again=again,
    )
    connection = settings.connection()
    if not (dry_run or yes):
        _ask(connection, job)
    _end(_replayed(connection, job, dry_run=dry_run, as_json=as_json), as_json=as_json)


def _ask(connection: Connection, job: Resending) -> None:
    """Say how many would be sent where, and go on only if a person wants that."""
    from stream_infer.kafka.resending import preview

    if not sys.stdin.isatty():
        raise UsageError(
            "confirmation_needed",
            "Nobody is there to be asked whether the dead letters shall be sent.",
            "Look with --dry-run, then give --yes.",
        )
    topics: Counter[str] = Counter()

    def count(result: Result) -> None:
        if result.outcome == "would_send":
            topics[str(result.to).rpartition("-")[0]] += 1

    run_client(preview(connection, job, count))
    named = ", ".join(f"{number:,} to {topic}" for topic, number in sorted(topics.items()))
    click.confirm(f"Send {named or 'none'}?", abort=True, err=True)


def _replayed(
    connection: Connection, job: Resending, *, dry_run: bool, as_json: bool
) -> Counter[str]:
    """Run it, tell of each dead letter, and return how many had each outcome."""
    from stream_infer.kafka.resending import preview, resend

    outcomes: Counter[str] = Counter()
    progress = Progress("dead letters")
    say = _say_json if as_json else _say_text

    def tell(result: Result) -> None:
        outcomes[result.outcome] += 1
        # Those that went well are many, and people look for the others.
        if as_json or dry_run or result.outcome == "refused":
            say(result)
        progress.update(outcomes.total())

    work: Callable[..., Any] = preview if dry_run else resend
    try:
        run_client(work(connection, job, tell))
    finally:
        progress.finish()
    return outcomes


def _say_json(result: Result) -> None:
    from dataclasses import asdict

    print_json(asdict(result))


def _say_text(result: Result) -> None:
    words = {"would_send": "would send", "skipped": "skip", "refused": "refuse"}
    why = f": {result.reason}" if result.reason else f" to {result.to} (attempt {result.attempt})"
    click.echo(f"{words.get(result.outcome, result.outcome)} {result.position}{why}")


def _end(outcomes: Counter[str], *, as_json: bool) -> None:
    names = ("sent", "would_send", "skipped", "refused")
    counts = {name: outcomes[name] for name in names if name != "would_send" or outcomes[name]}
    if as_json:
        print_json({"summary": counts})
    else:
        remark(", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items()))
    if outcomes["refused"]:
        # In the summary already; as an error it would be a second value on the last line.
        click.get_current_context().exit(GateFailedError.exit_code)
