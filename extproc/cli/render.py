"""``extproc render``: every kind of manifest, on stdout."""

from __future__ import annotations

from extproc.cli import (
    render_argo,
    render_dashboard,
    render_envoy,
    render_flagger,
    render_gateway_api,
    render_istio,
    render_rules,
)
from extproc.command_line.subcommand import Help, Subcommands

_ELSEWHERE = "Manifests for Linkerd: linkerd-adapter render -f policy.yaml"
KINDS = (
    render_envoy,
    render_istio,
    render_gateway_api,
    render_rules,
    render_dashboard,
    render_flagger,
    render_argo,
)


def add(commands: Subcommands) -> None:
    """Adds ``render`` and its kinds."""
    text = "Manifests on stdout."
    render = commands.add_parser(
        "render", help="manifests on stdout", description=text, epilog=_ELSEWHERE, formatter_class=Help
    )
    kinds = render.add_subparsers(title="what to render", metavar="KIND", required=True)
    for kind in KINDS:
        kind.add(kinds)
