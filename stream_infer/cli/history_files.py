"""Files of events and of labels, as commands name them: read into the contract's records."""

from __future__ import annotations

from pathlib import Path

from stream_infer.errors import UsageError
from stream_infer.events.mapping import FieldMapping, FieldSource
from stream_infer.files.contract import Records, event_form, label_form, read_records
from stream_infer.files.labels import delayed_labels
from stream_infer.files.tables import read_table
from stream_infer.pipeline import Pipeline


def read_files(
    pipeline: Pipeline,
    source: Path,
    labels_file: Path | None,
    *,
    fields: FieldMapping | None,
    label_fields: FieldMapping | None,
    label_delay: int | None,
    label_field: str | None,
) -> tuple[Records, Records | None]:
    """Return the events of a file, and the labels of another one or of the same.

    label_delay  ms; make a label of each event, known so much later
    label_field  the events' column that holds the truth, for those
    Raises       UsageError for options that contradict each other; as `read_table`, `read_records`
    """
    if labels_file is not None and (label_delay is not None or label_field is not None):
        raise UsageError(
            "two_sources_of_labels",
            "Labels are asked for from a file and from the events at once.",
            "Use either --labels, or --label-delay with --label-field.",
        )
    if label_field is not None and label_delay is None:
        raise UsageError(
            "label_delay_missing",
            "--label-field says which rows are true, and nothing says when that was known.",
            "Add --label-delay, such as --label-delay 6d.",
        )
    frame = read_table(source)
    known = list(label_form(pipeline).type.__struct_fields__) if pipeline.labels else []
    events = read_records(frame, event_form(pipeline), fields, known=known)
    if label_delay is not None:
        truth = _with_truth(pipeline, fields, label_field)
        return events, delayed_labels(frame, pipeline, truth, label_delay)
    if labels_file is None:
        return events, None
    labels = read_records(read_table(labels_file), label_form(pipeline), label_fields)
    return events, labels.sorted_by_time()


def _with_truth(
    pipeline: Pipeline, fields: FieldMapping | None, column: str | None
) -> FieldMapping | None:
    """Return the mapping with the column of the truth in it."""
    if column is None or pipeline.labels is None:
        return fields
    sources = dict(fields.sources) if fields else {}
    return FieldMapping(sources | {pipeline.labels.truth: FieldSource((column,))})
