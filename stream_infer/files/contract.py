"""A file's columns as the contract's records: each row becomes the JSON that a producer sends.

A row goes through the same JSON and the same decoder as a record from Kafka, so a
file and a stream cannot mean different things. What a file adds is its types:

    ids and entities  text as it stands; whole numbers as their decimal text
    times             numbers in the mapping's unit (ms when none), dates and times; where a
                      zone is missing, text and dates are taken as UTC, since a file's
                      columns seldom carry one
    numbers, flags    numbers, and their text in a CSV; a flag may be 0/1 or false/true
    anything else     as it stands

An empty cell is an absent field. What cannot be converted is sent as it stands, so
that the decoder names the cause (`bad_time`, `wrong_type`, ...) as it does in a stream.
"""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_infer.errors import UsageError
from stream_infer.events.mapping import FieldMapping, FieldSource
from stream_infer.events.times import GOOD, TimeUnit, to_epoch_ms
from stream_infer.files.tables import import_polars
from stream_infer.pipeline import Pipeline

if TYPE_CHECKING:
    import polars as pl

ROWS_PER_CHUNK = 20_000

_FLAGS = {"true": True, "false": False, "1": True, "0": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordForm:
    """What a row becomes.

    type   the contract's type of the record
    times  its fields that hold times
    ids    its fields that hold ids or entities
    key    the field whose value is the record's key
    order  the time field by which records are ordered and paced
    """

    type: type[msgspec.Struct]
    times: tuple[str, ...]
    ids: tuple[str, ...]
    key: str
    order: str


def event_form(pipeline: Pipeline) -> RecordForm:
    """Return the form of a record of the pipeline's input topic."""
    events = pipeline.events
    return RecordForm(
        type=events.type,
        times=(events.time,),
        ids=(events.id, *events.entities),
        key=events.key,
        order=events.time,
    )


def label_form(pipeline: Pipeline) -> RecordForm:
    """Return the form of a record of the pipeline's label topic."""
    events, labels = pipeline.events, pipeline.labels
    if labels is None:
        raise UsageError(
            "pipeline_without_labels",
            f"Pipeline {pipeline.name!r} declares no labels.",
            "Leave the label options away, or name another pipeline.",
        )
    return RecordForm(
        type=labels.type,
        times=(events.time, labels.time),
        ids=(events.id, *events.entities),
        key=events.id,
        order=labels.time,
    )


@dataclass(frozen=True, slots=True)
class Records:
    """Rows of a file as records, in file order.

    columns  contract field -> n values as JSON has them, None where the cell is empty
    order    (n,) int64, ms: the record's time in `RecordForm.order`; 0 where it is no time
    form     what the rows become
    """

    columns: dict[str, list[Any]]
    order: NDArray[np.int64]
    form: RecordForm

    def __len__(self) -> int:
        return len(self.order)

    def sorted_by_time(self) -> Records:
        """Return the records in order of time; rows of one time keep their order."""
        places = np.argsort(self.order, kind="stable")
        if np.array_equal(places, np.arange(len(places))):
            return self
        picked = places.tolist()
        columns = {name: [cells[i] for i in picked] for name, cells in self.columns.items()}
        return Records(columns, self.order[places], self.form)

    def keys(self, start: int, end: int) -> list[str]:
        """Return the keys of rows ``start..end-1``, empty text where there is none."""
        return [
            "" if cell is None else str(cell) for cell in self.columns[self.form.key][start:end]
        ]

    def values(self, start: int, end: int) -> list[bytes]:
        """Return the JSON of rows ``start..end-1``; absent fields are left out."""
        made = _row_type(tuple(self.columns))
        columns = [cells[start:end] for cells in self.columns.values()]
        encode = msgspec.json.Encoder().encode
        return [encode(made(*row)) for row in zip(*columns, strict=True)]

    def chunks(self, rows: int = ROWS_PER_CHUNK) -> Iterator[tuple[int, int]]:
        """Return the ``(start, end)`` of consecutive chunks."""
        for start in range(0, len(self), rows):
            yield start, min(start + rows, len(self))


def _row_type(names: tuple[str, ...]) -> type[msgspec.Struct]:
    fields = [(name, Any, None) for name in names]
    return msgspec.defstruct("Row", fields, omit_defaults=True, gc=False)


def read_records(
    frame: pl.DataFrame,
    form: RecordForm,
    mapping: FieldMapping | None = None,
    *,
    known: Sequence[str] = (),
) -> Records:
    """Return a table's rows as records of `form`.

    mapping  contract field -> column; a field that is not named has the column of its name
    known    further names that the mapping may hold; they are not used here
    Raises   `ConfigError` for a mapped field that does not exist, `UsageError` for a column
             that does not
    """
    fields = {field.name: field for field in msgspec.structs.fields(form.type)}
    mapping = mapping or FieldMapping({})
    mapping.check([*fields, *known])
    columns: dict[str, list[Any]] = {}
    order = np.zeros(frame.height, dtype=np.int64)
    for name, field in fields.items():
        source = mapping.source(name)
        series = _find_column(frame, source)
        if series is None and (name in mapping.sources or field.required):
            raise _column_missing(frame, name, source)
        if series is None:
            continue
        if name in form.times:
            columns[name], times = _times(series, source.unit)
            order = times if name == form.order else order
        elif name in form.ids:
            columns[name] = _texts(series)
        else:
            columns[name] = _plain(series, field.type)
    return Records(columns, order, form)


def _find_column(frame: pl.DataFrame, source: FieldSource) -> pl.Series | None:
    """Return the column named by the whole path, else the nested field it leads to."""
    if source.text in frame.columns:
        return frame[source.text]
    if source.path[0] not in frame.columns:
        return None
    series = frame[source.path[0]]
    for name in source.path[1:]:
        if not hasattr(series.dtype, "fields") or name not in series.struct.fields:
            return None
        series = series.struct.field(name)
    return series


def _column_missing(frame: pl.DataFrame, name: str, source: FieldSource) -> UsageError:
    wanted = [source.text, name, f"tx_{name}"]
    lower = {column.lower(): column for column in frame.columns}
    near = [hit for text in wanted for hit in difflib.get_close_matches(text.lower(), lower, n=1)]
    hint = f"{name}={lower[near[0]]}" if near else f"{name}=COLUMN"
    return UsageError(
        "column_missing",
        f"The file has no column {source.text!r} for the field {name!r}.",
        f"Name the column with --fields {hint}; it has: {', '.join(frame.columns)}.",
        field=name,
        column=source.text,
    )


def _texts(series: pl.Series) -> list[Any]:
    pl = import_polars()
    if series.dtype.is_float():
        # 596.0 is the id 596: a column of ids with a gap comes as float from other tools.
        whole = series.cast(pl.Int64, strict=False)
        series = whole if (whole.cast(series.dtype) == series).all() else series
    cells = series.cast(pl.String).to_list() if series.dtype != pl.String else series.to_list()
    return [cell or None for cell in cells]


def _times(series: pl.Series, unit: str | None) -> tuple[list[Any], NDArray[np.int64]]:
    """Return cells in epoch ms (what is no time as it stands), and the times with 0 for those."""
    pl = import_polars()
    if series.dtype == pl.String:
        whole = series.cast(pl.Int64, strict=False)
        if whole.null_count() == series.null_count():
            series = whole
    if series.dtype == pl.Date:
        series = series.cast(pl.Datetime("ms"))
    if isinstance(series.dtype, pl.Datetime):
        # Timestamps floor to ms, before 1970 too: to_epoch_ms cuts in the same direction.
        series, unit = series.dt.timestamp("ms"), "ms"
    raw = series.to_list()
    chosen: TimeUnit = unit or ("naive-utc" if series.dtype == pl.String else "ms")  # type: ignore[assignment]
    times, causes = to_epoch_ms(raw, chosen)
    good = causes == GOOD
    times = np.where(good, times, 0)
    if good.all():
        return times.tolist(), times
    pairs = zip(times.tolist(), good.tolist(), raw, strict=True)
    return [time if fine else cell for time, fine, cell in pairs], times


def _plain(series: pl.Series, declared: Any) -> list[Any]:
    """Return cells as JSON values of the declared type where they are that."""
    pl = import_polars()
    kinds = _kinds(declared)
    if bool in kinds and series.dtype != pl.Boolean:
        return [_FLAGS.get(str(cell).lower(), cell) for cell in series.to_list()]
    if series.dtype == pl.String and kinds & {int, float} and str not in kinds:
        number = pl.Float64 if float in kinds else pl.Int64
        parsed = series.cast(number, strict=False).to_list()
        cells = series.to_list()
        return [
            cell or None if value is None else value
            for value, cell in zip(parsed, cells, strict=True)
        ]
    if str in kinds and series.dtype == pl.String:
        return [cell or None for cell in series.to_list()]
    return series.to_list()


def _kinds(declared: Any) -> set[Any]:
    """Return the plain types that an annotation allows."""
    if typing.get_origin(declared) is typing.Annotated:
        return _kinds(typing.get_args(declared)[0])
    if typing.get_origin(declared) in (typing.Union, types.UnionType):
        return set().union(*(_kinds(part) for part in typing.get_args(declared)))
    return {declared}
