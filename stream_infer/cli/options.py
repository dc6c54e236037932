"""Options that several commands share. Heavy modules are imported when a command runs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stream_infer.errors import StreamInferError

if TYPE_CHECKING:
    from stream_infer.events.mapping import FieldMapping
    from stream_infer.pipeline import Pipeline

Function = Callable[..., Any]

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON value on stdout, nothing else."
)


class PipelineReference(click.ParamType):
    """A pipeline, named by a built-in word or by ``file.py[:attribute]``."""

    name = "pipeline"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Pipeline:
        from stream_infer.pipelines.loading import load_pipeline

        return load_pipeline(value)


class Mapping(click.ParamType):
    """``field=column[:unit],…``: where the contract's fields stand in a file or a user's JSON."""

    name = "field=column,…"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> FieldMapping:
        from stream_infer.events.mapping import FieldMapping

        return value if isinstance(value, FieldMapping) else FieldMapping.parse(value)


class Kinds(click.ParamType):
    """Kinds of model, separated by commas."""

    name = "kind,…"

    def __init__(self, known: tuple[str, ...]) -> None:
        self._known = known

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        kinds = tuple(dict.fromkeys(word.strip() for word in value.split(",") if word.strip()))
        unknown = [kind for kind in kinds if kind not in self._known]
        if unknown or not kinds:
            self.fail(f"{unknown or 'nothing'}: choose among {', '.join(self._known)}.", param, ctx)
        return kinds


pipeline_argument = click.argument("pipeline", type=PipelineReference())


class Duration(click.ParamType):
    """A duration such as ``6d``, in ms."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        from stream_infer.durations import parse_duration

        if isinstance(value, int):
            return value
        try:
            return parse_duration(value)
        except StreamInferError as error:
            self.fail(f"{error.message} {error.fix}", param, ctx)


class Instant(click.ParamType):
    """A time, RFC 3339 or a duration before now such as ``2h``, in ms since the epoch."""

    name = "time|duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        import time
        from datetime import datetime

        from stream_infer.durations import parse_duration

        if isinstance(value, int):
            return value
        try:
            return time.time_ns() // 1_000_000 - parse_duration(value)
        except StreamInferError:
            pass  # no duration: it must be a time
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            moment = None
        if moment is None or moment.tzinfo is None:
            self.fail(
                f"{value!r} is neither a time such as 2026-01-31T09:00:00Z nor a duration before"
                " now such as 2h.",
                param,
                ctx,
            )
        return int(moment.timestamp() * 1_000)


partitioning_option = click.option(
    "--partitioning",
    type=click.Choice(["checked", "trusted", "rekey"]),
    help="Whether input records lie in the partition of their key's hash. [default: as declared]",
)
"""Stands above `settings_options` or `config_option`, which take it in."""

fields_option = click.option(
    "--fields", type=Mapping(), help="field=path[:unit], separated by commas."
)
label_fields_option = click.option(
    "--label-fields", type=Mapping(), help="The same for labels that stand in a form of their own."
)


model_option = click.option(
    "--model",
    type=click.Path(path_type=Path, exists=True),
    help="Folder of a model, or an ONNX file. [default: [model] of the configuration, else the"
    " one that the package brings]",
)
"""Stands above `settings_options` or `config_option`, which take it in."""


password_file_option = click.option(
    "--password-file",
    type=click.Path(path_type=Path),
    help="File with the SASL password. [env for the password itself: STREAM_INFER_SASL_PASSWORD]",
)
"""For commands that put their settings together themselves; else part of `settings_options`."""


def settings_options(function: Function) -> Function:
    """Add ``--bootstrap``, ``--password-file`` and ``--config``; the command receives `settings`.

    Its pipeline, if it has one, is as the settings want it.
    """
    bootstrap_option = click.option(
        "--bootstrap",
        metavar="HOST:PORT",
        help="Where Kafka is. [default: 127.0.0.1:9092; env: STREAM_INFER_BOOTSTRAP]",
    )
    return bootstrap_option(password_file_option(config_option(function)))


def config_option(function: Function) -> Function:
    """Add ``--config`` alone, for a command without Kafka; otherwise as `settings_options`."""

    @click.option(
        "--config",
        type=click.Path(path_type=Path),
        help="TOML file with settings.",
    )
    @functools.wraps(function)
    def with_settings(*args: Any, config: Path | None, **kwargs: Any) -> Any:
        from stream_infer.settings.loading import load_settings

        overrides = {
            "kafka": {"bootstrap": kwargs.pop("bootstrap", None)},
            "security": {"password_file": kwargs.pop("password_file", None)},
            "worker": {"partitioning": kwargs.pop("partitioning", None)},
            "model": {"path": kwargs.pop("model", None)},
        }
        settings = load_settings(config, overrides)
        if kwargs.get("pipeline") is not None:
            kwargs["pipeline"] = settings.applied_to(kwargs["pipeline"])
        return function(*args, settings=settings, **kwargs)

    return with_settings
