"""Features of a file's rows, by the decoder and the folds of the stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stream_infer.errors import InvalidDataError
from stream_infer.events.columns import EventColumns
from stream_infer.events.decode import BadRecord, Decoded, EventDecoder, LabelDecoder
from stream_infer.features.plan import compile_plan
from stream_infer.features.table import compute_features
from stream_infer.files.contract import Records
from stream_infer.files.tables import import_polars
from stream_infer.pipeline import Pipeline

if TYPE_CHECKING:
    import polars as pl

BAD_ROWS_NAMED_MAX = 10


@dataclass(frozen=True, slots=True)
class FeatureTable:
    """Ids and features of the good rows, in file order, and what was wrong with the others."""

    frame: pl.DataFrame
    bad: list[BadRecord]


def feature_table(
    pipeline: Pipeline, events: Records, labels: Records | None, *, skip_bad: bool = False
) -> FeatureTable:
    """Return id columns and one column a feature, named as declared, in the rows' order.

    skip_bad  leave bad rows out; else they are an error
    Raises    `InvalidDataError` naming rows (counted from 1) and causes
    """
    columns, known, bad = decode_records(pipeline, events, labels, skip_bad=skip_bad)
    plan = compile_plan(pipeline)
    matrix = compute_features(plan, columns, known)
    return FeatureTable(_frame(pipeline, columns, plan.feature_names, matrix), bad)


def decode_records(
    pipeline: Pipeline, events: Records, labels: Records | None, *, skip_bad: bool = False
) -> tuple[EventColumns, EventColumns | None, list[BadRecord]]:
    """Return good events and labels as columns, in the rows' order, and what was bad.

    Raises  as `feature_table`
    """
    decoded = _decode(EventDecoder(pipeline.events), events)
    known = None
    bad = [BadRecord(item.row, item.code, item.message) for item in decoded.bad]
    if labels is not None and pipeline.labels is not None:
        found = _decode(LabelDecoder(pipeline.labels, pipeline.events), labels)
        known = found.columns
        bad += [BadRecord(b.row, b.code, f"label: {b.message}") for b in found.bad]
    if bad and not skip_bad:
        raise _refused(bad)
    _place(decoded.columns, decoded.rows)
    return decoded.columns, known, bad


def _decode(decoder: EventDecoder | LabelDecoder, records: Records) -> Decoded:
    return decoder.decode(records.values(0, len(records)))


def _place(columns: EventColumns, rows: NDArray[np.int64]) -> None:
    """Give each row the position that it would have in a log of one partition."""
    columns.source_partition[:] = 0
    columns.source_offset[:] = rows


def _refused(bad: list[BadRecord]) -> InvalidDataError:
    named = "; ".join(
        f"row {item.row + 1}: {item.code}, {item.message}" for item in bad[:BAD_ROWS_NAMED_MAX]
    )
    more = f"; and {len(bad) - BAD_ROWS_NAMED_MAX} more" if len(bad) > BAD_ROWS_NAMED_MAX else ""
    return InvalidDataError(
        "bad_rows",
        f"{len(bad)} rows cannot be used: {named}{more}.",
        "Mend these rows or the --fields that map them, or leave them out with --skip-bad.",
        rows=[
            {"row": item.row + 1, "code": item.code, "message": item.message}
            for item in bad[: 100 * BAD_ROWS_NAMED_MAX]
        ],
        count=len(bad),
    )


def _frame(
    pipeline: Pipeline,
    columns: EventColumns,
    names: tuple[str, ...],
    matrix: NDArray[np.float64],
) -> pl.DataFrame:
    polars = import_polars()
    events = pipeline.events
    ids = {events.id: columns.ids} | {name: columns.entities[name] for name in events.entities}
    table = {name: polars.Series(name, texts, dtype=polars.String) for name, texts in ids.items()}
    table |= {name: polars.Series(name, matrix[:, place]) for place, name in enumerate(names)}
    frame: pl.DataFrame = polars.DataFrame(table)
    return frame
