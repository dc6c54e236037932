"""Where a model's aliases point, and what may be done about it. Pure: entries in, drafts out.

A decision is made against a `Standing`, which is the history up to one entry, and becomes the
next entry. Whoever appends is told when that number is taken; then it reads on, and decides
again only if nothing that it decided on has moved (`still_holds`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from stream_infer.errors import ConflictError, NotFoundError, UsageError
from stream_infer.registry.entry import (
    CHALLENGER,
    CHAMPION,
    PREVIOUS,
    SHADOW,
    Action,
    Entry,
    Move,
    damaged,
    time_ms,
    time_text,
)


@dataclass(frozen=True, slots=True)
class Standing:
    """A model after the first `number` entries of its history.

    aliases    alias -> version
    share      of the keys that the challenger decides: 0 where there is none
    barred     version -> number of the entry that barred it
    when       time of the last entry, ``""`` before the first
    champions  every version that was champion, the present one last
    promoted   when the champion was promoted; ``""`` for one that a rollback brought back
    """

    model: str
    number: int = 0
    aliases: Mapping[str, str] = field(default_factory=dict)
    share: float = 0.0
    barred: Mapping[str, int] = field(default_factory=dict)
    when: str = ""
    champions: tuple[str, ...] = ()
    promoted: str = ""

    @property
    def champion(self) -> str | None:
        """The version that serves."""
        return self.aliases.get(CHAMPION)


@dataclass(frozen=True, slots=True)
class Draft:
    """What is to be written as the next entry, but for who, when and why."""

    action: Action
    moves: tuple[Move, ...] = ()
    share: float | None = None
    barred: str | None = None
    cleared: str | None = None


def fold(entries: Iterable[Entry], start: Standing) -> Standing:
    """Return the standing after further entries.

    Raises  InvalidDataError ``history_damaged`` where an entry is of another model, out of turn,
            or moves an alias from where it did not point
    """
    for entry in entries:
        start = _after(start, entry)
    return start


def _after(standing: Standing, entry: Entry) -> Standing:
    where = f"{entry.number} of model {entry.model}"
    if entry.model != standing.model or entry.number != standing.number + 1:
        raise damaged(where, f"it stands behind entry {standing.number} of {standing.model}")
    if entry.when < standing.when:
        raise damaged(where, "it is older than the one before")
    aliases, barred = dict(standing.aliases), dict(standing.barred)
    champions, share, promoted = standing.champions, standing.share, standing.promoted
    for move in entry.moves:
        if aliases.get(move.alias) != move.before:
            found = aliases.get(move.alias)
            raise damaged(where, f"it moves {move.alias} from {move.before}, which was at {found}")
        aliases.pop(move.alias, None)
        if move.after is not None:
            aliases[move.alias] = move.after
        if move.alias == CHAMPION and move.after is not None:
            champions = (*champions, move.after)
            promoted = entry.when if entry.action == "promote" else ""
        if move.alias == CHALLENGER:
            share = 0.0  # another one begins without traffic
    if entry.share is not None:
        share = entry.share
    if entry.barred is not None:
        barred[entry.barred] = entry.number
    barred.pop(entry.cleared or "", None)
    return Standing(
        entry.model, entry.number, aliases, share, barred, entry.when, champions, promoted
    )


def as_of(entries: Iterable[Entry], model: str, at_ms: int) -> Standing:
    """Return where the aliases pointed at a time."""
    return fold((entry for entry in entries if entry.when_ms <= at_ms), Standing(model))


def promote(
    standing: Standing, version: str, *, expected: str | None = None, tried_as: str | None = None
) -> Draft | None:
    """Return what makes a version champion; None where it is the champion already.

    expected  the champion that the caller knows; None: whichever there is
    tried_as  an alias that must name the version: it is promoted for what it did there
    Raises    ConflictError ``alias_moved``, ``version_barred``
    """
    now = standing.champion
    if expected is not None and now != expected:
        raise alias_moved(standing.model, CHAMPION, expected, now)
    if now == version:
        return None
    if tried_as is not None and standing.aliases.get(tried_as) != version:
        raise alias_moved(standing.model, tried_as, version, standing.aliases.get(tried_as))
    _refuse_barred(standing, version)
    moves = [Move(alias=CHAMPION, before=now, after=version)]
    moves += _moved(standing, PREVIOUS, now)
    moves += _tried_no_longer(standing, version)
    return Draft("promote", tuple(moves))


def roll_back(standing: Standing, version: str | None = None) -> Draft:
    """Return what puts an earlier champion back, and bars the one that is left.

    version  the one to go back to; None: the last that was champion and is not barred
    Raises   ConflictError ``nothing_to_roll_back_to``, ``version_barred``
    """
    now = standing.champion
    if now is None:
        raise ConflictError(
            "nothing_to_roll_back_to",
            f"Model {standing.model} has no champion.",
            f"Promote a version with: stream-infer models promote {standing.model} VERSION.",
            model=standing.model,
        )
    if version is not None and version != now:
        _refuse_barred(standing, version)
    target = version or _last_good(standing, now)
    if target is None or target == now:
        raise ConflictError(
            "nothing_to_roll_back_to",
            f"Model {standing.model} has no other champion than {now} to go back to.",
            "Name a version with --to, or promote one.",
            model=standing.model,
            champion=now,
        )
    moves = [Move(alias=CHAMPION, before=now, after=target), *_moved(standing, PREVIOUS, now)]
    moves += _tried_no_longer(standing, now)
    return Draft("rollback", tuple(moves), barred=now)


def reject(standing: Standing, version: str, alias: str = CHALLENGER) -> Draft:
    """Return what takes an alias off a version and bars it: a challenger that lost its trial.

    Raises  ConflictError ``alias_moved`` where the alias names another version by now
    """
    if standing.aliases.get(alias) != version:
        raise alias_moved(standing.model, alias, version, standing.aliases.get(alias))
    moves = _moved(standing, alias, None)
    moves += [each for each in _tried_no_longer(standing, version) if each.alias != alias]
    return Draft("rollback", tuple(moves), barred=version)


def assign(
    standing: Standing, alias: str, version: str | None, *, share: float | None = None
) -> Draft | None:
    """Return what puts an alias but the champion's on a version, or takes it off (None).

    share   of the keys that the challenger is to decide, 0 to 1; None: as it is, 0 for a new one
    Returns None where nothing changes
    Raises  ConflictError ``alias_reserved`` for those that move with the champion,
            ``version_barred`` for a challenger; UsageError ``share_unwanted``
    """
    if alias in (CHAMPION, PREVIOUS):
        raise ConflictError(
            "alias_reserved",
            f"The alias {alias} moves by promotion and rollback alone.",
            "Use: stream-infer models promote, or stream-infer models rollback.",
            alias=alias,
        )
    if share is not None and (alias != CHALLENGER or version is None):
        raise UsageError(
            "share_unwanted",
            "Only a challenger decides a share of the keys.",
            f"Put the alias {CHALLENGER} on a version, with the share.",
        )
    if alias == CHALLENGER and version is not None:
        _refuse_barred(standing, version)
    moves = _moved(standing, alias, version)
    if not moves and share in (None, standing.share):
        return None
    return Draft("assign", tuple(moves), share=share)


def clear(standing: Standing, version: str) -> Draft:
    """Return what lifts the bar on a version; raise NotFoundError ``version_not_barred``."""
    if version not in standing.barred:
        raise NotFoundError(
            "version_not_barred",
            f"Version {version} of {standing.model} is not barred.",
            f"See: stream-infer models show {standing.model}.",
            model=standing.model,
            version=version,
        )
    return Draft("clear", cleared=version)


def next_entry(
    standing: Standing, draft: Draft, *, now_ms: int, who: str, why: str, automatic: bool
) -> Entry:
    """Return a draft as the entry behind the standing's last.

    Clocks differ: an entry is never older than the one before it, or the history could not say
    what was in force at a time.
    """
    before_ms = time_ms(standing.when) if standing.when else now_ms
    return Entry(
        number=standing.number + 1,
        model=standing.model,
        action=draft.action,
        moves=draft.moves,
        share=draft.share,
        barred=draft.barred,
        cleared=draft.cleared,
        when=time_text(max(now_ms, before_ms)),
        who=who,
        why=why,
        automatic=automatic,
    )


def still_holds(draft: Draft, standing: Standing) -> Move | None:
    """Return the first move that no longer begins where its alias points; None: all do."""
    return next((m for m in draft.moves if standing.aliases.get(m.alias) != m.before), None)


def alias_moved(model: str, alias: str, expected: str | None, found: str | None) -> ConflictError:
    """Return the error of whoever came second."""
    return ConflictError(
        "alias_moved",
        f"The alias {alias} of {model} points to {found or 'no version'} by now,"
        f" not to {expected or 'none'}.",
        f"Look at: stream-infer models history {model}; then decide anew.",
        model=model,
        alias=alias,
        expected=expected,
        found=found,
    )


def _moved(standing: Standing, alias: str, after: str | None) -> list[Move]:
    before = standing.aliases.get(alias)
    return [] if before == after else [Move(alias=alias, before=before, after=after)]


def _tried_no_longer(standing: Standing, version: str) -> list[Move]:
    """Return what takes a version off where it was tried: its trial is over."""
    tried = [alias for alias in (CHALLENGER, SHADOW) if standing.aliases.get(alias) == version]
    return [Move(alias=alias, before=version, after=None) for alias in tried]


def _last_good(standing: Standing, now: str) -> str | None:
    earlier = (each for each in reversed(standing.champions) if each != now)
    return next((each for each in earlier if each not in standing.barred), None)


def _refuse_barred(standing: Standing, version: str) -> None:
    if version in standing.barred:
        raise ConflictError(
            "version_barred",
            f"Version {version} of {standing.model} was rolled back and is barred.",
            "Find out why in its history; then lift the bar with: stream-infer models clear"
            f" {standing.model} {version} --why TEXT.",
            model=standing.model,
            version=version,
            entry=standing.barred[version],
        )
