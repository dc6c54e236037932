"""What ``stream-infer models`` prints about versions and entries, and how it tells workers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from stream_infer.cli.output import print_json, print_table, run_client
from stream_infer.errors import ConflictError, NotFoundError

if TYPE_CHECKING:
    from stream_infer.pipeline import Pipeline
    from stream_infer.registry.entry import Entry
    from stream_infer.registry.history import Standing
    from stream_infer.registry.registry import Registry
    from stream_infer.scoring.manifest import Manifest
    from stream_infer.settings.loading import Settings


def entry_json(entry: Entry) -> dict[str, Any]:
    """Return an entry as it is printed: the file's own fields, and what it did in one line."""
    import msgspec

    fields: dict[str, Any] = msgspec.to_builtins(entry)
    del fields["format"]
    return fields | {"summary": _summary(entry)}


def _summary(entry: Entry) -> str:
    parts = [f"{move.alias} {move.before or '-'} -> {move.after or '-'}" for move in entry.moves]
    if entry.share is not None:
        parts.append(f"challenger decides {entry.share:.2%} of the keys")
    if entry.barred is not None:
        parts.append(f"{entry.barred} barred")
    if entry.cleared is not None:
        parts.append(f"{entry.cleared} cleared")
    return f"{entry.action}: {'; '.join(parts)}"


def standing_json(standing: Standing) -> dict[str, Any]:
    """Return where the aliases point, as it is printed."""
    return {
        "model": standing.model,
        "number": standing.number,
        "aliases": dict(standing.aliases),
        "share": standing.share,
        "barred": sorted(standing.barred),
        "when": standing.when or None,
    }


def show_manifest(manifest: Manifest, standing: Standing, *, as_json: bool) -> None:
    """Print a version: all of its manifest as JSON, the gist of it as a table."""
    aliases = sorted(a for a, v in standing.aliases.items() if v == manifest.version)
    barred = manifest.version in standing.barred
    if as_json:
        import json

        from stream_infer.scoring.manifest import encode_manifest

        fields = json.loads(encode_manifest(manifest))
        print_json({"manifest": fields, "aliases": aliases, "barred": barred})
        return
    rows: list[tuple[str, Any]] = [
        ("version", manifest.version),
        ("aliases", ", ".join(aliases) or None),
        ("barred", "yes" if barred else None),
        ("created", manifest.created),
        ("features", f"{len(manifest.features)}: {', '.join(manifest.features)}"),
        ("review, decline", f"{manifest.thresholds.review}, {manifest.thresholds.decline}"),
        ("row chunk", manifest.row_chunk),
        ("trained on", manifest.training.source),
        *((f"metric {name}", f"{value:.6g}") for name, value in manifest.metrics.items()),
        *((name, text) for name, text in manifest.protocol.items()),
        ("attachments", ", ".join(manifest.attachments) or None),
        ("sha256", manifest.sha256),
    ]
    print_table((manifest.name, ""), rows)


def tell_workers(
    registry: Registry, model: str, pipelines: Iterable[Pipeline], settings: Settings
) -> int:
    """Write to each pipeline's topic what serves; return the number of the history's last entry.

    Raises  NotFoundError ``nothing_serves``, ``topic_missing``; ConflictError ``other_model``
    """
    from stream_infer.events.topic_names import models_topic
    from stream_infer.registry.control import what_serves
    from stream_infer.registry.control_topic import tell

    told = what_serves(registry, model)
    if told is None:
        raise NotFoundError(
            "nothing_serves",
            f"Model {model} has no history: nothing was ever promoted.",
            f"Promote a version with: stream-infer models promote {model} VERSION.",
        )
    for pipeline in pipelines:
        topic = models_topic(pipeline)
        if topic is None or pipeline.model != model:
            raise ConflictError(
                "other_model",
                f"Pipeline {pipeline.name!r} is scored by {pipeline.model or 'no model'}, not by"
                f" {model}.",
                "Name the model that the pipeline declares.",
                pipeline=pipeline.name,
                model=model,
            )
        run_client(tell(settings.connection(), topic, told))
    return told.number
