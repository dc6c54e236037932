"""Whatever is wrong with a version or its registry: it is named, and the champion goes on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from msgspec import convert, to_builtins
from onnx import TensorProto, helper, numpy_helper

from stream_infer.errors import InvalidDataError
from stream_infer.events.told import Told
from stream_infer.guarding.guard import Guard
from stream_infer.guarding.publishing import evidence_of
from stream_infer.guardrails.deciding import DeciderRules
from stream_infer.registry.store import RegistryUnreachableError
from stream_infer.scoring.manifest import encode_manifest
from stream_infer.scoring.model import Model, load_model
from stream_infer.scoring.session import Scorer
from stream_infer.serving.live import LiveModel
from stream_infer.serving.router import Router, Serving
from stream_infer.serving.versions import VersionSource
from support.guarding import evidence
from support.onnx_models import (
    FEATURES,
    FINGERPRINT,
    WEIGHTS,
    logistic_model,
    make_manifest,
    serialise,
    write_model,
)
from support.registries import (
    NOON_MS,
    CutOff,
    folder_store,
    memory_store,
    model_content,
    registry_with,
)

Content = Callable[[], bytes]


def truncated() -> bytes:
    return model_content(2)[:-20]


def of_an_opset_to_come() -> bytes:
    model = onnx.load_from_string(model_content(2))
    model.opset_import[0].version = 999
    content: bytes = model.SerializeToString()
    return content


def of_four_inputs() -> bytes:
    return logistic_model(weights=np.zeros((4, 1), np.float32))


def of_doubles() -> bytes:
    return logistic_model(input_type=TensorProto.DOUBLE)


def of_two_tensors() -> bytes:
    """Return a model whose input has another name, and a second one beside it."""
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 3]) for name in ("a", "b")
    ]
    nodes = [
        helper.make_node("Add", ["a", "b"], ["x"]),
        helper.make_node("MatMul", ["x", "w"], ["z"]),
        helper.make_node("Sigmoid", ["z"], ["p"]),
    ]
    output = helper.make_tensor_value_info("p", TensorProto.FLOAT, [None, 1])
    return serialise(
        helper.make_graph(nodes, "g", inputs, [output], [numpy_helper.from_array(WEIGHTS, "w")])
    )


def with_tensor(change: Callable[[onnx.TensorProto], None]) -> bytes:
    model = onnx.load_from_string(model_content(2))
    change(model.graph.initializer[0])
    content: bytes = model.SerializeToString()
    return content


def of_five_gigabytes() -> bytes:
    def grow(tensor: onnx.TensorProto) -> None:
        tensor.dims[:] = [1_250_000_000, 1]

    return with_tensor(grow)


def of_another_file() -> bytes:
    def leave(tensor: onnx.TensorProto) -> None:
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", "../../etc/passwd"

    return with_tensor(leave)


def of_no_numbers() -> bytes:
    return logistic_model(weights=np.full((3, 1), np.nan, np.float32))


def of_no_probabilities() -> bytes:
    return logistic_model(weights=np.ones((3, 1), np.float32), activation="Identity")


BAD: Mapping[Content, str] = {
    truncated: "model_unreadable",
    of_an_opset_to_come: "model_opset_unsupported",
    of_four_inputs: "model_inputs_differ",
    of_doubles: "model_inputs_differ",
    of_two_tensors: "model_inputs_differ",
    of_five_gigabytes: "model_too_large",
    of_another_file: "model_external_data",
    of_no_numbers: "model_answers_no_probability",
    of_no_probabilities: "model_answers_no_probability",
}


def bind(model: Model) -> Scorer:
    return Scorer(model, FEATURES, FINGERPRINT)


async def fail(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize("make", BAD, ids=lambda make: make.__name__)
async def test_a_version_that_cannot_serve_is_refused_wherever_it_comes_up(
    tmp_path: Path, make: Content
) -> None:
    content, code = make(), BAD[make]
    registry = registry_with("1", store=folder_store(tmp_path / "registry"))
    registry.promote("tiny", "1")
    with pytest.raises(InvalidDataError) as caught:
        registry.publish(content, make_manifest(content, version="2"))
    assert (caught.value.code, bool(caught.value.fix)) == (code, True)
    # Somebody copies it into the registry by hand, and has it told.
    write_model(tmp_path / "registry/tiny/2", content, version="2")
    with pytest.raises(InvalidDataError) as caught:
        registry.promote("tiny", "2")
    assert caught.value.code == code
    source = VersionSource(registry, "tiny", tmp_path / "cache")
    live = LiveModel(
        source, None, bind, lambda champion: Router(Serving(champion)), on_failure=fail
    )
    told = source.what_serves()
    assert told is not None
    served = {
        alias: {"version": "2", "sha256": make_manifest(content).sha256}
        for alias in ("champion", "challenger", "shadow", "fast")
    }
    assert await live.exchange.apply(_told(told, served))
    assert {alias: error.code for alias, error in live.failures().items()} == dict.fromkeys(
        served, code
    )
    assert live.name_and_version == ("tiny", "1")
    assert live.router.route(["k"], np.zeros((1, 3))).versions() == "1"


def _told(told: Told, served: Mapping[str, Any]) -> Told:
    return convert({**to_builtins(told), "number": 2, "served": served}, Told)


def test_a_registry_that_cannot_be_reached_at_the_start_is_named(tmp_path: Path) -> None:
    store = CutOff(memory_store())
    registry = registry_with("1", store=store)
    registry.promote("tiny", "1")
    store.is_cut_off = True
    with pytest.raises(RegistryUnreachableError) as caught:
        LiveModel(
            VersionSource(registry, "tiny", tmp_path),
            None,
            bind,
            lambda champion: Router(Serving(champion)),
            on_failure=fail,
        )
    assert caught.value.code == "registry_unreachable"
    assert caught.value.fix


@pytest.mark.parametrize("written", [(), ("model.onnx",), ("model.onnx", "manifest.json")])
def test_a_worker_that_was_killed_while_it_fetched_a_version_starts_as_if_it_had_not(
    tmp_path: Path, written: tuple[str, ...]
) -> None:
    registry = registry_with("1")
    registry.promote("tiny", "1")
    left = tmp_path / "tiny/.partial-left"
    left.mkdir(parents=True)
    whole = {"model.onnx": model_content(1), "manifest.json": encode_manifest(make_manifest(b""))}
    for name in written:
        (left / name).write_bytes(whole[name][:-1])
    source = VersionSource(registry, "tiny", tmp_path)
    told = source.what_serves()
    assert told is not None
    assert source.load(told.served["champion"]).version == "1"
    [kept] = [each for each in (tmp_path / "tiny").iterdir() if not each.name.startswith(".")]
    assert load_model(kept).version == "1"


class Moody:
    """A session that is well but on rows whose first value is above 1,000.

    tick  called with the seconds that a run is to have taken
    """

    def __init__(self, session: Any, *, gives_nan: bool, tick: Callable[[float], None]) -> None:
        self._session, self._gives_nan, self._tick = session, gives_nan, tick

    def run(self, names: Any, feeds: Mapping[str, Any]) -> list[Any]:
        [rows] = feeds.values()
        odd = rows[:, 0] > 1_000
        answer = self._session.run(names, feeds)
        self._tick(1e-6 * len(rows) + (0.1 * len(rows) if odd.any() and not self._gives_nan else 0))
        if self._gives_nan:
            answer[0] = np.where(odd[:, None], np.float32(np.nan), answer[0])
        return list(answer)


@pytest.mark.parametrize(("gives_nan", "word"), [(True, "gave no number"), (False, "µs a row")])
async def test_a_version_that_is_only_bad_on_some_rows_is_rolled_back_by_what_workers_see(
    tmp_path: Path, *, gives_nan: bool, word: str
) -> None:
    registry = registry_with("1", "2")
    registry.promote("tiny", "1")
    registry.promote("tiny", "2")
    clock = [0.0]

    def tick(seconds: float) -> None:
        clock[0] += seconds

    model = load_model(write_model(tmp_path / "2", model_content(2), version="2"))
    moody = dataclasses.replace(model, session=Moody(model.session, gives_nan=gives_nan, tick=tick))
    router = Router(Serving(bind(moody)), counts=True, seconds=lambda: clock[0])

    async def tell(_: Told) -> None:
        pass

    rules = DeciderRules(held=3, watch_ms=10 * 86_400_000)
    guard = Guard(registry, "tiny", tell, pipeline="p", who="guard", rules=rules)
    # The version before runs no more; how long it took is remembered.
    guard.add(evidence("1", NOON_MS - 3_600_000, run_us=5_000))
    random = np.random.default_rng(1)
    decided = None
    for second in range(8):
        matrix = random.uniform(0, 50, (400, 3))
        if second:
            matrix[:4, 0] = 5_000  # one row in a hundred
        router.route([f"k{n}" for n in range(400)], matrix)
        now_ms = NOON_MS + 60_000 + 1_000 * second
        for each in evidence_of(router.take(), router, pipeline="p", worker="w", at_ms=now_ms):
            guard.add(each)
        decided = decided or await guard.look(now_ms)
    # Three looks of a second, and so within five seconds of the first evidence.
    assert decided is not None
    assert (decided.action, decided.version) == ("rollback", "2")
    assert word in decided.why
    entry = registry.history("tiny")[-1]
    assert entry.automatic
    assert registry.standing("tiny").champion == "1"
