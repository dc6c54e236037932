"""A bare ONNX file as a model that may serve: the manifest that it lacks is made from the pipeline.

A file says how many columns it takes, not what they mean. Whoever gives it to a pipeline
says that its columns are that pipeline's features, in their order; the number is checked,
and everything that `load_model` checks. The version is the beginning of the file's sha256,
so that each scored event tells which file scored it.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from pathlib import Path

from stream_infer.errors import InvalidDataError
from stream_infer.features.plan import compile_plan
from stream_infer.models.writing import describe_model, write_model
from stream_infer.pipeline import Pipeline
from stream_infer.scoring.execution import ON_CPU, Execution
from stream_infer.scoring.manifest import Manifest, Thresholds, Training, read_model_part
from stream_infer.scoring.model import Model, load_model

VERSION_DIGITS = 12
ROW_CHUNK = 256
"""Where 100 small trees stop gaining; an MLP is as quick with any."""
UNKNOWN_DIGEST = "0" * 64


def adopt_model(
    file: Path, pipeline: Pipeline, thresholds: Thresholds, execution: Execution = ON_CPU
) -> Model:
    """Return the verified model in an ONNX file.

    file        one ONNX file, whose input is (rows, features of the pipeline in their order)
    thresholds  where decisions change
    execution   where it runs
    Raises      NotFoundError ``model_not_found``; InvalidDataError as `load_model`
    """
    content = read_model_part(file)
    manifest = adopted_manifest(file, content, pipeline, thresholds)
    # Through a folder, since that is the one way to a model, with every check that there is.
    with tempfile.TemporaryDirectory(prefix="stream-infer-model-") as folder:
        try:
            write_model(Path(folder), content, manifest)
        except InvalidDataError as error:
            raise _about_features(error, file, manifest) from error
        return load_model(folder, execution)


def adopted_manifest(
    file: Path, content: bytes, pipeline: Pipeline, thresholds: Thresholds
) -> Manifest:
    """Return the manifest that says the file's columns are the pipeline's features."""
    plan = compile_plan(pipeline)
    return describe_model(
        content,
        name=_word(file.stem),
        version=hashlib.sha256(content).hexdigest()[:VERSION_DIGITS],
        features=plan.feature_names,
        fingerprint=plan.fingerprint,
        thresholds=thresholds,
        row_chunk=ROW_CHUNK,
        training=Training(
            source=f"{file.name}, a file without a manifest",
            digest=UNKNOWN_DIGEST,
            rows=0,
            positives=0,
            seed=0,
        ),
        metrics={},
    )


def _word(text: str) -> str:
    """Return `text` as a manifest's word.

    >>> _word("Shop Model (2)")
    'shop-model-2'
    """
    word = re.sub(r"[^a-z0-9._]+", "-", text.lower()).strip("-._")
    return word[:64] or "model"


def _about_features(error: InvalidDataError, file: Path, manifest: Manifest) -> InvalidDataError:
    """Return the error with the features in place of a manifest that nobody wrote."""
    if error.code != "model_inputs_differ":
        return error
    names = ", ".join(manifest.features)
    found = error.message.partition("; its manifest")[0].removeprefix("The model takes ")
    return InvalidDataError(
        error.code,
        f"The model in {file} takes {found}; the pipeline computes {len(manifest.features)}"
        f" features: {names}.",
        "Train it on these columns, in this order (stream-infer features makes them of a file),"
        f" and export one float input of shape (rows, {len(manifest.features)}).",
        path=str(file),
        features=list(manifest.features),
    )
