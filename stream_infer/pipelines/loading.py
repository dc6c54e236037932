"""Find the pipeline that a person names: a built-in word, or a Python file of their own.

    fraud                  attribute `pipeline` of stream_infer.pipelines.fraud
    fraud-history          the same of stream_infer.pipelines.fraud_history
    path/to/shop.py        attribute `pipeline` of that file
    path/to/shop.py:other  attribute `other` of that file

A file is run once, as Python would import it; whatever it raises is reported with
the line of that file which raised it.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import pkgutil
import sys
import traceback
from pathlib import Path
from types import ModuleType

from stream_infer.errors import ConfigError, NotFoundError, StreamInferError
from stream_infer.pipeline import Pipeline

ATTRIBUTE = "pipeline"
_NOT_PIPELINES = {"loading"}


def load_pipeline(reference: str) -> Pipeline:
    """Return the pipeline that `reference` names.

    Raises  `NotFoundError` when there is no such word, file or attribute;
            `ConfigError` when the file cannot be run, or the attribute is no pipeline
    """
    path, _, attribute = reference.partition(":")
    if path.endswith(".py") or "/" in path:
        module = _run_file(Path(path))
        return _attribute_of(module, attribute or ATTRIBUTE, path)
    known = built_in_pipelines()
    # Pipelines have names with hyphens, modules cannot.
    word = reference.replace("-", "_")
    if word not in known:
        raise _unknown(reference, known)
    module = importlib.import_module(f"stream_infer.pipelines.{word}")
    return _attribute_of(module, ATTRIBUTE, reference)


def built_in_pipelines() -> list[str]:
    """Return the names of the pipelines that the package brings."""
    package = importlib.import_module("stream_infer.pipelines")
    found = (module.name for module in pkgutil.iter_modules(package.__path__))
    return sorted(name for name in found if name not in _NOT_PIPELINES)


def _unknown(reference: str, known: list[str]) -> NotFoundError:
    near = difflib.get_close_matches(reference, known, n=1)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    return NotFoundError(
        "pipeline_unknown",
        f"There is no pipeline named {reference!r}.",
        f"{hint}Built in: {', '.join(known)}; one of your own is named by its file,"
        " such as path/to/shop.py.",
        pipeline=reference,
    )


def _run_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise NotFoundError(
            "pipeline_file_missing",
            f"There is no pipeline file {str(path)!r}.",
            "Check the path; it is taken from the folder in which the command runs.",
            path=str(path),
        )
    path = path.resolve()
    name = f"stream_infer_user_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigError(
            "pipeline_file_broken",
            f"{path.name} cannot be imported as Python.",
            "Name a file that ends in .py.",
            path=str(path),
        )
    module = importlib.util.module_from_spec(spec)
    # Classes of the file are looked up by their module's name (msgspec resolves annotations so).
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        sys.modules.pop(name, None)
        raise _broken(path, error) from error
    return module


def _broken(path: Path, error: Exception) -> StreamInferError:
    """Return the error for a file that raised, with the deepest line of that file."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        line = error.lineno
    else:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == str(path)]
        line = lines[-1] if lines else None
    place = f"{path.name}, line {line}" if line else path.name
    if isinstance(error, StreamInferError):
        return type(error)(
            error.code, f"{place}: {error.message}", error.fix, **(error.details | {"line": line})
        )
    cause = str(error) or "no message"
    return ConfigError(
        "pipeline_file_broken",
        f"{place}: {type(error).__name__}: {cause}",
        "Mend that line, then run the command again.",
        path=str(path),
        line=line,
    )


def _attribute_of(module: ModuleType, attribute: str, place: str) -> Pipeline:
    value = getattr(module, attribute, None)
    if isinstance(value, Pipeline):
        return value
    pipelines = sorted(name for name, item in vars(module).items() if isinstance(item, Pipeline))
    if value is not None:
        raise ConfigError(
            "pipeline_wrong_type",
            f"{attribute!r} of {place} is a {type(value).__name__}, not a Pipeline.",
            f"Name one of: {', '.join(pipelines)}." if pipelines else "Assign a Pipeline to it.",
        )
    fix = (
        f"Name one that is there: {', '.join(f'{place}:{name}' for name in pipelines)}."
        if pipelines
        else f"Assign a Pipeline to {attribute!r} in that file."
    )
    raise NotFoundError("pipeline_attribute_missing", f"{place} has no {attribute!r}.", fix)
