"""``extproc doctor``: is the processor attached to a running Envoy, and does it work."""

from __future__ import annotations

import argparse
from pathlib import Path

from extproc.command_line.subcommand import Subcommands, command, policies


def add(commands: Subcommands) -> None:
    """Adds the command and its flags."""
    doctor = command(
        commands,
        "doctor",
        run,
        "is the processor attached to a running Envoy, and does it work",
        """\
        examples:
          extproc doctor --envoy-admin http://127.0.0.1:9901
          kubectl port-forward deploy/gateway 15000 & extproc doctor --envoy-admin http://127.0.0.1:15000
          kubectl exec POD -c istio-proxy -- pilot-agent request GET config_dump > dump.json
          extproc doctor --config-dump dump.json -f policy.yaml     and is it rendered from this policy

        Exits with 0 where all is well, with 1 where anything is not. Envoy is asked, never changed.
        """,
    )
    evidence = doctor.add_mutually_exclusive_group(required=True)
    evidence.add_argument("--envoy-admin", metavar="URL", help="Envoy's admin port")
    evidence.add_argument("--config-dump", type=Path, metavar="FILE", help="what it answered to /config_dump")
    policies(doctor, required=False)
    doctor.add_argument("--clusters", type=Path, metavar="FILE", help="… and to /clusters?format=json")
    doctor.add_argument("--stats", type=Path, metavar="FILE", help="… and to /stats")
    doctor.add_argument("--json", action="store_true", help="the result as JSON on stdout")


def run(arguments: argparse.Namespace) -> int:
    """Prints the diagnosis; returns 1 where a problem was found. Raises ``SetupError`` and ``PolicyProblems``."""
    from extproc.doctor.run import run as run_doctor

    dumped = arguments.config_dump, arguments.clusters, arguments.stats
    return run_doctor(arguments.envoy_admin, *dumped, arguments.file or (), arguments.json)
