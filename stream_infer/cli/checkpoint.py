"""``stream-infer checkpoint``: which checkpoints there are, whether they are whole; new ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from stream_infer.cli import checkpoint_building
from stream_infer.cli.options import json_option, pipeline_argument, settings_options
from stream_infer.cli.output import Progress, print_json, print_table, remark, run_client
from stream_infer.errors import NotFoundError, StreamInferError

if TYPE_CHECKING:
    from stream_infer.checkpoints.manifest import Found, Manifest
    from stream_infer.checkpoints.store import CheckpointStore
    from stream_infer.pipeline import Pipeline
    from stream_infer.settings.loading import Settings

EXIT_GATE_FAILED = 6


@click.group(name="checkpoint")
def command() -> None:
    """Show, verify and build checkpoints: states that a restart begins with."""


command.add_command(checkpoint_building.command)


def _store_options(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command what says where the checkpoints of which pipeline are."""
    for option in (
        json_option,
        settings_options,
        click.option(
            "--store",
            "where",
            default="kafka",
            show_default=True,
            metavar="kafka|URL",
            help="Where they are kept; a folder as file:///srv/checkpoints.",
        ),
    ):
        function = option(function)
    return function


@command.command(name="list")
@pipeline_argument
@_store_options
def list_them(*, pipeline: Pipeline, settings: Settings, where: str, as_json: bool) -> None:
    """List PIPELINE's checkpoints, the newest of each partition first."""
    found = run_client(_ask(_found, settings, where, pipeline))
    manifests, unreadable = _sorted(found)
    current = _fingerprints(pipeline)
    if as_json:
        print_json(
            {
                "checkpoints": [_facts(each, current) for each in manifests],
                "unreadable": [{"name": each.name, "reason": each.reason} for each in unreadable],
            }
        )
        return
    print_table(
        ("id", "stage", "partition", "offset", "keys", "entries", "bytes", "features"),
        [
            (
                each.id[:12],
                each.stage,
                each.source,
                each.offset,
                each.keys,
                each.entries,
                each.bytes,
                "current" if each.fingerprint in current else "other",
            )
            for each in manifests
        ],
    )
    for broken in unreadable:
        remark(f"unreadable: {broken.name}: {broken.reason}")


@command.command()
@pipeline_argument
@click.argument("checkpoint", metavar="ID")
@_store_options
def show(
    *, pipeline: Pipeline, checkpoint: str, settings: Settings, where: str, as_json: bool
) -> None:
    """Show one of PIPELINE's checkpoints; the first digits of its ID suffice."""
    [manifest] = _chosen(run_client(_ask(_found, settings, where, pipeline)), checkpoint)
    facts = _facts(manifest, _fingerprints(pipeline))
    if as_json:
        print_json(facts)
    else:
        print_table(("checkpoint", ""), list(facts.items()))


@command.command()
@pipeline_argument
@click.argument("checkpoint", metavar="[ID]", required=False)
@_store_options
@click.pass_context
def verify(
    context: click.Context,
    *,
    pipeline: Pipeline,
    checkpoint: str | None,
    settings: Settings,
    where: str,
    as_json: bool,
) -> None:
    """Read PIPELINE's checkpoints to their end, or the one with this ID, and compare checksums.

    Exit code 6 when one is damaged.
    """

    async def read(store: CheckpointStore) -> list[dict[str, Any]]:
        found = await store.found()
        judged = [await _judged(store, each) for each in _chosen(found, checkpoint)]
        if checkpoint is None:
            _, unreadable = _sorted(found)
            judged += [
                {"id": each.name, "whole": False, "reason": each.reason} for each in unreadable
            ]
        return judged

    judged = run_client(_ask(read, settings, where, pipeline))
    if as_json:
        print_json({"checkpoints": judged})
    else:
        for each in judged:
            click.echo(f"{each['id']}  {'whole' if each['whole'] else 'DAMAGED'}")
            if each["reason"]:
                remark(f"  {each['reason']}")
    context.exit(0 if all(each["whole"] for each in judged) else EXIT_GATE_FAILED)


async def _ask(
    do: Callable[[CheckpointStore], Any], settings: Settings, where: str, pipeline: Pipeline
) -> Any:
    """Open the store, do something with it, and close it."""
    from stream_infer.checkpoints.opening import open_store

    store = open_store(where, settings.connection(), pipeline.name)
    try:
        return await do(store)
    finally:
        await store.close()


async def _found(store: CheckpointStore) -> list[Found]:
    return await store.found()


async def _judged(store: CheckpointStore, manifest: Manifest) -> dict[str, Any]:
    """Return whether a checkpoint is whole, and what is wrong with it."""
    from stream_infer.checkpoints.reading import read_frames

    progress, done = Progress("chunks", len(manifest.chunks)), 0
    reason = None
    try:
        async for _ in read_frames(store, manifest):
            done += 1
            progress.update(done)
    except StreamInferError as error:
        if error.code not in ("checkpoint_damaged", "checkpoint_malformed"):
            raise
        reason = error.message
    finally:
        progress.finish()
    return {"id": manifest.id, "whole": reason is None, "reason": reason}


def _sorted(found: list[Found]) -> tuple[list[Manifest], list[Any]]:
    """Return manifests by partition, the newest first, and what cannot be read."""
    from stream_infer.checkpoints.manifest import Manifest

    manifests = [each for each in found if isinstance(each, Manifest)]
    manifests.sort(key=lambda each: (each.stage, each.topic, each.partition, -each.offset, each.id))
    return manifests, [each for each in found if not isinstance(each, Manifest)]


def _chosen(found: list[Found], start: str | None) -> list[Manifest]:
    """Return all checkpoints, or the one whose id begins so."""
    manifests, _ = _sorted(found)
    if start is None:
        return manifests
    chosen = [each for each in manifests if each.id.startswith(start)]
    if len(chosen) != 1:
        several = f"{len(chosen)} checkpoints begin" if chosen else "No checkpoint begins"
        raise NotFoundError(
            "checkpoint_not_found",
            f"{several} with {start!r}.",
            "List them with: stream-infer checkpoint list.",
            checkpoint=start,
        )
    return chosen


def _fingerprints(pipeline: Pipeline) -> set[str]:
    """Return the fingerprints of the states that the pipeline makes as it is declared now."""
    from stream_infer.alerts.declared import compile_alerts
    from stream_infer.features.plan import compile_plan

    known = {stage.features_version for stage in compile_plan(pipeline).stages}
    if pipeline.alerts is not None:
        known.add(compile_alerts(pipeline.alerts, pipeline.name).fingerprint)
    return known


def _facts(manifest: Manifest, current: set[str]) -> dict[str, Any]:
    """Return what a manifest says, for people and machines; its chunks are counted."""
    import msgspec

    facts: dict[str, Any] = msgspec.to_builtins(manifest)
    facts["chunks"] = len(manifest.chunks)
    facts["current"] = manifest.fingerprint in current
    return facts
