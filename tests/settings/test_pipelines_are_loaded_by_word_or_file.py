from __future__ import annotations

from pathlib import Path

import pytest

from stream_infer.errors import ConfigError, NotFoundError
from stream_infer.pipelines.fraud import pipeline as fraud
from stream_infer.pipelines.loading import built_in_pipelines, load_pipeline
from support.pipelines import own_pipeline, written


def file_with(folder: Path, text: str) -> str:
    path = folder / "shop.py"
    path.write_text(text)
    return str(path)


def test_a_word_names_a_built_in_pipeline() -> None:
    assert load_pipeline("fraud") is fraud
    assert built_in_pipelines() == ["fraud", "fraud_history", "traffic"]


def test_a_built_in_pipeline_is_also_found_by_its_own_name() -> None:
    assert load_pipeline("fraud-history") is load_pipeline("fraud_history")
    assert load_pipeline("fraud-history").name == "fraud-history"


def test_a_file_names_a_pipeline_of_one_s_own(tmp_path: Path) -> None:
    pipeline = own_pipeline()
    assert load_pipeline(str(written(pipeline, tmp_path))) == pipeline


def test_an_attribute_may_be_named(tmp_path: Path) -> None:
    place = file_with(tmp_path, "from stream_infer.pipelines.fraud import pipeline as other\n")
    assert load_pipeline(f"{place}:other") is fraud
    with pytest.raises(NotFoundError) as raised:
        load_pipeline(place)
    assert f"{place}:other" in raised.value.fix


def test_a_misspelt_word_suggests_the_nearest() -> None:
    with pytest.raises(NotFoundError) as raised:
        load_pipeline("fruad")
    assert "Did you mean 'fraud'?" in raised.value.fix


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError) as raised:
        load_pipeline(str(tmp_path / "none.py"))
    assert raised.value.code == "pipeline_file_missing"


@pytest.mark.parametrize(
    ("text", "line", "cause"),
    [
        ("x = 1\ny = nope\n", 2, "NameError"),
        ("x = 1\n\ndef f(:\n", 3, "SyntaxError"),
        ("import not_a_module_of_anybody\n", 1, "ModuleNotFoundError"),
        ("def f():\n    raise ValueError('bad')\n\nf()\n", 2, "ValueError: bad"),
    ],
)
def test_what_a_file_raises_is_told_with_its_line(
    tmp_path: Path, text: str, line: int, cause: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        load_pipeline(file_with(tmp_path, text))
    assert f"shop.py, line {line}" in raised.value.message
    assert cause in raised.value.message


def test_our_own_errors_keep_their_code_and_fix_and_gain_the_line(tmp_path: Path) -> None:
    text = "from stream_infer.durations import parse_duration\n\nparse_duration('soon')\n"
    with pytest.raises(ConfigError) as raised:
        load_pipeline(file_with(tmp_path, text))
    assert raised.value.code == "bad_duration"
    assert "shop.py, line 3" in raised.value.message
    assert "7d" in raised.value.fix


def test_something_that_is_no_pipeline_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        load_pipeline(file_with(tmp_path, "pipeline = 3\n"))
    assert raised.value.code == "pipeline_wrong_type"
