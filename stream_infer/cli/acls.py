"""``stream-infer acls``: what each role may do in Kafka, shown or granted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import click

from stream_infer.cli.options import json_option, pipeline_argument, settings_options
from stream_infer.cli.output import print_json, run_client
from stream_infer.errors import UsageError

if TYPE_CHECKING:
    from stream_infer.kafka.acls import AccessRole, Acl
    from stream_infer.pipeline import Pipeline
    from stream_infer.settings.loading import Settings

ROLE_NAMES = ("producer", "worker", "subscriber", "console", "operator")
_PRINCIPAL_HELP = "Who has the role, as Kafka names it: worker=User:name. May be repeated."


@click.group(name="acls")
def command() -> None:
    """Show or grant what each role of a pipeline may do in Kafka."""


@command.command()
@pipeline_argument
@click.option("--role", "roles", type=click.Choice(ROLE_NAMES), multiple=True, help="Only these.")
@click.option("--principal", "principals", multiple=True, help=_PRINCIPAL_HELP)
@settings_options
@json_option
def show(
    *,
    pipeline: Pipeline,
    roles: tuple[AccessRole, ...],
    principals: tuple[str, ...],
    settings: Settings,
    as_json: bool,
) -> None:
    """Print PIPELINE's access rules as commands of Apache Kafka. Nothing is reached.

    A role that is given nobody stands as User:<pipeline>-<role>. Where the settings ask for trials
    by labels ([model] trial), a worker may read what they compare.
    """
    from stream_infer.kafka.acls import ROLES, kafka_acls_command, role_acls

    named = _principals(principals)
    rows = [
        (named.get(acl.role, f"User:{pipeline.name}-{acl.role}"), acl)
        for acl in role_acls(pipeline, roles or ROLES, trial=settings.model.trial != "off")
    ]
    if as_json:
        print_json({"acls": [_row(principal, acl) for principal, acl in rows]})
        return
    for principal, acl in rows:
        click.echo(kafka_acls_command(acl, principal, settings.kafka.bootstrap))


@command.command()
@pipeline_argument
@click.option("--principal", "principals", multiple=True, required=True, help=_PRINCIPAL_HELP)
@settings_options
@json_option
def apply(
    *, pipeline: Pipeline, principals: tuple[str, ...], settings: Settings, as_json: bool
) -> None:
    """Grant the named users what their role of PIPELINE needs. Safe to repeat; takes nothing away.

    Needs a user who may alter the cluster. With [model] trial as `acls show` says.
    """
    from stream_infer.kafka.acls import role_acls
    from stream_infer.kafka.granting import grant

    named = _principals(principals)
    rights = role_acls(pipeline, list(named), trial=settings.model.trial != "off")
    granted = [(named[acl.role], acl) for acl in rights]
    count = run_client(grant(settings.connection(), granted))
    if as_json:
        print_json({"rules": count, "acls": [_row(principal, acl) for principal, acl in granted]})
    else:
        click.echo(f"{count} rules granted to {', '.join(sorted(set(named.values())))}")


def _principals(texts: tuple[str, ...]) -> dict[AccessRole, str]:
    from stream_infer.kafka.acls import AccessRole

    found: dict[AccessRole, str] = {}
    for text in texts:
        word, _, principal = text.partition("=")
        role = next((each for each in get_args(AccessRole) if each == word), None)
        if role is None or not principal.startswith("User:") or principal == "User:":
            raise UsageError(
                "principal_malformed",
                f"{text!r} does not say who has which role.",
                f"Write role=User:name, the role being one of {', '.join(get_args(AccessRole))}.",
            )
        found[role] = principal
    return found


def _row(principal: str, acl: Acl) -> dict[str, Any]:
    return {
        "role": acl.role,
        "principal": principal,
        "resource": acl.resource,
        "name": acl.name,
        "pattern": acl.pattern,
        "operations": list(acl.operations),
    }
