"""The handbook's figures once more, from scores that a worker wrote to a real Kafka.

    python -m benchmarks.through_kafka MODEL --data FILE --fields … --labels COLUMN --train … \
        --test …

Starts a Kafka of its own (or takes --bootstrap), sends the file and its labels, lets one worker do
all of it, and reads what it wrote. The figures are then computed from those scores and from the
model run over the file, which must agree bit for bit; exit code 1 where they do not.

Partitions are read in step to an hour only, so a label that is sent when features begin to count
it may stand in the log behind payments that should see it. Labels are therefore sent two hours
before that. No feature counts them sooner for it: each declares its own delay.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_infer.broker import EmbeddedBroker
from stream_infer.durations import parse_duration
from stream_infer.events.mapping import FieldMapping
from stream_infer.features.plan import compile_plan
from stream_infer.files.contract import event_form, label_form, read_records
from stream_infer.files.tables import read_table
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.reading import log_reader
from stream_infer.pipeline import Pipeline
from stream_infer.pipelines.loading import built_in_pipelines, load_pipeline
from stream_infer.scoring.model import Model, load_model
from stream_infer.scoring.session import Scorer
from stream_infer.training.days import parse_days
from stream_infer.training.evaluating import Question, chosen_rows, pipeline_of
from stream_infer.training.gathering import Source, gather
from stream_infer.training.report import measured

COMMAND = (sys.executable, "-c", "from stream_infer.cli import main; main()")
PARTITIONS = "4"
LABELS_AHEAD_MS = 7_200_000
"""How long before features count labels these are sent: twice what a worker lets partitions run
ahead of each other (`align_skew`)."""
SILENCE_S_MAX = 180.0
"""A worker that writes nothing for so long will not go on."""


class Scored(msgspec.Struct):
    """What is read of a scored payment."""

    transaction_id: str
    score: float | None
    version: str | None


def command(*words: object) -> None:
    """Run a command of the command line; raise where it fails."""
    subprocess.run([*COMMAND, *map(str, words)], check=True, stdout=subprocess.DEVNULL)  # noqa: S603


@contextmanager
def working(reference: str, model: Path | None, bootstrap: str, log: Path) -> Iterator[Any]:
    """Run one worker; it is stopped at the end.

    model  None: the pipeline has none
    """
    # Files are sent one after the other: the labels of the first day come after the last payment.
    variables = os.environ | {"STREAM_INFER_WORKER__ALIGN_WAIT_MAX": "1h"}
    words = ["worker", reference, "--bootstrap", bootstrap, "--web-port", "off"]
    words += ["--publish-features"] if model is None else ["--model", str(model)]
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - our own command
            [*COMMAND, *words], stdout=output, stderr=output, env=variables
        )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(120)


async def read_written(
    bootstrap: str, topic: str, take: Callable[[Any], int], expected: int, process: Any, log: Path
) -> None:
    """Read what a worker writes to a topic, until so much of it came.

    take    takes a record, and returns how many it has by then
    Raises  RuntimeError where the worker ends, or writes nothing for long
    """
    have, heard = 0, time.monotonic()
    async with log_reader(Connection(bootstrap=bootstrap)) as reader:
        done = dict.fromkeys(await reader.partitions(topic), 0)
        while have < expected:
            bounds = await reader.bounds(list(done))
            left = {tp: replace(at, start=max(at.start, done[tp])) for tp, at in bounds.items()}
            async for _, records in reader.read(left):
                for record in records:
                    have, heard = take(record), time.monotonic()
            done = {tp: at.end for tp, at in bounds.items()}
            if process.poll() is not None or time.monotonic() - heard > SILENCE_S_MAX:
                raise RuntimeError(f"{have} of {expected} came; see {log}")
            await asyncio.sleep(0.5)


def streamed_scores(
    pipeline: Pipeline, reference: str, model: Path, source: Source, bootstrap: str, folder: Path
) -> dict[str, Scored]:
    """Send the file and its labels, let one worker score it, and return what it wrote."""
    assert pipeline.labels is not None  # noqa: S101 - `gather` refuses such a pipeline
    kafka = ("--bootstrap", bootstrap)
    fields = dict(source.fields.sources) if source.fields else {}
    told = ",".join(f"{name}={each.text}" for name, each in fields.items())
    told += f",{pipeline.labels.truth}={source.labels}"
    words = ("--pipeline", reference, "--fields", told, *kafka)
    command("topics", "create", reference, "--partitions", PARTITIONS, *kafka)
    command("replay", source.data, "--topic", pipeline.events.topic, *words)
    delay = ("--label-delay", f"{source.delay_ms - LABELS_AHEAD_MS}ms")
    command("replay", source.data, "--topic", pipeline.labels.topic, *delay, *words)
    rows = _ids(pipeline, source)
    log = folder / "worker.log"
    with working(reference, model, bootstrap, log) as process:
        decode = msgspec.json.Decoder(Scored).decode
        found: dict[str, Scored] = {}

        def take(record: Any) -> int:
            scored = decode(record.value)
            found[scored.transaction_id] = scored
            return len(found)

        asyncio.run(read_written(bootstrap, pipeline.scored, take, len(rows), process, log))
    command("audit", reference, *kafka)  # exit code 0: none lost, none scored twice
    return found


def _ids(pipeline: Pipeline, source: Source) -> list[str]:
    """Return the ids of the file's payments in order of event time."""
    known = list(label_form(pipeline).type.__struct_fields__)
    frame = read_table(source.data)
    events = read_records(frame, event_form(pipeline), source.fields, known=known)
    return [str(name) for name in events.sorted_by_time().columns[pipeline.events.id]]


def compare(
    model: Model, pipeline: Pipeline, source: Source, question: Question, found: dict[str, Scored]
) -> dict[str, Any]:
    """Return the figures of the streamed scores, and how they differ from the file's."""
    plan = compile_plan(pipeline)
    samples = gather(pipeline, source).samples
    scorer = Scorer(model, plan.feature_names, plan.fingerprint)
    from_file = scorer.score(samples.matrix)
    streamed = np.array(
        [
            np.nan if (score := found[name].score) is None else score
            for name in _ids(pipeline, source)
        ],
        np.float32,
    )
    figures = [
        _figures(replace(samples, matrix=scores[:, None]), question, scorer)
        for scores in (streamed, from_file)
    ]
    differ = streamed.view(np.int32) != from_file.view(np.int32)
    return {
        "payments": len(samples),
        "versions": sorted({str(each.version) for each in found.values()}),
        "scores_that_differ": int(differ.sum()),
        "figures_equal": figures[0] == figures[1],
    } | {name: figures[0][name] for name in ("auc", "average_precision", "card_precision_100")}


def _figures(samples: Any, question: Question, scorer: Scorer) -> dict[str, Any]:
    rows = chosen_rows(samples, question)
    scores: NDArray[np.float32] = rows.matrix[:, 0]
    return measured(scores, rows, scorer.thresholds)


def reference_of(pipeline: Pipeline) -> str:
    """Return the word by which the command line names a built-in pipeline."""
    return next(name for name in built_in_pipelines() if load_pipeline(name).name == pipeline.name)


def through_kafka(
    folder: Path, source: Source, question: Question, bootstrap: str | None = None
) -> dict[str, Any]:
    """Return the figures of a model's folder from scores that a worker wrote.

    bootstrap  a Kafka without the pipeline's topics; None starts one
    """
    model = load_model(folder)
    pipeline = pipeline_of(model.manifest)
    reference = reference_of(pipeline)
    with tempfile.TemporaryDirectory(prefix="through-kafka-") as work:
        place = Path(work)
        if bootstrap is not None:
            found = streamed_scores(pipeline, reference, folder, source, bootstrap, place)
        else:
            with EmbeddedBroker() as broker:
                found = streamed_scores(
                    pipeline, reference, folder, source, broker.bootstrap, place
                )
    return compare(model, pipeline, source, question, found)


def asked(
    data: Path,
    fields: str,
    labels: str = "TX_FRAUD",
    delay: str = "7d",
    train: str = "2018-07-25..2018-07-31",
    test: str = "2018-08-08..2018-08-14",
) -> tuple[Source, Question]:
    """Return what is scored and measured; without more, the handbook's protocol."""
    delay_ms = parse_duration(delay)
    source = Source(
        data=data,
        fields=FieldMapping.parse(fields),
        labels=labels,
        label_fields=None,
        delay_ms=delay_ms,
    )
    question = Question(
        test=parse_days(test, "--test"),
        train=parse_days(train, "--train"),
        delay_ms=delay_ms,
        keep_known=False,
    )
    return source, question


def main() -> None:
    """Measure, print, and fail where stream and file differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--fields", required=True)
    parser.add_argument("--labels", required=True)
    parser.add_argument("--train", required=True)
    parser.add_argument("--test", required=True)
    parser.add_argument("--delay", default="7d")
    parser.add_argument("--bootstrap")
    given = parser.parse_args()
    source, question = asked(
        given.data, given.fields, given.labels, given.delay, given.train, given.test
    )
    said = through_kafka(given.model, source, question, given.bootstrap)
    print(json.dumps(said, indent=1))
    if said["scores_that_differ"] or not said["figures_equal"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
