"""Make the run and the picture of docs/continuous-updates.md: a real run, on a Kafka of its own.

    python docs/make_continuous_updates.py

Takes two minutes. What the commands print and the worker logs is written between the marks of the
page; the picture shows which version scored and how the trial stood, second by second.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from stream_infer.broker import EmbeddedBroker
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.reading import log_reader
from stream_infer.kafka.sending import topic_sender
from stream_infer.simulators.fraud import DAY_MS, Transactions, World, generate
from stream_infer.simulators.records import Records, label_records, transaction_records
from stream_infer.training.pictures import Line, line_chart

HERE = Path(__file__).parent
PAGE, PICTURE = HERE / "continuous-updates.md", HERE / "images" / "continuous-updates.svg"
START, END = "<!-- run -->", "<!-- end of run -->"
WORLD = World(
    seed=5, customers=400, terminals=200, days=44, terminals_lost=0.0015, cards_lost=0.0015
)
TRIAL_DAY = 30
TOP = 1.2
"""Of the trial's axis; at 1 there is an answer."""
CONFIG = """\
[kafka]
bootstrap = "{bootstrap}"

[worker]
align_wait_max = "none"

[model]
registry = "registry"
trial = "promote"
"""
FIELDS = "transaction_id=id,event_time=at:ms,customer_id=who,terminal_id=where,amount={}"
TREES = {"trees": 160, "leaves": 15, "rate": 0.08, "inputs": 0.5, "weight": 1}
# One setting of each kind of model instead of a search, or most of the run would be training.
QUICK = f"""
from stream_infer.cli import main
from stream_infer.training import candidates
candidates.DECLARED["trees"] = ({TREES!r},)
candidates.DECLARED["logistic"] = candidates.DECLARED["logistic"][:1]
main()
"""
COMMAND = (sys.executable, "-c", "from stream_infer.cli import main; main()")
LEARN = ("train", "optimize")
SAID = ("models_serve", "trial_begins", "model_promoted", "model_moved_back", "operations_told")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class Run:
    """A folder with payments, a registry and a worker, and what was said meanwhile."""

    def __init__(self, folder: Path, bootstrap: str) -> None:
        self.folder = folder
        self.connection = Connection(bootstrap=bootstrap)
        self.told: list[str] = []
        self.seen: list[tuple[float, dict[str, float]]] = []
        self.began_s = time.time()
        (folder / "stream-infer.toml").write_text(CONFIG.format(bootstrap=bootstrap))
        self._log_at = 0

    def command(self, *words: str, shown: Sequence[str] | None = None) -> None:
        """Run a command, and note it with what it printed."""
        ran = subprocess.run(  # noqa: S603 - our own command
            [sys.executable, "-c", QUICK, *words] if words[0] in LEARN else [*COMMAND, *words],
            cwd=self.folder,
            env={**os.environ, "NO_COLOR": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        if ran.returncode:
            raise SystemExit(f"{' '.join(words)}: {ran.stderr}")
        line = " ".join(f'"{word}"' if " " in word else word for word in shown or words)
        self.told.append(f"$ stream-infer {line}")
        self.told += [each.rstrip() for each in (ran.stdout + ran.stderr).splitlines() if each][-9:]

    def start(self) -> subprocess.Popen[bytes]:
        """Start the worker."""
        with (self.folder / "worker.log").open("wb") as output:
            return subprocess.Popen(  # noqa: S603 - our own command
                [*COMMAND, "worker", "fraud", "--config", "stream-infer.toml", "--web-port", "0"],
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

    async def until(self, word: str, times: int = 1) -> None:
        """Wait until the worker has said it so many times; look at its metrics meanwhile."""
        async with asyncio.timeout(180):
            while self.log.count(word) < times:
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

    async def send(self, topic: str, records: Records, seconds: float = 0.0) -> None:
        """Send records, spread over some seconds."""
        pieces = max(1, round(seconds * 4))
        size = -(-len(records.values) // pieces)
        async with topic_sender(self.connection, topic) as sender:
            for start in range(0, len(records.values), size):
                end = start + size
                keys = [key.decode() for key in records.keys[start:end]]
                await sender.send(keys, records.values[start:end])
                await sender.flush()
                if seconds:
                    self.look()
                    await asyncio.sleep(0.25)


def write_payments(path: Path, payments: Transactions) -> None:
    """Write the file that the versions are trained on."""
    pl.DataFrame(
        {
            "id": [f"t-{n}" for n in range(len(payments))],
            "at": payments.event_time,
            "who": payments.customer,
            "where": payments.terminal,
            "euros": payments.amount_cents / 100,
            "cents": payments.amount_cents.astype("float64"),
            "fraud": payments.fraud > 0,
        }
    ).write_parquet(path)


def train(run: Run, amounts: str, days: str, kind: str) -> None:
    """Train a version and publish it."""
    run.command(
        *("train", "fraud", "--pipeline", "fraud", "--data", "payments.parquet"),
        *("--fields", FIELDS.format(amounts), "--labels", "fraud", "--kinds", kind),
        *("--train", days, "--test", "2026-01-31..2026-02-05", "--budget", "0.02"),
        *("--registry", "registry"),
    )


def between(rows: Transactions, times: Any, first: int, last: int) -> Transactions:
    """Return the rows whose time lies within days of the world."""
    day = (times - WORLD.start_ms) // DAY_MS
    return rows.take((day >= first) & (day < last))


def later() -> Iterator[Transactions]:
    """Return payments of later days, forty at a time."""
    for n in range(100):
        start = WORLD.start_ms + (WORLD.days + n) * DAY_MS
        day = dataclasses.replace(
            WORLD, seed=100 + n, days=1, start_ms=start, id_prefix=f"later{n}-"
        )
        payments = generate(day)
        for first in range(0, len(payments) - 40, 40):
            yield payments.take(slice(first, first + 40))


async def scored_seconds(run: Run) -> dict[str, dict[int, int]]:
    """Return version -> second -> how many payments it scored then."""
    found: dict[str, dict[int, int]] = {}
    async with log_reader(run.connection, wait_ms=10) as reader:
        bounds = await reader.bounds(await reader.partitions("scored-transactions"))
        async for _, records in reader.read(bounds):
            for record in records:
                version = msgspec.json.decode(record.value)["version"]
                second = int(record.timestamp / 1000 - run.began_s)
                by_second = found.setdefault(version, {})
                by_second[second] = by_second.get(second, 0) + 1
    return found


async def stream(run: Run, worker: subprocess.Popen[bytes], payments: Transactions) -> None:
    """Let the payments come, and command the registry."""
    labels = payments.by_label_time()
    moved = ("--registry", "registry", "--pipeline", "fraud", "--config", "stream-infer.toml")
    early = between(payments, payments.event_time, 0, TRIAL_DAY)
    known = between(labels, labels.label_time, 0, TRIAL_DAY)
    await run.until("assigned")
    await run.send("transactions", transaction_records(early))
    await run.send("fraud-labels", label_records(known))
    await run.until("checkpoint_published")
    run.began_s, run.seen = time.time(), []
    for alias, more in (("challenger", ("--share", "0.1")), ("shadow", ())):
        why = ("--why", "half of 2")
        run.command("models", "assign", "fraud", alias, "3", *more, *why, *moved)
    await run.until("'shadow': '3'")
    rest = between(payments, payments.event_time, TRIAL_DAY, 99)
    await run.send("transactions", transaction_records(rest), seconds=15)
    still = between(labels, labels.label_time, TRIAL_DAY, 99)
    await run.send("fraud-labels", label_records(still), seconds=15)
    await run.until("model_promoted")
    await run.until("'champion': '3'")
    run.note_log()
    train(run, "cents", "2026-01-12..2026-01-23", "trees")
    run.command("models", "promote", "fraud", "4", "--why", "as good offline", *moved)
    for some in later():
        if "model_moved_back" in run.log:
            break
        await run.send("transactions", transaction_records(some), seconds=0.25)
    for some, _ in zip(later(), range(24), strict=False):
        await run.send("transactions", transaction_records(some), seconds=0.25)
    run.note_log()
    run.command("models", "history", "fraud", "--registry", "registry")
    if worker.poll() is not None:
        raise SystemExit(run.log)


def picture(run: Run, scored: dict[str, dict[int, int]]) -> str:
    """Return two charts, one above the other."""
    last = max(second for by_second in scored.values() for second in by_second)
    lines = [
        Line(
            f"version {version}",
            [(float(second), float(by_second.get(second, 0))) for second in range(last + 1)],
        )
        for version, by_second in sorted(scored.items())
    ]
    top = line_chart("payments scored", lines, "seconds", "a second", x_range=(0.0, last))
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
        x_range=(0.0, last),
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
    with tempfile.TemporaryDirectory() as name, EmbeddedBroker() as broker:
        run = Run(Path(name), broker.bootstrap)
        payments = generate(WORLD)
        write_payments(run.folder / "payments.parquet", payments)
        train(run, "euros", "2026-01-12..2026-01-19", "logistic")
        run.command("models", "promote", "fraud", "1", "--registry", "registry")
        train(run, "euros", "2026-01-12..2026-01-23", "trees")
        run.command(
            *("optimize", "fraud@2", "--pipeline", "fraud", "--data", "payments.parquet"),
            *("--fields", FIELDS.format("euros"), "--labels", "fraud", "--registry", "registry"),
            *("--only", "half-trees", "--drop-max", "0.2", "--flips-max", "0.9", "--publish"),
        )
        run.command("topics", "create", "fraud", "--config", "stream-infer.toml")
        worker = run.start()
        try:
            asyncio.run(stream(run, worker, payments))
            scored = asyncio.run(scored_seconds(run))
        finally:
            worker.terminate()
            worker.wait()
    PICTURE.write_text(
        picture(run, {v: {s: n for s, n in of.items() if s >= 0} for v, of in scored.items()})
    )
    page = PAGE.read_text()
    told = "\n".join(run.told)
    block = f"{START}\n\n```console\n{told}\n```\n\n{END}"
    PAGE.write_text(page[: page.index(START)] + block + page[page.index(END) + len(END) :])


if __name__ == "__main__":
    main()
