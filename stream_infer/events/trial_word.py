"""What is known of a model's trial, as the guard writes it down: topic ``<pipeline>-guard``.

A word is whole in itself: the sums cover the labels before the offsets that it names, and no
others. So whichever word is the last, whoever reads on from it counts no label twice.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from stream_infer.errors import InvalidDataError

_Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
_Count = Annotated[int, msgspec.Meta(ge=0)]
_Partition = Annotated[str, msgspec.Meta(pattern=r"^\d{1,9}$")]


class TrialWord(msgspec.Struct, frozen=True, kw_only=True):
    """A trial at one moment. Key: ``<model>/trial``.

    since                    entry of the model's history that brought the two versions together
    at                       ms since the epoch
    steps, total, square     how many differences, their sum, and that of their squares
    better, worse            natural logarithms of the two capitals
    best_better, best_worse  the highest that each ever was
    positives, negatives     labels of either kind
    read                     partition of the label topic -> next offset to be read
    """

    model: _Name
    champion: _Name
    challenger: _Name
    since: Annotated[int, msgspec.Meta(ge=1)]
    at: int = 0
    steps: _Count
    total: float
    square: float
    better: float
    worse: float
    best_better: float
    best_worse: float
    positives: _Count
    negatives: _Count
    read: dict[_Partition, _Count] = {}


def trial_key(model: str) -> bytes:
    """Return the key of a model's word."""
    return f"{model}/trial".encode()


def encode_trial_word(word: TrialWord) -> bytes:
    """Return the record's value."""
    return msgspec.json.encode(word, order="deterministic")


def decode_trial_word(value: bytes) -> TrialWord:
    """Return what a record says; raise InvalidDataError ``trial_word_invalid``."""
    try:
        return msgspec.json.decode(value, type=TrialWord)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidDataError(
            "trial_word_invalid",
            f"What was written down of a trial cannot be used: {error}.",
            "Find out who writes to the guard's topic; the trial begins anew.",
        ) from error
