"""What is said of an optimised model: one value as JSON, and the same as a page with a picture."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict
from html import escape
from typing import Any

import msgspec
import onnxruntime

from stream_infer.optimizing.comparing import REPLICATES
from stream_infer.optimizing.optimising import Candidate, Measured, Optimised
from stream_infer.optimizing.recipes import ORIGINAL
from stream_infer.training.pictures import Point, point_chart
from stream_infer.training.report import figure, page, table

CHOSEN_ON = (
    "Verdicts, the recommended candidate and row chunks were chosen on the validation days. The "
    "test days were scored by every candidate, and chose nothing."
)
INTERVALS = (
    "Intervals of 95 % are of {draws} draws of customers with replacement, the same draws for each "
    "candidate: frauds of one customer rise and fall together, and of days there are too few."
)


def optimising_report(made: Optimised) -> dict[str, Any]:
    """Return what is said of candidates, JSON-encodable."""
    manifest = made.original.manifest
    chosen = made.chosen
    return {
        "model": manifest.name,
        "seed": made.request.seed,
        "tolerance": made.request.tolerance.facts(),
        "days": made.request.protocol.facts() | {"validation": made.validation.days},
        "chosen_on": CHOSEN_ON,
        "validation_unseen": made.validation.unseen,
        "intervals": INTERVALS.format(draws=REPLICATES),
        "rows": {
            stretch.name: {
                "rows": len(stretch.samples),
                "positives": int(stretch.samples.truth.sum()),
            }
            for stretch in (made.validation, made.test)
        },
        "machine": _machine(),
        "original": measured_facts(made.original),
        "candidates": [candidate_facts(each) for each in made.candidates],
        "pareto": list(made.front),
        "recommended": made.recommended,
        "adopted": [each.recipe.name for each in made.candidates if each.verdict.adopt],
        "sha256": None if chosen is None or chosen.measured is None
        else chosen.measured.manifest.sha256,
    }  # fmt: skip


def measured_facts(measured: Measured) -> dict[str, Any]:
    """Return what was measured of one model."""
    middle, low, high = measured.speedup
    return {
        "shape": measured.draft.shape(),
        "bytes": len(measured.draft.content),
        "sha256": measured.manifest.sha256,
        "row_chunk": measured.manifest.row_chunk,
        "thresholds": msgspec.to_builtins(measured.manifest.thresholds),
        "load_ms": round(measured.load_ms, 2),
        **measured.speed.facts(),
        "speedup": round(middle, 3),
        "speedup_quartiles": [round(low, 3), round(high, 3)],
        "speedup_over_float": None if measured.over_float is None
        else round(measured.over_float[0], 3),
        "parity": None if measured.draft.parity is None else measured.draft.parity.facts(),
        "validation": measured.validation.facts(),
        "test": measured.test.facts(),
    }  # fmt: skip


def candidate_facts(candidate: Candidate) -> dict[str, Any]:
    """Return what became of one candidate."""
    recipe, measured = candidate.recipe, candidate.measured
    said: dict[str, Any] = {
        "name": recipe.name,
        "made_of": recipe.source,
        "how": recipe.how,
        "applies": measured is not None,
        "verdict": candidate.verdict.word,
        "reasons": list(candidate.verdict.reasons),
    }
    if measured is None or candidate.on_test is None:
        return said
    on_test = asdict(candidate.on_test)
    return said | {"on_test": on_test} | measured_facts(measured)


def _machine() -> dict[str, str]:
    return {
        "processor": _processor(),
        "python": platform.python_version(),
        "onnxruntime": onnxruntime.__version__,
        "threads": "1",
    }


def _processor() -> str:
    """Return the processor's name and which 8-bit instructions it has."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123 - a kernel's file
            lines = dict(line.split(":", 1) for line in file if ":" in line)
    except OSError:
        return platform.processor() or platform.machine()
    known = {name.strip(): value.strip() for name, value in lines.items()}
    flags = set(known.get("flags", "").split())
    wide = [each for each in ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8")
            if each in flags]  # fmt: skip
    return " ".join([known.get("model name", platform.machine()), *wide])


def report_page(report: Mapping[str, Any]) -> str:
    """Return the page of a report, one file without anything from outside."""
    title = f"{report['model']}: smaller and quicker"
    measured = [each for each in report["candidates"] if each["applies"]]
    named = [{"name": ORIGINAL, "verdict": "", **report["original"]}, *measured]
    front = set(report["pareto"])
    points = [
        Point(each["name"], each["rows_per_s"], each["validation"]["average_precision"],
              joined=each["name"] in front)
        for each in named
    ]  # fmt: skip
    picture = point_chart(
        "Speed and average precision on the validation days", points,
        "rows a second, one core", "average precision",
    )  # fmt: skip
    pieces = [
        f"<h1>{escape(title)}</h1>",
        (
            f"<p>Recommended: <b>{escape(report['recommended'] or 'nothing qualifies')}</b>. "
            f"{escape(report['chosen_on'])} {escape(report['intervals'])}</p>"
        ),
        figure(picture),
        f"<h2>Validation days, {escape(report['days']['validation'])}</h2>",
        _stretch_table(named, "validation"),
        f"<h2>Test days, {escape(report['days']['test'])}</h2>",
        _stretch_table(named, "test"),
        "<h2>Speed and size</h2>",
        _speed_table(named),
        "<h2>Verdicts</h2>",
        table(
            ("candidate", "how it is made", "verdict", "why"),
            [
                (each["name"], each["how"], each["verdict"], "; ".join(each["reasons"]))
                for each in report["candidates"]
            ],
        ),
        (
            "<details><summary>All figures</summary><pre>"
            f"{escape(json.dumps(report, indent=1))}</pre></details>"
        ),
    ]
    return page(title, pieces)


def _stretch_table(named: list[dict[str, Any]], stretch: str) -> str:
    rows = []
    for at, each in enumerate(named):
        said = each[stretch]
        drop = said["average_precision_drop"]
        rows.append(
            (
                at,
                each["name"],
                said["auc"],
                said["average_precision"],
                said["card_precision_100"],
                f"{drop['value']:.4f} ({drop['low']:.4f} to {drop['high']:.4f})",
                f"{said['flips']['right_lost']} of {said['flips']['right']}",
                f"{said['flips']['share']:.1%} of {said['flips']['alerts']}",
                said["calibration"]["calibration_error"],
            )
        )
    return table(
        ("", "model", "AUC", "average precision", "card precision @100", "precision lost",
         "right alerts lost", "flips", "calibration error"),
        rows,
    )  # fmt: skip


def _speed_table(named: list[dict[str, Any]]) -> str:
    rows = []
    for at, each in enumerate(named):
        waits = [f"{wait['p50']:.0f} / {wait['p99']:.0f}" for wait in each["latency_us"].values()]
        rows.append(
            (
                at,
                each["name"],
                f"{each['rows_per_s']:,}",
                f"{each['speedup']:.2f}",
                *waits,
                f"{each['bytes']:,}",
                each["load_ms"],
                each["row_chunk"],
            )
        )
    return table(
        ("", "model", "rows a second", "times the original", "1 row, µs p50 / p99", "64 rows",
         "512 rows", "bytes", "load ms", "row chunk"),
        rows,
    )  # fmt: skip
