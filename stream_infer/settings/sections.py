"""The sections of a configuration: their keys, defaults and bounds, as pydantic checks them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from stream_infer.durations import parse_duration
from stream_infer.errors import ConfigError
from stream_infer.kafka.connection import DEFAULT_BOOTSTRAP
from stream_infer.kafka.security import Mechanism, Protocol
from stream_infer.pipeline import Partitioning
from stream_infer.scoring.execution import ON_CPU
from stream_infer.settings.log import LogFormat, LogLevel, LogSettings
from stream_infer.settings.model import ModelSettings, TrialMode
from stream_infer.settings.web import WebSettings
from stream_infer.settings.worker import (
    Delivery,
    Start,
    UnknownFields,
    WhenOffsetLost,
    WorkerSettings,
)

_NO_LIMIT = "none"
_DEFAULTS = WorkerSettings()
_MODEL = ModelSettings()
_WEB = WebSettings()
_LOG = LogSettings()


def _duration_ms(value: object) -> object:
    """Take a duration as text (``5s``); pydantic judges everything else."""
    if not isinstance(value, str):
        return value
    try:
        return parse_duration(value)
    except ConfigError as error:
        raise ValueError(error.message) from error


def _no_limit(value: object) -> object:
    """Take the word for no limit; TOML has no null, and the environment has text only."""
    return None if isinstance(value, str) and value.lower() == _NO_LIMIT else value


NoLimit = BeforeValidator(_no_limit)
DurationMs = Annotated[int, BeforeValidator(_duration_ms), Field(ge=0)]
"""Milliseconds, written as a duration such as ``5s`` or as a number of milliseconds."""


class Section(BaseModel):
    """One table of the file; a key that it does not have is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class KafkaSection(Section):
    """``[kafka]``: where Kafka is."""

    bootstrap: str = DEFAULT_BOOTSTRAP
    client_id: str = "stream-infer"
    connect_timeout: DurationMs = 5_000
    request_timeout: DurationMs = 30_000


class SecuritySection(Section):
    """``[security]``: see `Security` for what each key means. No secret stands here.

    password_file      holds the SASL password; or it stands in STREAM_INFER_SASL_PASSWORD
    key_password_file  holds that of `key_file`; or it stands in STREAM_INFER_KEY_PASSWORD
    """

    protocol: Protocol = "PLAINTEXT"
    mechanism: Mechanism | None = None
    user: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    key_password_file: Path | None = None
    check_hostname: bool = True


class WorkerSection(Section):
    """``[worker]``: see `WorkerSettings` for what each key means."""

    delivery: Delivery = _DEFAULTS.delivery
    in_flight_bytes_max: Annotated[int, Field(ge=1_048_576)] = _DEFAULTS.in_flight_bytes_max
    align_skew: DurationMs = _DEFAULTS.align_skew_ms
    align_wait_max: Annotated[DurationMs | None, NoLimit] = _DEFAULTS.align_wait_max_ms
    commit_interval_ms: Annotated[int, Field(ge=1)] | None = _DEFAULTS.commit_interval_ms
    session_timeout: Annotated[DurationMs, Field(ge=1_000)] = _DEFAULTS.session_timeout_ms
    transaction_timeout: Annotated[DurationMs, Field(ge=1_000)] = _DEFAULTS.transaction_timeout_ms
    connect_wait: DurationMs = _DEFAULTS.connect_wait_ms
    instance_id: Annotated[str, Field(min_length=1, max_length=249)] | None = _DEFAULTS.instance_id
    gather_ms: Annotated[int, Field(ge=1, le=1_000)] | None = _DEFAULTS.gather_ms
    partitioning: Partitioning | None = _DEFAULTS.partitioning
    unknown_fields: UnknownFields = _DEFAULTS.unknown_fields
    publish_features: bool = _DEFAULTS.publish_features
    start: Start = _DEFAULTS.start
    when_offset_lost: WhenOffsetLost = _DEFAULTS.when_offset_lost
    checkpoints: str = _DEFAULTS.checkpoints
    state_bytes_max: Annotated[Annotated[int, Field(ge=1)] | None, NoLimit] = (
        _DEFAULTS.state_bytes_max
    )


class PipelineSection(Section):
    """``[pipeline]``: which one, for commands that are not told."""

    file: str | None = None


class ModelSection(Section):
    """``[model]``: which one scores.

    path             folder of a model, or one ONNX file without a manifest
    registry         folder or object store that holds versions and aliases
    review, decline  for a file without a manifest: where decisions change
    providers, require_provider, row_chunks  where it runs, see `Execution`

    For the others, about versions that a registry exchanges, see `ModelSettings`.
    """

    path: Path | None = None
    registry: Annotated[str, Field(min_length=1)] | None = None
    review: Annotated[float, Field(ge=0, le=1)] = 0.5
    decline: Annotated[float, Field(ge=0, le=1)] = 0.9
    providers: Annotated[tuple[str, ...], Field(min_length=1)] = ON_CPU.providers
    require_provider: str | None = None
    row_chunks: dict[str, Annotated[int, Field(ge=1, le=1_000_000)]] = {}
    trial: TrialMode = _MODEL.trial
    trial_alpha: Annotated[float, Field(gt=0, le=0.5)] = _MODEL.trial_alpha
    trial_margin: Annotated[float, Field(ge=0, lt=1)] = _MODEL.trial_margin
    trial_labels_min: Annotated[int, Field(ge=1)] = _MODEL.trial_labels_min
    trial_label_wait: Annotated[DurationMs, Field(ge=1_000)] = _MODEL.trial_label_wait_ms
    trial_events_max: Annotated[int, Field(ge=1_000)] = _MODEL.trial_events_max
    fast_enter_lag: Annotated[DurationMs, Field(ge=1)] = _MODEL.fast_enter_lag_ms
    fast_leave_lag: DurationMs = _MODEL.fast_leave_lag_ms


class WebSection(Section):
    """``[web]``: see `WebSettings` for what each key means."""

    host: Annotated[str, Field(min_length=1)] = _WEB.host
    port: Annotated[int, Field(ge=0, le=65_535)] | Literal["auto", "off"] = _WEB.port
    stalled_after: Annotated[DurationMs, Field(ge=1_000)] = _WEB.stalled_after_ms
    stuck_after: Annotated[DurationMs, Field(ge=1_000)] = _WEB.stuck_after_ms
    lag_max: Annotated[Annotated[int, Field(ge=0)] | None, NoLimit] = _WEB.lag_max
    partition_metrics: bool = _WEB.partition_metrics


class LogSection(Section):
    """``[log]``: see `LogSettings` for what each key means."""

    format: LogFormat = _LOG.format
    level: LogLevel = _LOG.level


SECTIONS: dict[str, type[Section]] = {
    "kafka": KafkaSection,
    "log": LogSection,
    "model": ModelSection,
    "pipeline": PipelineSection,
    "security": SecuritySection,
    "web": WebSection,
    "worker": WorkerSection,
}
