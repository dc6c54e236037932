"""Which execution providers of ONNX Runtime score: named, tried in order, and checked afterwards.

The runtime falls back without a word that anybody sees: a provider that is not built in is left
out, one whose libraries do not load is dropped, and what a provider has no kernel for runs on the
processor (a tree ensemble does, beside CUDA). So a worker that shall score on a device says so
(`require`), and a session in which anything runs elsewhere is refused.

Source  ONNX Runtime, Execution Providers; `InferenceSession.get_provider_graph_assignment_info`
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import onnxruntime

from stream_infer.errors import ConfigError, ConflictError
from stream_infer.scoring.execution import CPU, Execution

_SUFFIX = "ExecutionProvider"
CPU_PROVIDER = f"CPU{_SUFFIX}"
_OTHER_WORDS = {"directml": "dml"}
_OPTIONS: dict[str, dict[str, str]] = {
    # Its default multiplies with ten bits of mantissa: scores would be off by 1e-3.
    f"CUDA{_SUFFIX}": {"use_tf32": "0"},
}
_PACKAGES = {
    "cuda": "onnxruntime-gpu",
    "tensorrt": "onnxruntime-gpu",
    "dml": "onnxruntime-directml",
    "openvino": "onnxruntime-openvino",
    "qnn": "onnxruntime-qnn",
}
_ASSIGNMENT_KEY = "session.record_ep_graph_assignment_info"


@dataclass(frozen=True, slots=True)
class Providers:
    """The providers of one session, by the runtime's own names.

    chosen    in the order in which they are tried
    required  the one that all nodes must run on; None: any
    """

    chosen: tuple[str, ...]
    required: str | None

    @property
    def is_plain(self) -> bool:
        """Whether there is nothing to be checked: the processor alone."""
        return self.chosen == (CPU_PROVIDER,)

    def arguments(self) -> dict[str, Any]:
        """Return what a session is opened with."""
        return {
            "providers": list(self.chosen),
            "provider_options": [_OPTIONS.get(name, {}) for name in self.chosen],
        }


@dataclass(frozen=True, slots=True)
class Used:
    """What a session really uses.

    provider  the one that runs most nodes
    nodes     provider -> kind of node -> how many; empty where the runtime does not tell
    """

    provider: str
    nodes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def elsewhere(self, provider: str) -> list[str]:
        """Return the nodes that run on other providers, in words."""
        return [
            f"{kind} on {word_of(other)}"
            for other, kinds in self.nodes.items()
            if other != provider
            for kind in kinds
        ]


def word_of(provider: str) -> str:
    """Return the word by which a configuration names a provider.

    >>> word_of("CUDAExecutionProvider")
    'cuda'
    """
    return provider.removesuffix(_SUFFIX).lower()


def find_providers(execution: Execution) -> Providers:
    """Return the providers that an execution names.

    Raises  ConfigError ``provider_unknown``, ``provider_not_installed``, ``provider_not_listed``
    """
    known = {word_of(name): name for name in onnxruntime.get_all_providers()}
    there = set(onnxruntime.get_available_providers())
    words = [_known_word(word, known) for word in execution.providers]
    for word in words:
        if known[word] not in there:
            raise _not_installed(word, there)
    required = None
    if execution.require is not None:
        word = _known_word(execution.require, known)
        if word not in words:
            raise ConfigError(
                "provider_not_listed",
                f"The provider {word} is required and not among those that are tried: "
                f"{', '.join(words)}.",
                f'Put it first: [model] providers = ["{word}", "{CPU}"].',
                provider=word,
            )
        required = known[word]
    return Providers(tuple(dict.fromkeys(known[word] for word in words)), required)


def _known_word(text: str, known: Mapping[str, str]) -> str:
    word = word_of(text.strip())
    word = _OTHER_WORDS.get(word, word)
    if word not in known:
        raise ConfigError(
            "provider_unknown",
            f"ONNX Runtime {onnxruntime.__version__} knows no execution provider {text!r}.",
            f"Name one of: {', '.join(sorted(known))}.",
            provider=text,
        )
    return word


def _not_installed(word: str, there: set[str]) -> ConfigError:
    have = ", ".join(sorted(word_of(name) for name in there))
    package = _PACKAGES.get(word)
    fix = (
        f"Install the build that has it in place of the plain one: pip uninstall onnxruntime && "
        f"pip install {package}."
        if package
        else "Install a build of ONNX Runtime that has it."
    )
    return ConfigError(
        "provider_not_installed",
        f"The ONNX Runtime that is installed ({onnxruntime.__version__}) has no execution provider "
        f"{word}; it has: {have}.",
        f'{fix} Or leave it out: [model] providers = ["{CPU}"].',
        provider=word,
    )


def record_assignment(options: Any) -> None:
    """Have a session note which provider runs which node; an older runtime ignores it."""
    options.add_session_config_entry(_ASSIGNMENT_KEY, "1")


def used_by(session: Any, providers: Providers) -> Used:
    """Return what a session that was opened with these providers really uses."""
    if providers.is_plain:
        return Used(CPU_PROVIDER)
    nodes: dict[str, Counter[str]] = {}
    told = getattr(session, "get_provider_graph_assignment_info", None)
    for part in told() if told is not None else ():
        kinds = nodes.setdefault(part.ep_name, Counter())
        kinds.update(node.op_type for node in part.get_nodes())
    if not nodes:
        return Used(session.get_providers()[0])
    most = max(nodes, key=lambda name: nodes[name].total())
    return Used(most, nodes)


def check_used(providers: Providers, session: Any, used: Used) -> None:
    """Refuse a session in which the required provider does not run everything.

    Raises  ConflictError ``provider_not_used``
    """
    required = providers.required
    if required is None:
        return
    loaded = session.get_providers()
    elsewhere = used.elsewhere(required)
    if required in loaded and not elsewhere and (not used.nodes or required in used.nodes):
        return
    word = word_of(required)
    why = (
        f"its libraries did not load, and the session has {', '.join(map(word_of, loaded))}"
        if required not in loaded
        else f"it does not run all of the model: {', '.join(elsewhere[:5])}"
    )
    raise ConflictError(
        "provider_not_used",
        f"The execution provider {word} is required and not the one that scores: {why}.",
        "Install what the provider needs (for cuda: the CUDA and cuDNN of the runtime's build), or "
        "serve a model that it can run (a network), or leave [model] require_provider out.",
        provider=word,
        loaded=[word_of(name) for name in loaded],
    )


def open_quietly(content: bytes, options: Any, providers: Providers) -> Any:
    """Open a session; what the runtime would only warn of is checked by `check_used`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return onnxruntime.InferenceSession(content, options, **providers.arguments())
