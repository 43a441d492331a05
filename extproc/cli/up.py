"""``extproc up``: an AI gateway on this machine, with a real Envoy."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from extproc.cli.shared_flags import (
    add_envoy_flags,
    add_locality_flag,
    add_otlp_flag,
    add_session_key_flag,
    add_tls_flags,
    add_workers_flag,
)
from extproc.command_line.argument_types import address, envoy_address
from extproc.command_line.subcommand import Subcommands, command, policies

if TYPE_CHECKING:
    from extproc.render.envoy.envoy_options import DownstreamTls


def add(commands: Subcommands) -> None:
    """Adds the command and its flags."""
    up = command(
        commands,
        "up",
        run,
        "an AI gateway on this machine: a real Envoy with the processor wired in",
        """\
        examples:
          extproc up -f policy.yaml
          extproc up -f policy.yaml --listen 0.0.0.0:8080 --admin 127.0.0.1:9090
          extproc up -f policy.yaml --workers 4 --fail-closed --access-log access.json
          extproc up -f policy.yaml --tls-cert tls.crt --tls-key tls.key --tls-client-ca ca.crt
          extproc up -f policy.yaml --otlp http://127.0.0.1:4317

        The policy file is watched: versions, weights and endpoints change without a restart.
        """,
    )
    policies(up)
    up.add_argument(
        "--listen",
        type=envoy_address,
        default="127.0.0.1:8080",
        metavar="HOST:PORT",
        help="for clients (%(default)s)",
    )
    up.add_argument(
        "--admin",
        type=address,
        default="127.0.0.1:9090",
        metavar="HOST:PORT",
        help="the processor's admin port (%(default)s)",
    )
    up.add_argument(
        "--envoy-admin",
        type=envoy_address,
        default="127.0.0.1:0",
        metavar="HOST:PORT",
        help="Envoy's admin port; 0 takes a free one (%(default)s)",
    )
    add_envoy_flags(up)
    add_workers_flag(up)
    add_locality_flag(up)
    add_otlp_flag(up)
    add_tls_flags(up)
    add_session_key_flag(up, "a key of its own, for as long as it runs")


def run(arguments: argparse.Namespace) -> int:
    """Serves until it is stopped; returns the exit status. Raises ``SetupError`` and ``PolicyProblems``."""
    from extproc.gateway.up import up

    return up(
        arguments.file,
        arguments.listen,
        arguments.admin,
        arguments.envoy_admin,
        body=arguments.body,
        fail_open=not arguments.fail_closed,
        access_log=arguments.access_log,
        workers=arguments.workers,
        otlp=arguments.otlp,
        locality=arguments.locality,
        tls=_tls(arguments),
        session_key=arguments.session_key,
    )


def _tls(arguments: argparse.Namespace) -> DownstreamTls | None:
    """The files that the flags name. Raises ``SetupError`` where they can't be used: Envoy would wait for others."""
    from extproc.grpc_server.tls import Certificates
    from extproc.render.envoy.envoy_options import DownstreamTls

    files = (arguments.tls_cert, arguments.tls_key, arguments.tls_client_ca)
    if Certificates.of_files(*files) is None:
        return None
    return DownstreamTls(*(str(file.absolute()) for file in files if file is not None))
