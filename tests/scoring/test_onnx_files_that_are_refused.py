from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from stream_infer.errors import InvalidDataError
from stream_infer.scoring import model as loading
from stream_infer.scoring.model import load_model
from stream_infer.scoring.onnx_file import MODEL_BYTES_MAX, examine
from support.onnx_models import logistic_model, serialise, write_model


def refusal(folder: Path) -> str:
    with pytest.raises(InvalidDataError) as caught:
        load_model(folder)
    assert caught.value.fix
    return caught.value.code


def external(location: str) -> onnx.TensorProto:
    tensor = numpy_helper.from_array(np.zeros((3, 1), np.float32), "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", location
    return tensor


def graph_of(nodes: list[onnx.NodeProto], tensors: list[onnx.TensorProto]) -> onnx.GraphProto:
    return helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 3])],
        [helper.make_tensor_value_info("p", TensorProto.FLOAT, [None, 1])],
        tensors,
    )


SCORE = [
    helper.make_node("MatMul", ["x", "w"], ["z"]),
    helper.make_node("Sigmoid", ["z"], ["p"]),
]


@pytest.mark.parametrize("location", ["../../etc/passwd", "/etc/passwd", "weights.bin"])
def test_a_tensor_in_another_file_is_refused_before_the_runtime_opens_it(
    tmp_path: Path, location: str
) -> None:
    content = serialise(graph_of(SCORE, [external(location)]))
    assert refusal(write_model(tmp_path, content)) == "model_external_data"


def test_a_constant_in_another_file_is_refused(tmp_path: Path) -> None:
    constant = helper.make_node("Constant", [], ["w"], value=external("../w"))
    content = serialise(graph_of([constant, *SCORE], []))
    assert refusal(write_model(tmp_path, content)) == "model_external_data"


def test_a_constant_in_another_file_inside_a_branch_is_refused(tmp_path: Path) -> None:
    branch = helper.make_graph(
        [helper.make_node("Constant", [], ["w"], value=external("../w"))],
        "branch",
        [],
        [helper.make_tensor_value_info("w", TensorProto.FLOAT, [3, 1])],
    )
    yes = numpy_helper.from_array(np.array([True]), "yes")
    either = helper.make_node("If", ["yes"], ["w"], then_branch=branch, else_branch=branch)
    content = serialise(graph_of([either, *SCORE], [yes]))
    assert refusal(write_model(tmp_path, content)) == "model_external_data"


def test_a_feature_named_location_is_no_ground_for_refusal() -> None:
    content = onnx.load_from_string(logistic_model())
    content.graph.doc_string = "location"
    assert not examine(content.SerializeToString()).external


def test_initializers_of_five_gigabytes_are_refused_without_their_bytes(tmp_path: Path) -> None:
    tensor = numpy_helper.from_array(np.zeros((3, 1), np.float32), "w")
    del tensor.dims[:]
    tensor.dims.extend([3, 450_000_000])
    content = serialise(graph_of(SCORE, [tensor]))
    assert len(content) < 1_000
    assert refusal(write_model(tmp_path, content)) == "model_too_large"


def test_a_file_above_the_limit_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_model(tmp_path)
    with (tmp_path / "model.onnx").open("r+b") as file:
        file.truncate(MODEL_BYTES_MAX + 1)  # a hole: it takes no room on the disk
    monkeypatch.setattr(loading, "read_model_part", _only_the_manifest)
    assert refusal(tmp_path) == "model_too_large"


def _only_the_manifest(path: Path) -> bytes:
    assert path.name != "model.onnx"
    return path.read_bytes()


def test_an_opset_that_the_runtime_does_not_know_is_named(tmp_path: Path) -> None:
    model = onnx.load_from_string(logistic_model())
    model.opset_import[0].version = 99
    folder = write_model(tmp_path, model.SerializeToString())
    assert refusal(folder) == "model_opset_unsupported"


def test_a_file_that_ends_anywhere_is_refused(tmp_path: Path) -> None:
    whole = logistic_model()
    for end in range(0, len(whole), 7):
        folder = write_model(tmp_path / str(end), whole[:end])
        assert refusal(folder) in {"model_unreadable", "model_inputs_differ"}
