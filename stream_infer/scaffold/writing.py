"""Write a new pipeline's folder, without ever writing over what is there."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from string import Template

from stream_infer.errors import ConflictError, UsageError

CONFIG_FILE = "stream-infer.toml"
PIPELINE_FILE = "pipeline.py"
EVENTS_FILE = "events.jsonl"
# file -> its template; that of the pipeline is no module of ours, so it is not named as one
_TEMPLATES = {
    CONFIG_FILE: CONFIG_FILE,
    PIPELINE_FILE: "pipeline.py.txt",
    EVENTS_FILE: EVENTS_FILE,
}
_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")


def write_project(folder: Path, name: str | None = None) -> list[Path]:
    """Write configuration, pipeline and events into `folder`; return the files.

    name    of the pipeline, its group and its topics; None: the folder's own name
    Raises  ConflictError ``file_exists`` when one of them is there: then nothing is written;
            UsageError ``bad_pipeline_name``, ``folder_not_writable``
    """
    word = pipeline_name(folder, name)
    places = {folder / file: template for file, template in _TEMPLATES.items()}
    there = [place for place in places if place.exists() or place.is_symlink()]
    if there:
        raise ConflictError(
            "file_exists",
            f"{there[0]} exists already, and nothing is written over.",
            "Name another folder, or move the file away.",
            files=[str(place) for place in there],
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for place, template in places.items():
            text = (files("stream_infer.scaffold") / "files" / template).read_text("utf-8")
            # "x": even a file that somebody else has made since is left as it is.
            with place.open("x", encoding="utf-8") as new:
                new.write(Template(text).substitute(name=word))
    except OSError as error:
        raise UsageError(
            "folder_not_writable",
            f"{folder} cannot be written to: {error.strerror}.",
            "Name a folder that you may write to.",
            path=str(folder),
        ) from error
    return list(places)


def pipeline_name(folder: Path, name: str | None) -> str:
    """Return the pipeline's name: as given, else made of the folder's.

    >>> pipeline_name(Path("/data/Web_Shop"), None)
    'web-shop'
    """
    word = name or re.sub(r"[^a-z0-9]+", "-", folder.absolute().name.lower()).strip("-")
    if not _NAME.fullmatch(word):
        raise UsageError(
            "bad_pipeline_name",
            f"{word!r} cannot name a pipeline and its topics.",
            "Give one with --name: a letter, then letters, digits and '-', in lower case.",
            name=word,
        )
    return word
