"""What a worker saw of one version in one second: the records of topic ``model-evidence``.

Counts alone, so that any number of workers and seconds add up, and nothing of an event. Workers
publish and decide nothing; see `stream_infer.guardrails`.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from stream_infer.errors import InvalidDataError

_Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
_Count = Annotated[int, msgspec.Meta(ge=0)]
_Counts = Annotated[tuple[_Count, ...], msgspec.Meta(max_length=257)]


class Counted(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Values of a feature in the bins of the manifest's reference.

    counts   by bin
    missing  values that are no number
    """

    counts: _Counts
    missing: _Count = 0


class Evidence(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One version, one worker, one second. Key: ``<pipeline>:<version>``.

    role           alias under which it served
    at             ms since the epoch, the end of the second
    rows           rows that it scored
    errors         rows at which it failed
    not_finite     rows that it answered with no number
    alerts         rows that it would have reviewed or declined
    run_us         µs that its runs took
    runs           how many they were; 0 where a worker of before did not say
    worst_us       longest µs a row over its runs
    scores         by bin of the manifest's reference, or of twentieths
    features       feature -> a sample of its values, where the manifest has a reference
    """

    pipeline: str
    worker: str
    model: _Name
    version: _Name
    role: str
    at: int
    rows: _Count
    scores: _Counts
    errors: _Count = 0
    not_finite: _Count = 0
    alerts: _Count = 0
    run_us: _Count = 0
    runs: _Count = 0
    worst_us: _Count = 0
    features: dict[str, Counted] = {}


def encode_evidence(evidence: Evidence) -> bytes:
    """Return the record's value."""
    return msgspec.json.encode(evidence)


def decode_evidence(value: bytes) -> Evidence:
    """Return what a record says; raise InvalidDataError ``evidence_invalid``."""
    try:
        return msgspec.json.decode(value, type=Evidence)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidDataError(
            "evidence_invalid",
            f"A record of evidence cannot be used: {error}.",
            "Find out who writes to model-evidence; it is passed over.",
        ) from error
