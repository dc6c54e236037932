"""How a worker deals with versions that a registry exchanges: one small frozen value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from stream_infer.errors import ConfigError

TrialMode = Literal["off", "watch", "promote"]
_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """What is done about versions without a person.

    trial               ``off``: labels are joined to no scores. ``watch``: the challenger is
                        compared with the champion on labels that came back, and that is told.
                        ``promote``: the answer is carried out, too
    trial_alpha         chance of a wrong promotion, and of a wrong rejection, in one trial
    trial_margin        mean squared error by which the challenger must be better, or worse
    trial_labels_min    labelled events before which nothing is answered
    trial_label_wait_ms event time after which no label is waited for any more
    trial_events_max    scored events that are remembered until their labels come, about 200 bytes
                        each, in the one worker that decides; beyond it a share of all events,
                        chosen by a hash of their ids, is followed
    fast_enter_lag_ms   age of events at scoring from which on the fast model serves
    fast_leave_lag_ms   age below which the champion returns
    """

    trial: TrialMode = "off"
    trial_alpha: float = 0.05
    trial_margin: float = 0.0
    trial_labels_min: int = 200
    trial_label_wait_ms: int = 30 * _DAY_MS
    trial_events_max: int = 100_000
    fast_enter_lag_ms: int = 10_000
    fast_leave_lag_ms: int = 1_000

    def __post_init__(self) -> None:
        if self.fast_leave_lag_ms >= self.fast_enter_lag_ms:
            raise ConfigError(
                "setting_invalid",
                "Setting 'model.fast_leave_lag' is not below 'model.fast_enter_lag'.",
                "Let the champion return at a lag well below that at which the fast model serves.",
                setting="model.fast_leave_lag",
            )
