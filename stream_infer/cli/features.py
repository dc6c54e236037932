"""``stream-infer features``: compute a pipeline's features for a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from stream_infer.cli.options import Duration, Mapping, json_option, pipeline_argument
from stream_infer.cli.output import print_json, remark

if TYPE_CHECKING:
    from stream_infer.events.mapping import FieldMapping
    from stream_infer.pipeline import Pipeline


@click.command(name="features")
@pipeline_argument
@click.argument("source", metavar="IN", type=click.Path(path_type=Path))
@click.argument("target", metavar="OUT", type=click.Path(path_type=Path))
@click.option("--fields", type=Mapping(), help="field=column[:unit], separated by commas.")
@click.option("--labels", "labels_file", type=click.Path(path_type=Path), help="File of labels.")
@click.option("--label-fields", type=Mapping(), help="As --fields, for the file of labels.")
@click.option(
    "--label-delay", type=Duration(), help="Make a label of each event, known so much later."
)
@click.option("--label-field", metavar="COLUMN", help="Column of IN that holds the truth.")
@click.option("--skip-bad", is_flag=True, help="Leave rows out that cannot be used.")
@json_option
def command(
    *,
    pipeline: Pipeline,
    source: Path,
    target: Path,
    fields: FieldMapping | None,
    labels_file: Path | None,
    label_fields: FieldMapping | None,
    label_delay: int | None,
    label_field: str | None,
    skip_bad: bool,
    as_json: bool,
) -> None:
    """Compute PIPELINE's features for the rows of IN, by the code that serves the stream.

    OUT (CSV, Parquet or JSON lines by its suffix) has the id columns and one column a feature,
    named as declared, in IN's row order. Labels come from a file (--labels) or from IN itself
    (--label-delay and --label-field).
    """
    from stream_infer.cli.history_files import read_files
    from stream_infer.files.features import feature_table
    from stream_infer.files.tables import table_form, write_table

    table_form(target)
    events, labels = read_files(
        pipeline,
        source,
        labels_file,
        fields=fields,
        label_fields=label_fields,
        label_delay=label_delay,
        label_field=label_field,
    )
    table = feature_table(pipeline, events, labels, skip_bad=skip_bad)
    write_table(table.frame, target)
    if as_json:
        print_json(
            {
                "rows": table.frame.height,
                "features": table.frame.width
                - len({pipeline.events.id, *pipeline.events.entities}),
                "labels": len(labels) if labels is not None else 0,
                "skipped": len(table.bad),
                "path": str(target),
            }
        )
    else:
        skipped = f", {len(table.bad):,} bad rows left out" if table.bad else ""
        remark(f"{table.frame.height:,} rows to {target}{skipped}")
