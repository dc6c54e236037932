"""Checks of what is declared about alerts, and the numbers that stages run on.

`compile_alerts` is the only way to `AlertPlan`; every mistake is named with what to write
instead. The fingerprint covers what the fold's state depends on: not texts, not reasons.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
import re
import string
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from stream_infer.alerts.spec import MODEL_LEVELS, AlertKind, Alerts, EntityList, Limit, Storm
from stream_infer.durations import parse_duration
from stream_infer.errors import ConfigError
from stream_infer.pipeline import Events

SEMANTICS_VERSION = 1
"""Raised whenever the same declaration begins to mean another fold."""
TEXT_NAMES = frozenset({"entity", "level", "count", "members", "group"})
"""What every alert's text may name beside its facts."""
PHRASE_NAMES = frozenset({"value", "usual", "times"})
_WORD = re.compile(r"[a-z][a-z0-9_]{0,63}")


@dataclass(frozen=True, slots=True)
class StormPlan:
    """A `Storm` in numbers."""

    single_max: int
    within_ms: int
    absorb: bool


@dataclass(frozen=True, slots=True)
class KindPlan:
    """An `AlertKind` in numbers; times in ms.

    index   its place among the declared kinds, and the `sub` of a row's candidate of it
    bounds  rising levels; `words` the severity from each on
    """

    index: int
    spec: AlertKind
    open_at: float
    keep_at: float
    bounds: tuple[float, ...]
    words: tuple[str, ...]
    within_ms: int
    hold_ms: int
    open_min_ms: int
    quiet_ms: int
    update_every_ms: int
    storm: StormPlan | None

    @property
    def name(self) -> str:
        """The kind's name."""
        return self.spec.name

    def severity(self, level: float) -> int:
        """Return the index of the severity of a level; below the first bound it is the first."""
        return max(sum(bound <= level for bound in self.bounds) - 1, 0)

    def is_late(self, event_time: int, clock: int) -> bool:
        """Whether an alert that opened at `event_time` alone would be over by now."""
        return event_time + max(self.hold_ms, self.open_min_ms) <= clock


@dataclass(frozen=True, slots=True)
class AlertPlan:
    """What the stages of one pipeline run on.

    pipeline     its name, part of every alert's id
    alerts       the declaration
    kinds        name -> plan, in declared order
    fingerprint  of everything that the fold's state depends on
    """

    pipeline: str
    alerts: Alerts
    kinds: dict[str, KindPlan]
    fingerprint: str

    @property
    def look_back_ms(self) -> int:
        """How far back the candidates must reach for the state to be rebuilt.

        An alert lives as long as its candidates keep coming, so this is the time after which
        a state that missed older ones says the same about every alert that opens from then on.
        """
        return max(
            kind.hold_ms + kind.open_min_ms + kind.quiet_ms + kind.within_ms
            for kind in self.kinds.values()
        )


def compile_alerts(alerts: Alerts, pipeline: str) -> AlertPlan:
    """Check a declaration by itself and return its plan; `check_names` checks it by its pipeline.

    pipeline  the pipeline's name
    Raises    ConfigError that names the declaration and what to write instead
    """
    if not alerts.topic:
        raise _wrong("alerts", "no topic is named", 'Write topic="alerts-<pipeline>".')
    if not alerts.kinds:
        raise _wrong("alerts", "there is no kind", "Declare at least one AlertKind.")
    _check_names("kind", [kind.name for kind in alerts.kinds])
    _check_names("limit", [limit.name for limit in alerts.limits], dashes=True)
    _check_names("list", [entry.name for entry in alerts.lists], dashes=True)
    kinds = {kind.name: _kind(index, kind) for index, kind in enumerate(alerts.kinds)}
    _check_rules(alerts)
    _check_reasons(alerts)
    return AlertPlan(pipeline, alerts, kinds, _fingerprint(pipeline, kinds.values()))


def _kind(index: int, spec: AlertKind) -> KindPlan:
    keep_at = spec.open_at if spec.keep_at is None else spec.keep_at
    where = f"alert kind {spec.name!r}"
    if not (math.isfinite(spec.open_at) and math.isfinite(keep_at)):
        raise _wrong(where, "open_at and keep_at are no numbers", "Write finite levels.")
    if keep_at > spec.open_at:
        raise _wrong(
            where,
            f"keep_at {keep_at} is above open_at {spec.open_at}, so it would clear as it opens",
            "Write keep_at at open_at or below it; larger levels are worse.",
        )
    bounds = tuple(bound for bound, _ in spec.severities)
    if not bounds or list(bounds) != sorted(set(bounds)):
        raise _wrong(
            where,
            "its severities do not rise",
            'Write them from mild to grave, as in ((0.5, "medium"), (0.9, "high")).',
        )
    if spec.count_min < 1 or spec.distinct_min < 1:
        raise _wrong(where, "count_min or distinct_min is below 1", "Write 1 or more.")
    if spec.distinct_min > 1 and spec.other is None:
        raise _wrong(
            where,
            f"distinct_min is {spec.distinct_min}, and it does not say of what",
            'Name the field that is counted, as in other="customer_id".',
        )
    _check_template(where, spec.text, TEXT_NAMES | set(spec.facts))
    if spec.tells and spec.level in MODEL_LEVELS:
        raise _wrong(
            where,
            "it names features to tell, and its level is the model's, which is explained",
            "Declare reasons for the pipeline, and leave tells out.",
        )
    plan = KindPlan(
        index=index,
        spec=spec,
        open_at=spec.open_at,
        keep_at=keep_at,
        bounds=bounds,
        words=tuple(word for _, word in spec.severities),
        within_ms=parse_duration(spec.within),
        hold_ms=parse_duration(spec.hold),
        open_min_ms=parse_duration(spec.open_min),
        quiet_ms=parse_duration(spec.quiet),
        update_every_ms=parse_duration(spec.update_every),
        storm=_storm(where, spec.storm),
    )
    if plan.hold_ms == 0:
        raise _wrong(where, "hold is 0, so that it would clear as it opens", 'Write hold="15m".')
    return plan


def _storm(where: str, storm: Storm | None) -> StormPlan | None:
    if storm is None:
        return None
    if storm.single_max < 1:
        raise _wrong(where, "the storm's single_max is below 1", "Write 1 or more, or storm=None.")
    return StormPlan(storm.single_max, parse_duration(storm.within), storm.absorb)


def _check_names(what: str, names: list[str], *, dashes: bool = False) -> None:
    for name in names:
        plain = name.replace("-", "_") if dashes else name
        if not _WORD.fullmatch(plain):
            raise _wrong(
                f"{what} {name!r}",
                "its name is no lower-case word",
                "Use letters, digits and _, beginning with a letter; 64 at most.",
            )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise _wrong(f"{what} {twice[0]!r}", "it is declared twice", "Give one another name.")


def _check_rules(alerts: Alerts) -> None:
    for limit in alerts.limits:
        where = f"limit {limit.name!r}"
        bounds = [bound for bound in (limit.above, limit.below) if bound is not None]
        if len(bounds) != 1 or not math.isfinite(bounds[0]):
            raise _wrong(
                where,
                "it needs exactly one bound",
                "Write either above=2000.0 or below=0.0; two bounds are two limits.",
            )
        if limit.decision == "approve":
            raise _wrong(
                where,
                "a limit cannot approve, for it makes a decision stricter only",
                'Write decision="review" or "decline", or declare an allow list.',
            )
    rules: tuple[Limit | EntityList, ...] = (*alerts.limits, *alerts.lists)
    for rule in rules:
        if not 0 <= rule.score <= 1:
            raise _wrong(f"rule {rule.name!r}", "its score is not 0 to 1", "Write score=0.5.")


def _check_reasons(alerts: Alerts) -> None:
    if alerts.reasons_max < 0:
        raise _wrong("alerts", "reasons_max is below 0", "Write 0 for no reasons.")
    for reason in alerts.reasons:
        where = f"reason {reason.feature!r}"
        for name in (reason.feature, *reason.along):
            _known(where, name, alerts.usual, "feature with a usual value")
        _check_template(where, reason.phrase, PHRASE_NAMES)


def check_names(
    alerts: Alerts, events: Events, features: Collection[str], levels: Iterable[str] = ()
) -> None:
    """Check that what is declared names what the pipeline has.

    features  names of the model's columns
    levels    names of the levels that the stage computes itself
    Raises    ConfigError
    """
    columns = [*features, *levels]
    places = [] if events.known is None else [events.known.place]
    for entry in alerts.lists:
        _known(f"list {entry.name!r}", entry.entity, events.entities, "entity")
    for kind in alerts.kinds:
        where = f"alert kind {kind.name!r}"
        _known(where, kind.level, [*MODEL_LEVELS, *columns], "level")
        _known(where, kind.entity, events.entities, "entity")
        for named in (kind.group, kind.other):
            if named is not None:
                _known(where, named, [*events.entities, *places], "entity")
        for name in kind.facts:
            _known(where, name, [*events.entities, *events.decimals, *columns], "fact")
        for name in kind.tells:
            _known(where, name, columns, "feature")
    for limit in alerts.limits:
        _known(f"limit {limit.name!r}", limit.of, [*events.decimals, *features], "value or feature")
    for feature, usual in alerts.usual.items():
        where = f"usual value of {feature!r}"
        _known(where, feature, columns, "feature")
        parts = [getattr(usual, part, None) for part in ("of", "mean", "count", "value")]
        for name in (part for part in parts if isinstance(part, str)):
            _known(where, name, features, "feature")


def _check_template(where: str, text: str, names: Collection[str]) -> None:
    try:
        fields = [name for _, name, _, _ in string.Formatter().parse(text) if name is not None]
    except ValueError as error:
        raise _wrong(
            where, f"its text cannot be read: {error}", "Write a brace as {{ or }}."
        ) from error
    for name in fields:
        _known(where, name, names, "name in a text")


def _known(where: str, name: str, known: Iterable[str], what: str) -> None:
    names = sorted(known)
    if name in names:
        return
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"Did you mean {close[0]!r}?" if close else f"Known are: {', '.join(names) or 'none'}."
    raise _wrong(where, f"{name!r} is no {what}", hint)


def _wrong(where: str, why: str, fix: str) -> ConfigError:
    return ConfigError("bad_alerts", f"The declaration of {where} is wrong: {why}.", fix)


def _fingerprint(pipeline: str, kinds: Iterable[KindPlan]) -> str:
    facts = [
        [
            kind.name,
            kind.spec.entity,
            kind.spec.group,
            kind.spec.other,
            kind.spec.level,
            [kind.open_at, kind.keep_at, list(kind.bounds), list(kind.words)],
            [kind.spec.count_min, kind.spec.distinct_min, kind.within_ms],
            [kind.hold_ms, kind.open_min_ms, kind.quiet_ms, kind.update_every_ms],
            None
            if kind.storm is None
            else [kind.storm.single_max, kind.storm.within_ms, kind.storm.absorb],
        ]
        for kind in kinds
    ]
    text = json.dumps([SEMANTICS_VERSION, pipeline, facts])
    return hashlib.sha256(text.encode()).hexdigest()[:16]
