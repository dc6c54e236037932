from __future__ import annotations

import re
from pathlib import Path

from stream_infer.simulators.fraud import FRAUD_NAMES, World, generate
from stream_infer.simulators.traffic import Roads

PAGE = (Path(__file__).parents[2] / "docs" / "simulators.md").read_text(encoding="utf-8")


def test_the_python_on_the_page_runs() -> None:
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, object] = {}
    exec(block, names)  # noqa: S102 - the page is ours, and its code is what is tested
    assert names["payments"]
    assert names["incidents"] is not None


def test_the_figures_of_the_data_sheet_are_those_of_its_world() -> None:
    rows = generate(World(seed=7, days=60, accounts_lost=0.0004, cards_tested=0.0004))
    assert f"{len(rows):,}" in " ".join(PAGE.split())
    assert f"{rows.is_fraud.mean():.2%}".replace("%", " %") in PAGE
    for kind in FRAUD_NAMES[1:]:
        assert f"| `{kind}` |" in PAGE


def test_the_page_names_the_defaults_of_the_code() -> None:
    plain = World()
    for value in (plain.amount_frauds, plain.terminals_lost, plain.cards_lost):
        assert f" {value:.4f} of" in PAGE
    assert plain.accounts_lost == plain.cards_tested == 0
    roads = Roads()
    assert f"{roads.spacing_km} km apart" in PAGE
    assert f"{roads.corridors} corridors with up to {roads.sensors_per_corridor} sensors" in PAGE
