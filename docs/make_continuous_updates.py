"""Make the run and the picture of docs/continuous-updates.md: a real run, on a Kafka of its own.

    python docs/make_continuous_updates.py [--data ../shared/data] [--page PAGE] [--picture FILE]

The handbook's payments go through a worker, the last two weeks of them in three minutes, and their
labels seven days of event time behind. Takes a quarter of an hour. What the commands print and the
worker logs is written between the marks of the page; the picture shows which version scored and how
the trial stood, second by second. Exit code 1, and nothing written, where something does not come.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

import msgspec
import polars as pl

from stream_infer.benchmark.latency import count_records
from stream_infer.broker import EmbeddedBroker
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.reading import log_reader
from stream_infer.pipelines.fraud_history import pipeline
from stream_infer.training.pictures import Line, line_chart

HERE = Path(__file__).parent
PAGE, PICTURE = HERE / "continuous-updates.md", HERE / "images" / "continuous-updates.svg"
START, END = "<!-- run -->", "<!-- end of run -->"
FILE = Path("handbook-fraud") / "transactions_2018-04-01_2018-08-14.parquet"
NAME = "fraud-history"
FIRST_LIVE = datetime(2018, 8, 1)  # noqa: DTZ001 - as the file has it
LABELLED_BEFORE = datetime(2018, 7, 25)  # noqa: DTZ001
LABELS_TO_COME_BEFORE = datetime(2018, 8, 8)  # noqa: DTZ001
LABEL_DELAY = "166h"
"""Seven days less the two hours that labels should be there before features count them."""
SPEED = "6720"
"""Fourteen days in three minutes."""
DAYS = ("--train", "2018-07-18..2018-07-24", "--test", "2018-08-01..2018-08-07")
SMALLER = "quarter-trees,half-leaves,distilled-mean,distilled+dynamic-int8"
PROMOTE_S_MAX, BACK_S_MAX, FILL_S_MAX = 240.0, 60.0, 900.0
TOP = 1.6
"""Of the trial's axis; at 1 there is an answer, above it the legend."""
LEGEND = 1.35
"""How much higher than the highest point the other axis is, for the same reason."""
CONFIG = """\
[kafka]
bootstrap = "{bootstrap}"

[worker]
align_wait_max = "1h"

[model]
registry = "registry"
trial = "promote"
"""
FIELDS = (
    "transaction_id=TRANSACTION_ID,event_time=TX_DATETIME,customer_id=CUSTOMER_ID,"
    "terminal_id=TERMINAL_ID,amount={amount}"
)
SHORT = {"FIELDS": FIELDS.format(amount="TX_AMOUNT"), "CENTS": FIELDS.format(amount="TX_CENTS")}
"""Variable of the shell -> what stands in each command."""
COMMAND = (sys.executable, "-c", "from stream_infer.cli import main; main()")
KAFKA = ("--config", "stream-infer.toml")
MOVED = ("--registry", "registry", "--pipeline", NAME, *KAFKA)
SAID = ("models_serve", "trial_begins", "model_promoted", "model_moved_back", "operations_told")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
STEP = re.compile(r"((making|measuring) )?\d+ of \d+: ")
"""Progress that is left out."""


class Run:
    """A folder with payments, a registry and a worker, and what was said meanwhile."""

    def __init__(self, folder: Path, bootstrap: str) -> None:
        self.folder = folder
        self.connection = Connection(bootstrap=bootstrap)
        self.told = [f"$ {name}={fields}" for name, fields in SHORT.items()]
        self.seen: list[tuple[float, dict[str, float]]] = []
        self.began_s = time.time()
        (folder / "stream-infer.toml").write_text(CONFIG.format(bootstrap=bootstrap))
        self._log_at = 0

    def command(self, *words: str) -> None:
        """Run a command, and note it with what it printed."""
        ran = subprocess.run(  # noqa: S603 - our own command
            [*COMMAND, *words],
            cwd=self.folder,
            env={**os.environ, "NO_COLOR": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        if ran.returncode:
            raise SystemExit(f"{' '.join(words)}: {ran.stderr}")
        self._note_command(words)
        lines = [each.rstrip() for each in (ran.stdout + ran.stderr).splitlines() if each.strip()]
        self.told += [each for each in lines if not STEP.match(each)]

    def begin(self, *words: str) -> subprocess.Popen[bytes]:
        """Start a command, and note it."""
        self._note_command(words)
        with (self.folder / "replay.log").open("ab") as output:
            return subprocess.Popen(  # noqa: S603 - our own command
                [*COMMAND, *words], cwd=self.folder, stdout=output, stderr=output
            )

    def _note_command(self, words: Sequence[str]) -> None:
        line = " ".join(f'"{word}"' if " " in word else word for word in words)
        for name, fields in SHORT.items():
            line = line.replace(fields, f"${name}")
        self.told.append(f"$ stream-infer {line}")
        sys.stderr.write(f"{self.told[-1]}\n")

    def start(self) -> subprocess.Popen[bytes]:
        """Start the worker."""
        with (self.folder / "worker.log").open("wb") as output:
            return subprocess.Popen(  # noqa: S603 - our own command
                [*COMMAND, "worker", NAME, *KAFKA, "--web-port", "0"],
                cwd=self.folder,
                env={**os.environ, "NO_COLOR": "1"},
                stdout=output,
                stderr=output,
            )

    @property
    def log(self) -> str:
        """What the worker has logged."""
        return COLOUR.sub("", (self.folder / "worker.log").read_text())

    def note_log(self) -> None:
        """Note what the worker has logged since the last time about its versions."""
        lines = self.log.splitlines()
        for line in lines[self._log_at :]:
            if any(f" {word} " in line for word in SAID):
                self.told.append(re.sub(r" {2,}", "  ", line))
        self._log_at = len(lines)

    async def until(self, said: Callable[[str], bool], seconds: float, what: str) -> None:
        """Wait until the worker has logged what is waited for; look at its metrics meanwhile."""
        end_s = time.monotonic() + seconds
        while not said(self.log):
            if time.monotonic() > end_s:
                raise SystemExit(
                    f"{what}: not within {seconds:.0f} s; the log's end:\n"
                    + "\n".join(self.log.splitlines()[-20:])
                )
            self.look()
            await asyncio.sleep(0.25)

    def look(self) -> None:
        """Note what the metrics say of the trial."""
        port = re.search(r"url=http://127\.0\.0\.1:(\d+)", self.log)
        if port is None:
            return
        url = f"http://127.0.0.1:{port.group(1)}/metrics"
        with urllib.request.urlopen(url, timeout=5) as answer:
            text = answer.read().decode()
        found = re.findall(r"^stream_infer_trial_(\w+)\{[^}]*\} (\S+)$", text, re.MULTILINE)
        self.seen.append((time.time() - self.began_s, {name: float(v) for name, v in found}))

    async def scored(self, count: int) -> None:
        """Wait until so many payments are scored."""
        end_s = time.monotonic() + FILL_S_MAX
        while (have := await count_records(self.connection, pipeline.scored)) < count:
            if time.monotonic() > end_s:
                raise SystemExit(f"{have} of {count} payments were scored")
            await asyncio.sleep(2)


def write_files(data: Path, folder: Path) -> int:
    """Write what is trained on and what is sent; return how many payments are sent at first.

    The amounts stand there in cents, too: version 4 is to be trained on them.
    """
    frame = pl.read_parquet(data).with_columns((pl.col("TX_AMOUNT") * 100).alias("TX_CENTS"))
    at = pl.col("TX_DATETIME")
    frame.write_parquet(folder / "payments.parquet")
    until_july = frame.filter(at < FIRST_LIVE)
    until_july.write_parquet(folder / "until-july.parquet")
    frame.filter(at < LABELLED_BEFORE).write_parquet(folder / "labelled.parquet")
    frame.filter(at >= FIRST_LIVE).write_parquet(folder / "august.parquet")
    to_come = (at >= LABELLED_BEFORE) & (at < LABELS_TO_COME_BEFORE)
    frame.filter(to_come).write_parquet(folder / "labels-to-come.parquet")
    return len(until_july)


def labelled(amount: str = "TX_AMOUNT") -> tuple[str, ...]:
    """Return the options that name the file, its columns and its labels."""
    fields = FIELDS.format(amount=amount)
    return ("--data", "payments.parquet", "--fields", fields, "--labels", "TX_FRAUD")


def train(run: Run, kind: str, amount: str = "TX_AMOUNT") -> None:
    """Train a version and publish it."""
    words = (*labelled(amount), "--kinds", kind, *DAYS, "--registry", "registry")
    run.command("train", "fraud", *words)


def replay(file: str, *, labels: bool, speed: str = "max") -> tuple[str, ...]:
    """Return the command that sends a file's payments, or their labels."""
    assert pipeline.labels is not None  # noqa: S101 - it has
    topic = pipeline.labels.topic if labels else pipeline.events.topic
    fields = FIELDS.format(amount="TX_AMOUNT")
    more = ("--label-delay", LABEL_DELAY) if labels else ()
    fields += f",{pipeline.labels.truth}=TX_FRAUD" if labels else ""
    words = ("--topic", topic, "--pipeline", NAME, "--fields", fields, "--speed", speed)
    return ("replay", file, *words, *more, *KAFKA)


async def stream(run: Run, worker: subprocess.Popen[bytes], first: int) -> None:
    """Let the payments come, and command the registry."""
    await run.until(lambda log: "assigned" in log, 60, "a worker with partitions")
    run.command(*replay("until-july.parquet", labels=False))
    run.command(*replay("labelled.parquet", labels=True))
    await run.scored(first)
    for alias, more in (("challenger", ("--share", "0.1")), ("shadow", ())):
        run.command("models", "assign", NAME, alias, "3", *more, "--why", "made of 2", *MOVED)
    await run.until(lambda log: "'shadow': '3'" in log, 30, "a shadow")
    run.note_log()
    run.began_s, run.seen = time.time(), []
    sending = [
        run.begin(*replay("labels-to-come.parquet", labels=True, speed=SPEED)),
        run.begin(*replay("august.parquet", labels=False, speed=SPEED)),
    ]
    try:
        await run.until(lambda log: "model_promoted" in log, PROMOTE_S_MAX, "a promotion")
        await asyncio.sleep(3)
        run.note_log()
        why = ("--why", "as good offline")
        run.command("models", "assign", NAME, "challenger", "4", "--share", "0.2", *why, *MOVED)
        await run.until(lambda log: log.count("operations_told") == 1, BACK_S_MAX, "a rejection")
        run.note_log()
        run.command("models", "clear", NAME, "4", "--why", "it must have been the day", *MOVED)
        run.command("models", "promote", NAME, "4", *why, *MOVED)
        opened = re.compile("operations_told .*opened")
        await run.until(lambda log: len(opened.findall(log)) == 2, BACK_S_MAX, "a rollback")
        for _ in range(24):
            run.look()
            await asyncio.sleep(0.25)
        run.note_log()
    finally:
        for each in sending:
            each.terminate()
            each.wait()
    if worker.poll() is not None:
        raise SystemExit(run.log)
    run.command("models", "history", NAME, "--registry", "registry")


async def scored_seconds(run: Run) -> dict[str, dict[int, int]]:
    """Return version -> second -> how many payments it scored then, from the trial's begin on."""
    found: dict[str, dict[int, int]] = {}
    async with log_reader(run.connection, wait_ms=10) as reader:
        bounds = await reader.bounds(await reader.partitions(pipeline.scored))
        async for _, records in reader.read(bounds):
            for record in records:
                second = int(record.timestamp / 1000 - run.began_s)
                if second < 0:
                    continue
                version = msgspec.json.decode(record.value)["version"]
                by_second = found.setdefault(version, {})
                by_second[second] = by_second.get(second, 0) + 1
    return found


def _up_to(step: int, number: float) -> int:
    """Return the next multiple of a step: an axis of four parts then has round numbers."""
    return step * -(-int(number + 1) // step)


def picture(run: Run, scored: dict[str, dict[int, int]]) -> str:
    """Return two charts, one above the other."""
    last = max(second for by_second in scored.values() for second in by_second)
    most = max(count for by_second in scored.values() for count in by_second.values())
    x_range = (0.0, float(_up_to(20, last)))
    lines = [
        Line(
            f"version {version}",
            [(float(second), float(by_second.get(second, 0))) for second in range(last + 1)],
        )
        for version, by_second in sorted(scored.items())
    ]
    y_range = (0.0, float(_up_to(400, LEGEND * most)))
    top = line_chart(
        "payments scored", lines, "seconds", "a second", x_range=x_range, y_range=y_range
    )
    since = [(at, of) for at, of in run.seen if of and 0 <= at <= last]
    both = [
        Line("for a promotion", [(at, min(of["promote"], TOP)) for at, of in since]),
        Line("for a rejection", [(at, min(of["reject"], TOP)) for at, of in since]),
    ]
    trial = line_chart(
        "what the trial has of what is needed",
        both,
        "seconds",
        "share",
        x_range=x_range,
        y_range=(0.0, TOP),
    )
    height = 260
    inner = [
        each.replace("<svg ", f'<svg y="{at * height}" height="{height}" ', 1)
        for at, each in enumerate((top, trial))
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 460 {2 * height}" width="690">'
        f"{''.join(inner)}</svg>\n"
    )


def main() -> None:
    """Run it, and write page and picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    default = os.environ.get("STREAM_INFER_DATA", "../shared/data")
    parser.add_argument("--data", type=Path, default=Path(default))
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--picture", type=Path, default=PICTURE)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, EmbeddedBroker() as broker:
        run = Run(Path(name), broker.bootstrap)
        first = write_files(given.data / FILE, run.folder)
        train(run, "logistic")
        run.command("models", "promote", NAME, "1", "--registry", "registry")
        train(run, "trees")
        run.command("evaluate", f"{NAME}@2", *labelled(), *DAYS, "--registry", "registry")
        run.command(
            *("optimize", f"{NAME}@2", *labelled(), "--only", SMALLER),
            *("--registry", "registry", "--publish"),
        )
        train(run, "trees", "TX_CENTS")
        run.command("topics", "create", NAME, "--partitions", "4", *KAFKA)
        worker = run.start()
        try:
            asyncio.run(stream(run, worker, first))
            scored = asyncio.run(scored_seconds(run))
        finally:
            worker.terminate()
            worker.wait()
    given.picture.write_text(picture(run, scored))
    page = PAGE.read_text()
    told = "\n".join(run.told)
    block = f"{START}\n\n```console\n{told}\n```\n\n{END}"
    given.page.write_text(page[: page.index(START)] + block + page[page.index(END) + len(END) :])


if __name__ == "__main__":
    main()
