"""Which checkpoint a restore begins with, and which are no longer needed: decided from manifests.

Nothing here reads a chunk, so what is chosen first may still prove damaged; the next one is tried
then, and at last the log.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

from stream_infer.checkpoints.manifest import Found, Manifest, Unreadable

KEPT_MIN = 3
OTHERS_KEPT_MS = 7 * 86_400_000
"""So long a checkpoint of other declarations stays, for a way back after an upgrade."""


class Wanted(NamedTuple):
    """The state that is to be restored.

    committed  offset up to which outputs are published: no state may be ahead of it
    log_start  first offset of the log: what was read before it cannot be caught up with
    base       which history the fold began with; None for an empty state
    skips      offsets of the partition that every fold passes over
    """

    pipeline: str
    stage: str
    topic: str
    partition: int
    declared_start: int
    fingerprint: str
    committed: int
    log_start: int
    base: str | None = None
    skips: Collection[int] = ()


class Refusal(NamedTuple):
    """A checkpoint that is not used, and why."""

    checkpoint: str
    code: str
    reason: str


class Choice(NamedTuple):
    """Checkpoints that fit, the best first, and those of the partition that do not."""

    usable: list[Manifest]
    refused: list[Refusal]


def choose(found: Iterable[Found], wanted: Wanted) -> Choice:
    """Return which checkpoints may be restored, the newest first."""
    usable, refused = [], []
    for each in found:
        if isinstance(each, Unreadable):
            refused.append(Refusal(each.name, "manifest_damaged", each.reason))
            continue
        if (each.pipeline, each.stage, each.topic, each.partition) != wanted[:4]:
            continue
        refusal = _refusal(each, wanted)
        if refusal is None:
            usable.append(each)
        else:
            refused.append(refusal)
    return Choice(sorted(usable, key=_age, reverse=True), refused)


def _refusal(manifest: Manifest, wanted: Wanted) -> Refusal | None:
    at = manifest.offset
    if manifest.fingerprint != wanted.fingerprint:
        code, reason = "other_features", "it belongs to other declarations"
    elif manifest.declared_start != wanted.declared_start:
        code = "other_start"
        reason = (
            f"its fold began at offset {manifest.declared_start}, not {wanted.declared_start}:"
            " the offsets were reset since"
        )
    elif manifest.base != wanted.base:
        code = "other_base"
        reason = (
            f"its fold began with {_named(manifest.base)}, and the commits name"
            f" {_named(wanted.base)}"
        )
    elif at > wanted.committed:
        code = "ahead_of_commit"
        reason = f"it is at offset {at}, and only {wanted.committed} is committed"
    elif at < wanted.log_start and not manifest.is_base:
        code = "below_log"
        reason = f"it is at offset {at}, and the log begins at {wanted.log_start}"
    elif at < wanted.declared_start:
        code, reason = "before_start", f"it is at offset {at}, before its own start"
    elif set(manifest.skips) != passed_over(wanted.skips, wanted.declared_start, at):
        code = "other_skips"
        reason = "it holds a record that is to be passed over, or lacks one that is not any more"
    else:
        return None
    return Refusal(manifest.id, code, reason)


def _named(base: str | None) -> str:
    return "an empty state" if base is None else f"history {base}"


def passed_over(skips: Collection[int], start: int, end: int) -> set[int]:
    """Return the skips that a fold of offsets ``start..end-1`` passes over."""
    return {offset for offset in skips if start <= offset < end}


def _age(manifest: Manifest) -> tuple[int, int, str]:
    return manifest.offset, manifest.created_ms, manifest.id


def prunable(found: Iterable[Found], own: Manifest, *, kept_min: int = KEPT_MIN) -> list[Manifest]:
    """Return what the writer of `own` may remove: never what is newer than its own.

    Of the same state `kept_min` up to its own are kept. Of other declarations, of another start, or
    where other records are passed over, what is a week older than its own goes. What a fold began
    with never goes: a commit may name it for as long as the group lives.
    """
    same, others = [], []
    for each in found:
        if isinstance(each, Unreadable) or _place(each) != _place(own) or each.is_base:
            continue
        if _fold(each) == _fold(own) and set(each.skips) == passed_over(
            own.skips, own.declared_start, each.offset
        ):
            same.append(each)
        else:
            others.append(each)
    older = sorted((each for each in same if _age(each) <= _age(own)), key=_age, reverse=True)
    outlived = [each for each in others if each.created_ms + OTHERS_KEPT_MS < own.created_ms]
    return older[max(1, kept_min) :] + outlived


def _place(manifest: Manifest) -> tuple[str, str, str, int]:
    return manifest.pipeline, manifest.stage, manifest.topic, manifest.partition


def _fold(manifest: Manifest) -> tuple[int, str, str | None]:
    return manifest.declared_start, manifest.fingerprint, manifest.base
