"""Writes docs/errors.md: every error code, its cause and its fix, as the source says them.

    python docs/make_errors.py

A code, a cause and a fix stand where an error is raised, and nowhere else. What is filled in at
run time is shown as ``…``.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "stream_infer"
PAGE = ROOT / "docs" / "errors.md"

HEAD = """\
# Errors

Every error has a code, which stays, a cause and a fix; `--json` prints all three, a worker logs
them.
The number is the exit code of a command that ends so ([operations](operations.md#exit-codes) says
what each stands for); an error that was logged only ends nothing. `…` stands for what is filled in.
Codes of dead letters stand in [events](events.md#dead-letters). This page is made from the source
by `python docs/make_errors.py`.
"""

GROUPS = (
    # (what somebody was doing, beginnings of the modules' names; the longest one counts)
    ("Calling a command", ("cli",)),
    ("Reading settings and field mappings", ("settings", "durations", "events", "logs")),
    (
        "Reaching Kafka",
        ("kafka", "kafka.connection", "kafka.causes", "kafka.listeners", "kafka.security"),
    ),
    (
        "Topics and access rules",
        ("kafka.topic", "kafka.granting", "kafka.acls", "cli.topics", "cli.acls", "dataplane.made"),
    ),
    (
        "Declaring a pipeline",
        (
            "features",
            "pipelines",
            "pipeline",
            "alerts.declared",
            "traffic",
            "events.sensitive",
            "payments",
            "scaffold",
            "cli.folder",
        ),
    ),
    (
        "Running a worker",
        (
            "app",
            "worker",
            "dataplane",
            "supervisor",
            "observability",
            "alerts",
            "windows",
            "kafka.skips",
            "features.fold",
        ),
    ),
    (
        "Checkpoints and histories",
        ("checkpoints", "states", "cli.checkpoint", "cli.history", "dataplane.checkpoint"),
    ),
    ("Models", ("scoring", "models", "cli.models.adopt")),
    (
        "Versions of models",
        (
            "registry",
            "serving",
            "guarding",
            "guardrails",
            "cli.models",
            "cli.serving",
            "events.evidence",
            "events.told",
        ),
    ),
    ("Training and evaluating", ("training", "cli.train", "cli.evaluate", "optimizing")),
    ("Files of events", ("files", "audit.files")),
    (
        "Audits and dead letters",
        (
            "audit",
            "cli.audit",
            "cli.dlq",
            "cli.replay",
            "kafka.deadletters",
            "kafka.resend",
            "kafka.sending",
        ),
    ),
    ("Kafka on this machine", ("broker", "cli.broker", "cli.dev")),
    (
        "Simulating, showing, measuring",
        ("simulators", "demo", "benchmark", "cli.simul", "cli.demo"),
    ),
)

EXITS = {
    "UsageError": 2,
    "ConfigError": 2,
    "NotFoundError": 3,
    "ConflictError": 4,
    "StandstillError": 4,
    "InvalidDataError": 5,
    "GateFailedError": 6,
    "BrokerError": 1,
    "EmbeddedBrokerError": 1,
    "StateBudgetError": 1,
    "StreamInferError": 1,
    "RegistryUnreachableError": 1,
    "TopicFinding": 4,
}
"""What is raised with a code, a message and a fix, and with which number a command then ends."""

VARIANTS = {
    "denied_…": ("denied_topic", "denied_group", "denied_transactional_id", "denied_cluster"),
    "…_would_expire": ("lists_would_expire", "skips_would_expire"),
}
"""The codes that are put together at run time."""

_GRANT = "Grant what its role needs: stream-infer acls show PIPELINE prints it."
WORDS = {
    "usage": ("A command or an option is not written as it should be.", "See --help."),
    "denied_topic": ("Kafka denies this user a topic, which is named.", _GRANT),
    "denied_group": ("Kafka denies this user a consumer group, which is named.", _GRANT),
    "denied_transactional_id": (
        "Kafka denies this user a transactional id, which is named.",
        _GRANT,
    ),
}
"""What is said of codes whose words are put together at run time."""

INNER = {"sender_stopped", "assignment_moved_on"}
"""Codes that never leave a worker: the part that meets them knows what to do."""


@dataclass(slots=True)
class Entry:
    """One code: where it is raised, with which exit codes, and what is said."""

    code: str
    exits: set[int] = field(default_factory=set)
    modules: set[str] = field(default_factory=set)
    said: dict[str, str] = field(default_factory=dict)


def errors() -> dict[str, Entry]:
    """Return every code that the package raises."""
    found: dict[str, Entry] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        module = name.removesuffix(".__init__")
        for code, kind, message, fix in _Module(ast.parse(path.read_text("utf-8"))).raised():
            for each in VARIANTS.get(code, (code,)):
                if each in INNER:
                    continue
                entry = found.setdefault(each, Entry(each))
                entry.exits.add(EXITS[kind])
                entry.modules.add(module)
                cause, remedy = WORDS.get(each, (message, fix))
                if cause:
                    entry.said.setdefault(cause, remedy)
    return found


class _Module:
    """The errors of one module. Texts that stand in a variable are looked up where they are set."""

    def __init__(self, tree: ast.Module) -> None:
        self._tree = tree
        self._functions = [
            node
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        ]

    def raised(self) -> Iterator[tuple[str, str, str, str]]:
        """Yield (code, class, message, fix) of each error; one of several codes comes as often."""
        for call in _calls(self._tree):
            kind = _name_of(call)
            if kind in EXITS:
                given = _given(call, ("code", "message", "fix"))
                yield from self._resolved(kind, given, self._around(call))
        yield from self._tabled()

    def _resolved(
        self, kind: str, given: Mapping[str, ast.expr], inside: ast.AST
    ) -> Iterator[tuple[str, str, str, str]]:
        code = given.get("code")
        parameters = _parameters(inside)
        if isinstance(code, ast.Name) and code.id in parameters:
            # A helper that is given the code: each of its calls is an error.
            name = getattr(inside, "name", "")
            for call in _calls(self._tree):
                if _name_of(call) == name:
                    filled = _given(call, parameters)
                    words = {
                        word: filled.get(text.id, text) if isinstance(text, ast.Name) else text
                        for word, text in given.items()
                    }
                    yield from self._resolved(kind, words, self._around(call))
            return
        codes = self._texts(code, inside)
        messages = self._texts(given.get("message"), inside)
        fixes = self._texts(given.get("fix"), inside)
        for at, text in enumerate(codes):
            if _is_code(text):
                yield text, kind, _fitting(messages, at, codes), _fitting(fixes, at, codes)

    def _tabled(self) -> Iterator[tuple[str, str, str, str]]:
        """Yield what a table of (…, code, message, fix) says of errors of Kafka's clients."""
        for node in ast.walk(self._tree):
            if isinstance(node, ast.Tuple) and len(node.elts) == 4:
                texts = [self._texts(each, self._tree) for each in node.elts[1:]]
                if all(texts) and _is_code(texts[0][0]) and " " in texts[1][0]:
                    code, message, fix = (each[0] for each in texts)
                    yield code, "BrokerError", message, fix

    def _around(self, node: ast.AST) -> ast.AST:
        inside = [each for each in self._functions if node in set(ast.walk(each))]
        return min(inside, key=lambda each: sum(1 for _ in ast.walk(each)), default=self._tree)

    def _texts(  # noqa: PLR0911 - a form each
        self, node: ast.expr | None, inside: ast.AST
    ) -> list[str]:
        """Return what an expression may say; nothing where only the run knows."""
        match node:
            case ast.Constant(value=str(text)):
                return [text]
            case ast.JoinedStr():
                parts = [
                    str(each.value) if isinstance(each, ast.Constant) else "…"
                    for each in node.values
                ]
                return ["".join(parts)]
            case ast.BinOp(op=ast.Add()):
                left, right = self._texts(node.left, inside), self._texts(node.right, inside)
                return [(left or ["…"])[0] + (right or ["…"])[0]]
            case ast.IfExp():
                return self._texts(node.body, inside) + self._texts(node.orelse, inside)
            case ast.Call(func=ast.Attribute(attr="format", value=template)):
                return self._texts(template, inside)
            case ast.Name(id=name):
                return [
                    text
                    for place in (inside, self._tree)
                    for text in self._assigned(name, place, inside)
                ]
            case _:
                return []

    def _assigned(self, name: str, place: ast.AST, inside: ast.AST) -> Iterator[str]:
        body = place.body if isinstance(place, ast.Module) else ast.walk(place)
        for node in body:
            if isinstance(node, ast.Assign) and any(
                isinstance(target, ast.Name) and target.id == name for target in node.targets
            ):
                yield from self._texts(node.value, inside)


def _fitting(texts: list[str], at: int, codes: list[str]) -> str:
    """Return what belongs to a code: where branches set one text a code, they are in its order."""
    if not texts:
        return ""
    return texts[at] if len(texts) == len(codes) else texts[0]


def _calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def _name_of(call: ast.Call) -> str:
    return str(getattr(call.func, "id", getattr(call.func, "attr", "")))


def _given(call: ast.Call, names: tuple[str, ...]) -> dict[str, ast.expr]:
    given = dict(zip(names, call.args, strict=False))
    return given | {word.arg: word.value for word in call.keywords if word.arg in names}


def _parameters(function: ast.AST) -> tuple[str, ...]:
    if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
        return ()
    names = [each.arg for each in (*function.args.args, *function.args.kwonlyargs)]
    return tuple(name for name in names if name not in {"self", "cls"})


def _is_code(text: str) -> bool:
    return text.replace("_", "").replace("…", "").isalnum() and text.islower()


# -- the page ------------------------------------------------------------------------------------


def group_of(entry: Entry) -> int:
    """Return which group of `GROUPS` an entry stands in: that of the longest beginning."""
    fits = [
        (len(start), -number)
        for number, (_, starts) in enumerate(GROUPS)
        for start in starts
        for module in entry.modules
        if module.startswith(start)
    ]
    return -max(fits, default=(0, 0))[1]


def page() -> str:
    """Return the page's text."""
    groups: dict[int, list[Entry]] = {}
    for entry in sorted(errors().values(), key=lambda each: each.code):
        groups.setdefault(group_of(entry), []).append(entry)
    parts = [HEAD]
    for number, (title, _) in enumerate(GROUPS):
        if number in groups:
            parts.append(f"\n## {title}\n\n" + "".join(map(_line, groups[number])))
    return "".join(parts)


def _line(entry: Entry) -> str:
    exits = ", ".join(map(str, sorted(entry.exits)))
    message, fix = max(entry.said.items(), key=lambda said: bool(said[1]), default=("", ""))
    words = f"{message} *{fix.strip()}*" if fix else message
    return f"- `{entry.code}` ({exits}): {_plain(words)}\n"


def _plain(text: str) -> str:
    """Return a text in one line, with each gap that is filled in shown once."""
    text = re.sub(r"\{\w+\}", "…", " ".join(text.split()))
    return re.sub(r"…(?:\s?…)+", "…", text)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
