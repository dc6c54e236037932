from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stream_infer.errors import InvalidDataError, NotFoundError
from stream_infer.scoring.manifest import decode_manifest, encode_manifest, read_manifest
from stream_infer.scoring.reference import Calibration, describe_rows
from support.onnx_models import FEATURES, logistic_model, make_manifest, write_model


def test_a_manifest_comes_back_as_it_was_written(tmp_path: Path) -> None:
    manifest = make_manifest(logistic_model(), metrics={"auc": 0.75})
    write_model(tmp_path, metrics={"auc": 0.75})
    assert read_manifest(tmp_path) == manifest


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"temperature": [1.0]}, id="unknown field"),
        pytest.param({"calibration": [1.0]}, id="calibration of another form"),
        pytest.param({"name": "Fraud Model"}, id="name with a blank"),
        pytest.param({"sha256": "abc"}, id="short checksum"),
        pytest.param({"features": []}, id="no features"),
        pytest.param({"features": ["a", "a"]}, id="a feature twice"),
        pytest.param({"features_fingerprint": ""}, id="no fingerprint"),
        pytest.param({"thresholds": {"review": 0.9, "decline": 0.5}}, id="thresholds crossed"),
        pytest.param({"thresholds": {"review": 0.9}}, id="threshold missing"),
        pytest.param({"thresholds": {"review": -1, "decline": 0.5}}, id="threshold below 0"),
        pytest.param({"row_chunk": 0}, id="no rows a call"),
        pytest.param({"format": 2}, id="a later format"),
    ],
)
def test_a_manifest_that_cannot_be_honoured_is_refused(change: dict[str, Any]) -> None:
    text = json.loads(encode_manifest(make_manifest(b""))) | change
    with pytest.raises(InvalidDataError) as caught:
        decode_manifest(json.dumps(text).encode(), "models/tiny/1/manifest.json")
    assert caught.value.code == "manifest_invalid"
    assert "models/tiny/1/manifest.json" in caught.value.message


def test_facts_that_a_manifest_may_lack_come_back_too(tmp_path: Path) -> None:
    scores = np.linspace(0, 1, 101, dtype=np.float32)
    manifest = make_manifest(
        logistic_model(),
        reference=describe_rows(FEATURES, np.tile(scores[:, None], 3), scores, review=0.9),
        calibration=Calibration(method="isotonic", expected_error=0.01, brier=0.02),
        parent="0",
        protocol={"test": "2018-08-08..2018-08-14"},
        made_with={"lightgbm": "4.6.0"},
        attachments={"report.html": "a" * 64},
    )
    assert decode_manifest(encode_manifest(manifest), "here") == manifest


def test_a_manifest_says_nothing_of_facts_that_it_lacks() -> None:
    text = encode_manifest(make_manifest(logistic_model()))
    assert b"reference" not in text
    assert b"outputs" in text


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"\xff\xfe", b'{"name": "\xff"}'])
def test_text_that_is_no_manifest_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidDataError, match="cannot be used"):
        decode_manifest(text, "manifest.json")


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError) as caught:
        read_manifest(tmp_path / "absent")
    assert caught.value.code == "model_not_found"
    assert str(tmp_path / "absent") in caught.value.message
