"""From files to samples: the features of the stream, and each row's truth with its time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stream_infer.errors import InvalidDataError, UsageError
from stream_infer.events.columns import NO_POSITION, EventColumns
from stream_infer.events.mapping import FieldMapping, FieldSource
from stream_infer.features.plan import compile_plan
from stream_infer.features.table import compute_features
from stream_infer.files.contract import Records, event_form, label_form, read_records
from stream_infer.files.features import decode_records
from stream_infer.files.labels import delayed_labels
from stream_infer.files.tables import SUFFIXES, read_table
from stream_infer.pipeline import Pipeline
from stream_infer.training.samples import NEVER, Samples

if TYPE_CHECKING:
    import polars as pl

LABEL_WORDS = ("0", "1", "false", "true")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where rows and their truth stand.

    data          file of events
    fields        contract field -> column
    labels        column of `data` with the truth, or a file of labels; None: the contract's own
                  column
    label_fields  as `fields`, for the file of labels
    delay_ms      how long after its event a label of a column is known
    skip_bad      whether rows that cannot be used are left out
    """

    data: Path
    fields: FieldMapping | None
    labels: str | None
    label_fields: FieldMapping | None
    delay_ms: int
    skip_bad: bool = False


@dataclass(frozen=True, slots=True)
class Gathered:
    """Samples, and what was found on the way.

    unlabelled  rows without any label; they count as genuine
    duplicates  rows left out, since their id came before
    bad         rows left out, since they could not be used
    """

    samples: Samples
    unlabelled: int
    duplicates: int
    bad: int

    def facts(self) -> dict[str, int]:
        """Return the counts."""
        return {
            "rows": len(self.samples),
            "positives": int(self.samples.truth.sum()),
            "unlabelled": self.unlabelled,
            "duplicates": self.duplicates,
            "bad": self.bad,
        }


def gather(pipeline: Pipeline, source: Source) -> Gathered:
    """Read the files and compute the pipeline's features, in order of event time.

    Raises  UsageError ``labels_unknown``, ``column_missing``; InvalidDataError ``label_format``,
            ``bad_rows``
    """
    frame = read_table(source.data)
    names = list(label_form(pipeline).type.__struct_fields__)
    events = read_records(frame, event_form(pipeline), source.fields, known=names).sorted_by_time()
    labels = _labels(frame, pipeline, source)
    columns, known, bad = decode_records(pipeline, events, labels, skip_bad=source.skip_bad)
    return gather_columns(pipeline, columns, known, bad=len(bad))


def gather_columns(
    pipeline: Pipeline, columns: EventColumns, labels: EventColumns | None, *, bad: int = 0
) -> Gathered:
    """Return the samples of events and labels that are decoded already."""
    matrix = compute_features(compile_plan(pipeline), columns, labels)
    truth, known_at = truth_of(columns.ids, labels)
    numbers: dict[str, int] = {}
    keys = columns.entities[pipeline.events.key]
    customer = np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)
    samples = Samples(
        matrix.astype(np.float32), truth, known_at, np.asarray(columns.event_time), customer
    )
    new = columns.duplicate_of == NO_POSITION
    kept = samples if new.all() else samples.take(new)
    return Gathered(kept, int((kept.known_at == NEVER).sum()), int((~new).sum()), bad)


def truth_of(
    ids: Sequence[str], labels: EventColumns | None
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return each event's truth and since when it is known; the label known last wins."""
    told: dict[str, tuple[int, int]] = {}
    if labels is not None:
        for identity, at, label in zip(
            labels.ids, labels.label_time.tolist(), labels.label.tolist(), strict=True
        ):
            held = told.get(identity)
            if held is None or at >= held[0]:
                told[identity] = (at, label)
    never = (int(NEVER), 0)
    pairs = np.array([told.get(identity, never) for identity in ids], np.int64)
    pairs = pairs.reshape(-1, 2)
    return pairs[:, 1] == 1, pairs[:, 0].copy()


def _labels(frame: pl.DataFrame, pipeline: Pipeline, source: Source) -> Records:
    """Return the labels from the column or the file that is named."""
    if pipeline.labels is None:
        label_form(pipeline)  # raises, naming the pipeline
        raise AssertionError
    truth = pipeline.labels.truth
    named = source.labels or _mapped(source.fields, truth) or truth
    if named in frame.columns:
        frame = _with_flags(frame, named)
        sources = dict(source.fields.sources) if source.fields else {}
        mapping = FieldMapping(sources | {truth: FieldSource((named,))})
        return delayed_labels(frame, pipeline, mapping, source.delay_ms)
    if Path(named).suffix.lower() in SUFFIXES:
        form = label_form(pipeline)
        return read_records(read_table(Path(named)), form, source.label_fields).sorted_by_time()
    raise UsageError(
        "labels_unknown",
        f"{named!r} is neither a column of {source.data.name} nor a file of labels.",
        f"Name the column of the truth with --labels, one of: {', '.join(frame.columns)}; or a "
        f"file that ends in {', '.join(SUFFIXES)}.",
        labels=named,
    )


def _mapped(fields: FieldMapping | None, name: str) -> str | None:
    return fields.source(name).text if fields and name in fields.sources else None


def _with_flags(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    """Return the rows whose label is known; refuse a column that is no yes or no."""
    column = frame[name]
    if column.dtype.is_float():
        # 1.0 is the flag 1: a column of flags with a gap comes as float from other tools.
        column = column.cast(int, strict=False) if (column % 1 == 0).all() else column
        frame = frame.with_columns(column.alias(name))
    words = {str(value).lower() for value in column.drop_nulls().unique().head(1_000).to_list()}
    strange = sorted(words - {*LABEL_WORDS, ""})
    if strange:
        raise InvalidDataError(
            "label_format",
            f"The column {name!r} holds {', '.join(repr(word) for word in strange[:5])}, which is "
            "neither yes nor no.",
            f"Write each label as one of {', '.join(LABEL_WORDS)}, empty where nothing is known.",
            column=name,
        )
    known = column.is_not_null()
    return frame.filter(known & (column != "") if "" in words else known)
