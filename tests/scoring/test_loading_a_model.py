from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from stream_infer.errors import InvalidDataError, NotFoundError
from stream_infer.scoring.model import load_model
from support.onnx_models import FEATURES, WEIGHTS, logistic_model, serialise, write_model


def expect_refusal(folder: Path, code: str) -> InvalidDataError:
    with pytest.raises(InvalidDataError) as caught:
        load_model(folder)
    assert caught.value.code == code
    assert caught.value.fix
    return caught.value


def test_a_model_that_fits_its_manifest_is_loaded(tmp_path: Path) -> None:
    model = load_model(write_model(tmp_path))
    assert (model.name, model.version) == ("tiny", "1")
    assert model.manifest.features == FEATURES


def test_one_changed_byte_is_found_by_the_checksum(tmp_path: Path) -> None:
    write_model(tmp_path)
    content = bytearray((tmp_path / "model.onnx").read_bytes())
    content[-1] ^= 1
    (tmp_path / "model.onnx").write_bytes(content)
    expect_refusal(tmp_path, "model_checksum_differs")


def test_a_manifest_without_its_model_file_is_named(tmp_path: Path) -> None:
    write_model(tmp_path)
    (tmp_path / "model.onnx").unlink()
    with pytest.raises(NotFoundError, match=r"model\.onnx"):
        load_model(tmp_path)


def test_a_file_that_is_no_onnx_model_is_refused(tmp_path: Path) -> None:
    expect_refusal(write_model(tmp_path, b"not a model"), "model_unreadable")


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(logistic_model(weights=WEIGHTS[:2]), id="two features"),
        pytest.param(logistic_model(input_type=TensorProto.DOUBLE), id="float64"),
        pytest.param(logistic_model(rows=4), id="a fixed number of rows"),
    ],
)
def test_a_model_that_takes_other_inputs_than_listed_is_refused(
    tmp_path: Path, content: bytes
) -> None:
    error = expect_refusal(write_model(tmp_path, content), "model_inputs_differ")
    assert "3" in error.fix


def test_a_model_that_answers_no_number_is_refused(tmp_path: Path) -> None:
    broken = np.full((3, 1), np.nan, np.float32)
    error = expect_refusal(
        write_model(tmp_path, logistic_model(weights=broken)), "model_answers_no_probability"
    )
    assert "nan" in error.message


def test_a_model_whose_answers_are_no_probabilities_is_refused(tmp_path: Path) -> None:
    logits = logistic_model(activation="Identity")
    expect_refusal(write_model(tmp_path, logits), "model_answers_no_probability")


def test_a_model_with_labels_only_is_refused(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("ArgMax", ["x"], ["label"], axis=1)],
        "labels",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 3])],
        [helper.make_tensor_value_info("label", TensorProto.INT64, [None, 1])],
    )
    expect_refusal(write_model(tmp_path, serialise(graph)), "model_output_unusable")
