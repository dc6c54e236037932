"""Streaming inference on Kafka: exact windows, ONNX models, scored events and alerts.

What a user's own pipeline file needs can be imported from here. The names are loaded
when they are first used, so that ``stream-infer --help`` stays quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stream_infer.alerts.spec import (
        AlertKind,
        Alerts,
        EntityList,
        Limit,
        Reason,
        Storm,
        UsualConstant,
        UsualMean,
        UsualOf,
    )
    from stream_infer.app import StreamApp
    from stream_infer.features.spec import (
        Count,
        Custom,
        HourOfDay,
        Last,
        Max,
        Mean,
        Night,
        Rate,
        Since,
        Std,
        Sum,
        Value,
        Weekend,
    )
    from stream_infer.kafka.connection import Connection
    from stream_infer.pipeline import Events, Labels, Pipeline
    from stream_infer.settings.worker import WorkerSettings

__version__ = "0.1.0"

__all__ = [
    "AlertKind",
    "Alerts",
    "Connection",
    "Count",
    "Custom",
    "EntityList",
    "Events",
    "HourOfDay",
    "Labels",
    "Last",
    "Limit",
    "Max",
    "Mean",
    "Night",
    "Pipeline",
    "Rate",
    "Reason",
    "Since",
    "Std",
    "Storm",
    "StreamApp",
    "Sum",
    "UsualConstant",
    "UsualMean",
    "UsualOf",
    "Value",
    "Weekend",
    "WorkerSettings",
]

_SPEC = "stream_infer.features.spec"
_ALERTS = "stream_infer.alerts.spec"
_HOMES = {
    "AlertKind": _ALERTS,
    "Alerts": _ALERTS,
    "EntityList": _ALERTS,
    "Limit": _ALERTS,
    "Reason": _ALERTS,
    "Storm": _ALERTS,
    "UsualConstant": _ALERTS,
    "UsualMean": _ALERTS,
    "UsualOf": _ALERTS,
    "Connection": "stream_infer.kafka.connection",
    "Events": "stream_infer.pipeline",
    "Labels": "stream_infer.pipeline",
    "Pipeline": "stream_infer.pipeline",
    "StreamApp": "stream_infer.app",
    "WorkerSettings": "stream_infer.settings.worker",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES.get(name, _SPEC)), name)
