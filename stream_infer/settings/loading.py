"""Settings of a run: a TOML file, below the environment, below the flags of a command.

    [kafka]
    bootstrap = "127.0.0.1:9092"

    [security]
    protocol = "SASL_SSL"
    user = "worker"
    ca_file = "ca.pem"                     # relative to this file, as all files here
    password_file = "worker.password"

    [worker]
    align_skew = "1h"

    [pipeline]
    file = "pipeline.py"

    [model]
    path = "model.onnx"                    # or a model's folder
    registry = "models"                    # or s3://bucket/models
    providers = ["cuda", "cpu"]
    require_provider = "cuda"

    [fields]
    event_time = {path = "payment.created_at", unit = "s"}
    amount = "payment.amount"

    [label_fields]
    is_fraud = "verdict.fraud"

The environment names the same keys as ``STREAM_INFER_<SECTION>__<KEY>``, and
``STREAM_INFER_BOOTSTRAP`` is short for ``STREAM_INFER_KAFKA__BOOTSTRAP``. Secrets have variables
of their own: see `stream_infer.settings.secrets`. A key that nobody knows is an error with the
nearest known one, wherever it stands; so is a variable ``STREAM_INFER_...`` that nobody reads.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from stream_infer.errors import ConfigError
from stream_infer.events.mapping import FieldMapping
from stream_infer.kafka.connection import Connection
from stream_infer.kafka.security import Security
from stream_infer.pipeline import Pipeline
from stream_infer.scoring.execution import ON_CPU, Execution
from stream_infer.scoring.manifest import Thresholds
from stream_infer.settings.config_file import read_config_file
from stream_infer.settings.environment import (
    BOOTSTRAP_VARIABLE,
    PREFIX,
    check_environment,
    variable_of,
)
from stream_infer.settings.log import LogSettings
from stream_infer.settings.model import ModelSettings
from stream_infer.settings.secrets import (
    KEY_PASSWORD_VARIABLE,
    SASL_PASSWORD_VARIABLE,
    read_secret,
)
from stream_infer.settings.sections import (
    SECTIONS,
    KafkaSection,
    LogSection,
    ModelSection,
    PipelineSection,
    SecuritySection,
    WebSection,
    WorkerSection,
)
from stream_infer.settings.web import WebSettings
from stream_infer.settings.worker import (
    WorkerSettings,
)


class Settings(BaseSettings):
    """Everything that a command may be told from outside."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        # A password may stand in the place of something else.
        hide_input_in_errors=True,
    )

    kafka: KafkaSection = KafkaSection()
    security: SecuritySection = SecuritySection()
    worker: WorkerSection = WorkerSection()
    pipeline: PipelineSection = PipelineSection()
    model: ModelSection = ModelSection()
    web: WebSection = WebSection()
    log: LogSection = LogSection()
    # What a field's place looks like is the field mapping's own business.
    fields: dict[str, Any] = {}
    label_fields: dict[str, Any] = {}

    def connection(self) -> Connection:
        """Return what the Kafka clients need. Reads the files of secrets and certificates.

        Raises  ConfigError for what cannot be read, is missing or would not be used
        """
        return Connection(
            bootstrap=self.kafka.bootstrap,
            client_id=self.kafka.client_id,
            connect_timeout_ms=self.kafka.connect_timeout,
            request_timeout_ms=self.kafka.request_timeout,
            security=self._security(),
        )

    def _security(self) -> Security:
        section = self.security
        security = Security(
            protocol=section.protocol,
            mechanism=section.mechanism,
            user=section.user,
            password=read_secret(
                SASL_PASSWORD_VARIABLE, section.password_file, "security.password_file"
            ),
            ca_file=section.ca_file,
            certificate_file=section.certificate_file,
            key_file=section.key_file,
            key_password=read_secret(
                KEY_PASSWORD_VARIABLE, section.key_password_file, "security.key_password_file"
            ),
            check_hostname=section.check_hostname,
        )
        # What is wrong with a certificate is said before anything is started.
        security.client_options()
        return security

    def field_mapping(self) -> FieldMapping | None:
        """Return where the fields stand in the user's JSON, None for the contract's own form."""
        return FieldMapping.from_config(self.fields) if self.fields else None

    def label_field_mapping(self) -> FieldMapping | None:
        """Return where the labels' fields stand, None for the contract's own form."""
        return FieldMapping.from_config(self.label_fields) if self.label_fields else None

    def applied_to(self, pipeline: Pipeline) -> Pipeline:
        """Return the pipeline with what the settings say in place of its declaration."""
        pipeline = pipeline.with_partitioning(self.worker.partitioning)
        if self.model.path is not None and pipeline.model is None:
            return dataclasses.replace(pipeline, model=self.model.path.stem)
        return pipeline

    def thresholds(self) -> Thresholds:
        """Return where decisions change, for a model that has no manifest to say so."""
        if self.model.review > self.model.decline:
            raise ConfigError(
                "setting_invalid",
                "Setting 'model.review' is above 'model.decline'.",
                "A score is reviewed from a lower threshold on than it is declined from.",
                setting="model.review",
            )
        return Thresholds(review=self.model.review, decline=self.model.decline)

    def execution(self) -> Execution:
        """Return where models run."""
        section = self.model
        if section.providers == ON_CPU.providers and not (
            section.require_provider or section.row_chunks
        ):
            return ON_CPU
        return Execution(
            providers=section.providers,
            require=section.require_provider,
            row_chunks=section.row_chunks,
        )

    def model_settings(self) -> ModelSettings:
        """Return what is done about versions without a person; raise ConfigError as they do."""
        section = self.model
        return ModelSettings(
            trial=section.trial,
            trial_alpha=section.trial_alpha,
            trial_margin=section.trial_margin,
            trial_labels_min=section.trial_labels_min,
            trial_label_wait_ms=section.trial_label_wait,
            trial_events_max=section.trial_events_max,
            fast_enter_lag_ms=section.fast_enter_lag,
            fast_leave_lag_ms=section.fast_leave_lag,
        )

    def worker_settings(self) -> WorkerSettings:
        """Return what the data plane needs."""
        section = self.worker
        if section.transaction_timeout > section.session_timeout + 5_000:
            raise ConfigError(
                "setting_invalid",
                "Setting 'worker.transaction_timeout' is longer than the session's and 5 s.",
                "What a dead worker has left open would hold up those who have taken over: make it "
                "shorter, or worker.session_timeout longer.",
                setting="worker.transaction_timeout",
            )
        return WorkerSettings(
            delivery=section.delivery,
            in_flight_bytes_max=section.in_flight_bytes_max,
            align_skew_ms=section.align_skew,
            align_wait_max_ms=section.align_wait_max,
            commit_interval_ms=section.commit_interval_ms,
            session_timeout_ms=section.session_timeout,
            transaction_timeout_ms=section.transaction_timeout,
            connect_wait_ms=section.connect_wait,
            instance_id=section.instance_id,
            gather_ms=section.gather_ms,
            partitioning=section.partitioning,
            unknown_fields=section.unknown_fields,
            publish_features=section.publish_features,
            start=section.start,
            when_offset_lost=section.when_offset_lost,
            checkpoints=section.checkpoints,
            state_bytes_max=section.state_bytes_max,
        )

    def web_settings(self) -> WebSettings:
        """Return where a worker tells about itself, and what counts as well."""
        section = self.web
        return WebSettings(
            host=section.host,
            port=section.port,
            stalled_after_ms=section.stalled_after,
            stuck_after_ms=section.stuck_after,
            lag_max=section.lag_max,
            partition_metrics=section.partition_metrics,
        )

    def log_settings(self) -> LogSettings:
        """Return how the worker logs."""
        return LogSettings(format=self.log.format, level=self.log.level)


def load_settings(
    path: Path | None = None, overrides: Mapping[str, Mapping[str, Any]] | None = None
) -> Settings:
    """Return the settings of a run.

    path       TOML file, or None
    overrides  section -> key -> value from a command's flags; None values are not set
    Raises     `NotFoundError` when the file is missing, `ConfigError` for everything else
    """
    check_environment(os.environ, {name: _known_keys([name]) for name in Settings.model_fields})
    in_file = read_config_file(path) if path else {}
    flags = {
        section: {key: value for key, value in keys.items() if value is not None}
        for section, keys in (overrides or {}).items()
    }
    sources = _sources(in_file)
    try:
        given: Any = {section: keys for section, keys in flags.items() if keys}
        return sources(**given)
    except ValidationError as error:
        raise _invalid(error, path) from error


def _sources(in_file: dict[str, Any]) -> type[Settings]:
    """Return `Settings` that reads flags, then the environment, then the file's content."""

    class Sourced(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the name is pydantic's
            file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - as above
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            short = os.environ.get(BOOTSTRAP_VARIABLE)
            environment = {"kafka": {"bootstrap": short}} if short else {}
            return (
                init_settings,
                env_settings,
                InitSettingsSource(settings_cls, environment),
                InitSettingsSource(settings_cls, in_file),
            )

    return Sourced


def _invalid(error: ValidationError, path: Path | None) -> ConfigError:
    """Return the first thing that is wrong, with the nearest known key when one is unknown."""
    first = error.errors()[0]
    place = [str(part) for part in first["loc"]]
    name = ".".join(place)
    variable = variable_of(place[0], place[1]) if len(place) > 1 else None
    # A flag that was given goes before the variable; click has judged most of those already.
    source = variable or (str(path) if path else "the environment or the flags")
    if first["type"] == "extra_forbidden":
        known = _known_keys(place[:-1])
        near = difflib.get_close_matches(place[-1], known, n=1)
        hint = f"Did you mean {'.'.join([*place[:-1], near[0]])!r}?" if near else ""
        fix = f"{hint} Known: {', '.join(known)}.".strip()
        return ConfigError(
            "setting_unknown", f"There is no setting {name!r}.", fix, setting=name, source=source
        )
    return ConfigError(
        "setting_invalid",
        f"Setting {name!r} is wrong: {first['msg'].removeprefix('Value error, ').rstrip('.')}.",
        f"Give it a value that fits; it comes from {source}.",
        setting=name,
        source=source,
    )


def _known_keys(section: list[str]) -> list[str]:
    """Return the keys of a section, none for a section of free keys; or the sections."""
    if not section:
        return sorted(Settings.model_fields)
    model = SECTIONS.get(section[0])
    return sorted(model.model_fields) if model else []
