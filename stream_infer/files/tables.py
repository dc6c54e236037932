"""Read and write tables as CSV, Parquet or JSON lines, chosen by the file's suffix.

CSV is read as text throughout: guessing types would turn the id ``00123`` into 123.
What a column means is decided by the contract's field it becomes, not by its looks.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stream_infer.errors import ConfigError, InvalidDataError, NotFoundError, UsageError

if TYPE_CHECKING:
    import polars as pl

SUFFIXES = {
    ".csv": "csv",
    ".parquet": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}


def import_polars() -> Any:
    """Return the polars module; raise `ConfigError` when it is not installed."""
    try:
        return importlib.import_module("polars")
    except ModuleNotFoundError as error:
        raise ConfigError(
            "polars_missing",
            "Reading and writing files needs polars, which is not installed.",
            "Install it with: pip install 'stream-infer[files]'.",
        ) from error


def table_form(path: Path) -> str:
    """Return ``csv``, ``parquet`` or ``jsonl``; raise `UsageError` for another suffix."""
    form = SUFFIXES.get(path.suffix.lower())
    if form is None:
        raise UsageError(
            "file_form_unknown",
            f"{path.name}: the suffix {path.suffix!r} names no known form of file.",
            f"Use one of: {', '.join(SUFFIXES)}.",
            path=str(path),
        )
    return form


def read_table(path: Path, *, rows_max: int | None = None) -> pl.DataFrame:
    """Return the file's rows in file order, the first `rows_max` of them when given.

    Raises  `NotFoundError` when there is no such file, `InvalidDataError` when its
            content is not what the suffix says
    """
    form = table_form(path)
    if not path.is_file():
        raise NotFoundError(
            "file_missing", f"There is no file {str(path)!r}.", "Check the path.", path=str(path)
        )
    polars = import_polars()
    readers = {
        "csv": lambda: polars.read_csv(path, infer_schema=False, n_rows=rows_max),
        "parquet": lambda: polars.read_parquet(path, n_rows=rows_max),
        "jsonl": lambda: polars.read_ndjson(path, infer_schema_length=None, n_rows=rows_max),
    }
    try:
        frame: pl.DataFrame = readers[form]()
    except polars.exceptions.NoDataError as error:
        raise _unreadable(path, form, "it is empty") from error
    except (polars.exceptions.PolarsError, OSError) as error:
        # Only the first line: the rest of polars' text quotes cells of the file.
        raise _unreadable(path, form, str(error).splitlines()[0]) from error
    return frame


def _unreadable(path: Path, form: str, cause: str) -> InvalidDataError:
    return InvalidDataError(
        "file_unreadable",
        f"{path.name} cannot be read as {form}: {cause}.",
        "Check that the file's content is what its suffix says.",
        path=str(path),
    )


def write_table(frame: pl.DataFrame, path: Path) -> None:
    """Write a table in the form that the suffix names."""
    writers = {
        "csv": lambda: frame.write_csv(path),
        "parquet": lambda: frame.write_parquet(path),
        "jsonl": lambda: frame.write_ndjson(path),
    }
    try:
        writers[table_form(path)]()
    except OSError as error:
        raise not_written(path, error) from error


def not_written(path: Path, error: OSError) -> UsageError:
    """Return the error for a file that a command was told to write and cannot."""
    return UsageError(
        "file_not_written",
        f"{str(path)!r} cannot be written: {error.strerror or error}.",
        "Check that the folder exists and may be written to.",
        path=str(path),
    )
