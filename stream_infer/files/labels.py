"""Labels made from a file of events: the truth about each row, known a fixed time later."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stream_infer.events.mapping import FieldMapping, FieldSource
from stream_infer.files.contract import (
    RecordForm,
    Records,
    event_form,
    label_form,
    read_records,
)
from stream_infer.files.tables import import_polars

if TYPE_CHECKING:
    import polars as pl

    from stream_infer.pipeline import Pipeline


def delayed_labels(
    frame: pl.DataFrame,
    pipeline: Pipeline,
    mapping: FieldMapping | None,
    delay_ms: int,
) -> Records:
    """Return one label for each row of a file of events, in order of label time.

    mapping   as for the events; it also names the column of the truth
    delay_ms  label time less event time
    Raises    as `read_records`; a row without a usable event time has no label time
    """
    form = label_form(pipeline)
    time = pipeline.events.time
    label_time = form.order
    # The label time is no column of the file: it is made below from the event's time.
    stand_in = frame.with_columns(import_polars().lit(0).alias(label_time))
    sources = dict((mapping or FieldMapping({})).sources)
    sources[label_time] = FieldSource((label_time,))
    known = list(event_form(pipeline).type.__struct_fields__)
    timed = RecordForm(type=form.type, times=form.times, ids=form.ids, key=form.key, order=time)
    records = read_records(stand_in, timed, FieldMapping(sources), known=known)
    later = records.order + delay_ms
    columns = records.columns | {label_time: later.tolist()}
    return Records(columns, later, form).sorted_by_time()
