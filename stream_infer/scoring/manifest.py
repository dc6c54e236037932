"""What stands beside a model file: `manifest.json`, the facts without which it may not serve.

A model is a folder with two files, and this module owns the second one::

    <folder>/model.onnx      one float input (n, features), scores as its last float output
    <folder>/manifest.json   the fields of `Manifest`

The manifest says what the file must hash to, which features its columns are, in which
order and computed by which declarations (the fingerprint), and where the thresholds of
the decision lie. A field that this version of the project does not know is refused: it
may change what a score means (a calibration, say), so ignoring it would serve wrong
decisions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec

from stream_infer.errors import InvalidDataError, NotFoundError
from stream_infer.scoring.reference import Calibration, Reference

MANIFEST_FORMAT = 1
MODEL_FILE = "model.onnx"
MANIFEST_FILE = "manifest.json"

_Word = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
_Hex = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
_Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
_File = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
_Text = Annotated[str, msgspec.Meta(max_length=2_000)]
_LATER_FIELDS = ("calibration", "reference", "parent", "protocol", "made_with", "attachments")
"""Left out of the text where empty: a manifest of before they were there stays as it is."""


class Thresholds(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a decision changes: a score at or above the threshold has the decision.

    Scores are float32, so the comparison is made in float32. A threshold of at most six
    significant digits is its own shortest float32 text; with such ones a reader who
    compares the printed score with the printed threshold comes to the same decision.
    """

    review: _Share
    decline: _Share

    def __post_init__(self) -> None:
        if self.review > self.decline:
            raise ValueError("thresholds: review must not be above decline")


class Training(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the model comes from.

    source     one sentence: which data
    digest     sha256 of feature matrix and labels that the model was fitted on
    rows       how many rows
    positives  how many of them are frauds
    seed       seed of generator and learner
    """

    source: str
    digest: _Hex
    rows: Annotated[int, msgspec.Meta(ge=0)]
    positives: Annotated[int, msgspec.Meta(ge=0)]
    seed: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The facts about one immutable version of a model.

    name, version         together they name the model, on the wire too
    sha256                of `model.onnx`
    features              names of the input's columns, in order
    features_fingerprint  fingerprint of the plan that computes them
    thresholds            where decisions change; of a model that forecasts, where the anomaly
                          score of its pipeline begins to mean one
    outputs               names of the columns of its answer, such as ``15m_low``; none for a model
                          that answers with a probability
    row_chunk             rows per call of the runtime; changes speed only, never a score
    created               RFC 3339, UTC
    training, metrics     where it comes from and how good it was found to be
    calibration           how its score became a probability
    reference             how features and scores lay where it was validated, for drift
    parent                version of the same name that it was made from, by pruning, say
    protocol              how it was tried: which days, which delay of labels, in words
    made_with             library -> version that made it
    attachments           further files of the version, such as a report: name -> sha256
    format                version of this manifest's form
    """

    name: _Word
    version: _Word
    sha256: _Hex
    features: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    features_fingerprint: Annotated[str, msgspec.Meta(min_length=1)]
    thresholds: Thresholds
    row_chunk: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
    created: str
    training: Training
    metrics: dict[str, float] = {}
    outputs: tuple[str, ...] = ()
    calibration: Calibration | None = None
    reference: Reference | None = None
    parent: _Word | None = None
    protocol: dict[str, _Text] = {}
    made_with: dict[str, _Text] = {}
    attachments: dict[_File, _Hex] = {}
    format: int = MANIFEST_FORMAT

    def __post_init__(self) -> None:
        if self.format != MANIFEST_FORMAT:
            raise ValueError(f"format {self.format} is not {MANIFEST_FORMAT}, the one known here")
        if len(set(self.features)) != len(self.features):
            raise ValueError("features: a name stands twice")
        if taken := sorted({MODEL_FILE, MANIFEST_FILE}.intersection(self.attachments)):
            raise ValueError(f"attachments: {taken[0]} is the name of a file that every model has")


def encode_manifest(manifest: Manifest) -> bytes:
    """Return the manifest as indented JSON with a final newline."""
    fields = msgspec.to_builtins(manifest)
    for name in _LATER_FIELDS:
        if not fields[name]:
            del fields[name]
    return msgspec.json.format(msgspec.json.encode(fields), indent=2) + b"\n"


def decode_manifest(text: bytes, where: str) -> Manifest:
    """Return the manifest in `text`; `where` names its place in an error.

    Raises  InvalidDataError ``manifest_invalid`` when a field is missing, wrong or unknown
    """
    try:
        return msgspec.json.decode(text, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidDataError(
            "manifest_invalid",
            f"The model manifest {where} cannot be used: {error}.",
            "Make the model again, or serve it with the version of stream-infer that made it.",
            path=where,
        ) from error


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of the model in `folder`.

    Raises  NotFoundError ``model_not_found``, InvalidDataError ``manifest_invalid``
    """
    path = folder / MANIFEST_FILE
    return decode_manifest(read_model_part(path), str(path))


def read_model_part(path: Path) -> bytes:
    """Return the bytes of a model's file; raise `NotFoundError` when it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise NotFoundError(
            "model_not_found",
            f"The model file {path} cannot be read: {error.strerror}.",
            f"Name a folder that holds {MODEL_FILE} and {MANIFEST_FILE}.",
            path=str(path),
        ) from error
