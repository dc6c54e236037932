"""A model that was verified and may serve.

`load_model` is the only way to a `Model`, and refuses a folder whose file does not hash
to what its manifest says, that the runtime cannot load, that takes other inputs than the
manifest lists, or that answers test rows with something that is no probability (where the
manifest names outputs: no number).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from stream_infer.errors import InvalidDataError
from stream_infer.scoring.execution import CPU, ON_CPU, Execution
from stream_infer.scoring.manifest import (
    MODEL_FILE,
    Manifest,
    Thresholds,
    read_manifest,
    read_model_part,
)
from stream_infer.scoring.onnx_file import MODEL_BYTES_MAX, examine
from stream_infer.scoring.providers import (
    check_used,
    find_providers,
    open_quietly,
    record_assignment,
    used_by,
    word_of,
)

_REMAKE = "Copy the model's folder again, or make the model again."
# Zeros are what a key's first event has in most windows; the others are habits at the
# scale of cards and sensors, and far outside of it.
_TEST_VALUES = (0.0, 1.0, 50.0, 1e6)
WARM_RUNS = 3


@dataclass(frozen=True, slots=True)
class Model:
    """A verified model.

    manifest  its facts
    session   the runtime's session: one thread, nodes in order
    input     name of the input, float32 (n, features)
    output    name of the output with the scores
    row_chunk rows of one run, as is best for the provider that runs it
    provider  the execution provider that runs it (most of it, where several do)
    """

    manifest: Manifest
    session: Any
    input: str
    output: str
    row_chunk: int
    provider: str = CPU

    @property
    def name(self) -> str:
        """The model's name."""
        return self.manifest.name

    @property
    def version(self) -> str:
        """The model's version."""
        return self.manifest.version

    @property
    def thresholds(self) -> Thresholds:
        """Where decisions change."""
        return self.manifest.thresholds

    def run(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the probability of class 1 for C-contiguous float32 (n, features) rows."""
        answer: NDArray[np.float32] = self.session.run((self.output,), {self.input: rows})[0]
        return answer if answer.ndim == 1 else answer[:, -1]

    def run_all(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return every column of the answer, (n, outputs) float32."""
        answer: NDArray[np.float32] = self.session.run((self.output,), {self.input: rows})[0]
        return answer


def load_model(folder: Path | str, execution: Execution = ON_CPU) -> Model:
    """Verify the model in `folder` and return it.

    execution  where it runs
    Raises  NotFoundError ``model_not_found``; ConfigError ``provider_unknown``,
            ``provider_not_installed``, ``provider_not_listed``; ConflictError ``provider_not_used``
            InvalidDataError ``manifest_invalid``, ``model_too_large``,
            ``model_checksum_differs``, ``model_external_data``, ``model_opset_unsupported``,
            ``model_unreadable``, ``model_inputs_differ``, ``model_output_unusable``,
            ``model_answers_no_probability``
    Cost    reads the file once; the bytes that were hashed are the bytes that serve
    """
    place = Path(folder)
    manifest = read_manifest(place)
    _check_size(place / MODEL_FILE)
    content = read_model_part(place / MODEL_FILE)
    found = hashlib.sha256(content).hexdigest()
    if found != manifest.sha256:
        raise InvalidDataError(
            "model_checksum_differs",
            f"The file {place / MODEL_FILE} is not the one its manifest describes.",
            _REMAKE,
            expected=manifest.sha256,
            found=found,
        )
    check_content(content)
    session = open_session(content, execution)
    provider = word_of(used_by(session, find_providers(execution)).provider)
    taken = _input_name(session, manifest)
    outputs = manifest.outputs
    output = _columns_name(session, len(outputs)) if outputs else _output_name(session)
    row_chunk = execution.row_chunks.get(provider, manifest.row_chunk)
    model = Model(manifest, session, taken, output, row_chunk, provider)
    _check_answers(model)
    return model


def warm_up(model: Model) -> None:
    """Run a model a few times on as many rows as a run has, and on one.

    The runtime sets memory aside, and a device compiles kernels, in the first runs of a shape: the
    first batch must not wait for that.
    """
    width = len(model.manifest.features)
    for rows in (1, model.row_chunk):
        for _ in range(WARM_RUNS):
            model.run_all(np.zeros((rows, width), np.float32))


def _check_size(path: Path) -> None:
    try:
        size = path.stat().st_size
    except OSError:
        return  # reading it says why
    if size > MODEL_BYTES_MAX:
        raise _too_large(size)


def check_content(content: bytes) -> None:
    """Refuse a file that must not come near the runtime; see `stream_infer.scoring.onnx_file`.

    Raises  InvalidDataError ``model_unreadable``, ``model_external_data``, ``model_too_large``
    """
    facts = examine(content)
    if facts.external:
        raise InvalidDataError(
            "model_external_data",
            "The model keeps tensors in another file, which could be any file of this machine.",
            "Export the model in one file, without external data.",
        )
    if facts.tensor_bytes > MODEL_BYTES_MAX:
        raise _too_large(facts.tensor_bytes)


def _too_large(size: int) -> InvalidDataError:
    return InvalidDataError(
        "model_too_large",
        f"The model takes {size:,} bytes; a worker loads at most {MODEL_BYTES_MAX:,}.",
        "Serve a smaller model: prune it, or distil it.",
        bytes=size,
        bytes_max=MODEL_BYTES_MAX,
    )


def open_session(content: bytes, execution: Execution = ON_CPU) -> Any:
    """Return a single-threaded session of the ONNX model in `content`, by default on the processor.

    One thread and sequential nodes: a worker owns one core, a pool would spin on the
    others, and a sum that is cut over threads depends on where it is cut.
    Raises  as `load_model`
    """
    providers = find_providers(execution)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    if not providers.is_plain:
        record_assignment(options)
    try:
        session = open_quietly(content, options, providers)
    except Exception as error:  # the runtime's errors share no base class below Exception
        is_opset = "opset" in str(error).lower()
        raise InvalidDataError(
            "model_opset_unsupported" if is_opset else "model_unreadable",
            f"ONNX Runtime {onnxruntime.__version__} cannot load the model: {error}",
            "Export the model for an opset that this ONNX Runtime knows, in one file.",
        ) from error
    check_used(providers, session, used_by(session, providers))
    return session


def _input_name(session: Any, manifest: Manifest) -> str:
    inputs = session.get_inputs()
    width = len(manifest.features)
    shape = inputs[0].shape if inputs else []
    fits = (
        len(inputs) == 1
        and inputs[0].type == "tensor(float)"
        and len(shape) == 2
        and not isinstance(shape[0], int)
        and (not isinstance(shape[1], int) or shape[1] == width)
    )
    if not fits:
        found = ", ".join(f"{each.name} {each.type} {each.shape}" for each in inputs)
        raise InvalidDataError(
            "model_inputs_differ",
            f"The model takes ({found}); its manifest lists {width} features.",
            f"Export it with one float input of shape (rows, {width}), any number of rows.",
        )
    name: str = inputs[0].name
    return name


def _output_name(session: Any) -> str:
    """Return the last float output of one or two columns: converters put the label first."""
    usable = [
        each.name
        for each in session.get_outputs()
        if each.type == "tensor(float)"
        and (
            len(each.shape) == 1
            or (len(each.shape) == 2 and (not isinstance(each.shape[1], int) or each.shape[1] <= 2))
        )
    ]
    if not usable:
        raise InvalidDataError(
            "model_output_unusable",
            "The model has no float output of shape (rows,), (rows, 1) or (rows, 2).",
            "Export it with zipmap switched off, so that probabilities are a tensor.",
        )
    name: str = usable[-1]
    return name


def _columns_name(session: Any, columns: int) -> str:
    """Return the output with as many columns as the manifest names."""
    usable = [
        each.name
        for each in session.get_outputs()
        if each.type == "tensor(float)" and len(each.shape) == 2 and each.shape[1] == columns
    ]
    if not usable:
        raise InvalidDataError(
            "model_output_unusable",
            f"The model has no float output of shape (rows, {columns}), one column for each that "
            "its manifest names.",
            "Export it with one output for all of them, in the manifest's order.",
        )
    name: str = usable[-1]
    return name


def _check_answers(model: Model) -> None:
    """Refuse a model that answers test rows with anything but probabilities, or numbers."""
    width = len(model.manifest.features)
    rows = np.repeat(np.array(_TEST_VALUES, np.float32)[:, None], width, axis=1)
    outputs = model.manifest.outputs
    try:
        scores = model.run_all(rows) if outputs else model.run(rows)
    except Exception as error:  # as in `open_session`
        raise InvalidDataError(
            "model_unreadable", f"The model fails on test rows: {error}", _REMAKE
        ) from error
    if outputs:
        if scores.shape != (len(rows), len(outputs)) or not np.isfinite(scores).all():
            raise InvalidDataError(
                "model_answers_no_number",
                f"The model {model.name} {model.version} answers test rows with something that is "
                "no number.",
                "Export a model whose answers are finite for every input, or train it again.",
            )
        return
    inside = np.isfinite(scores) & (scores >= 0) & (scores <= 1)
    if scores.shape != (len(rows),) or not inside.all():
        raise InvalidDataError(
            "model_answers_no_probability",
            f"The model {model.name} {model.version} answers test rows with {scores.tolist()}.",
            "Export a model whose last output is the probability of class 1, or train it again.",
        )
