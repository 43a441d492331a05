"""``extproc doctor``: is the processor attached to a running Envoy, and does it work."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from extproc.command_line.subcommand import Subcommands, command, policies
from extproc.errors import SetupError


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
          extproc doctor --envoy-admin http://127.0.0.1:9901 --from http://127.0.0.1:9090     and do requests go where
                                                                                              they were decided to

        Exits with 0 where all is well, with 1 where anything is not. Envoy and processors are asked, never changed.
        """,
    )
    evidence = doctor.add_mutually_exclusive_group(required=True)
    evidence.add_argument("--envoy-admin", metavar="URL", help="Envoy's admin port")
    evidence.add_argument("--config-dump", type=Path, metavar="FILE", help="what it answered to /config_dump")
    policies(doctor, required=False)
    doctor.add_argument("--clusters", type=Path, metavar="FILE", help="… and to /clusters?format=json")
    doctor.add_argument("--stats", type=Path, metavar="FILE", help="… and to /stats")
    doctor.add_argument(
        "--from",
        dest="sources",
        action="append",
        default=[],
        metavar="URL",
        help="a processor's admin port as well: http://host:port, host:port or unix:///path; may be given more than "
        "once, and a name with several addresses is as many processors",
    )
    doctor.add_argument("--json", action="store_true", help="the result as JSON on stdout")


def run(arguments: argparse.Namespace) -> int:
    """Prints the diagnosis to stdout. The exit status: 0 where all is well, 1 where anything was found.

    Raises ``SetupError`` where there is nothing to judge by, and ``PolicyProblems``.
    """
    from extproc.admin.client import Unreachable, resolve_replicas
    from extproc.doctor import accounts, envoy_admin, rendering_drift, unused_servers
    from extproc.doctor.checks import diagnose, summary
    from extproc.doctor.envoy_dump import document
    from extproc.lint import report
    from extproc.policyfile import loader

    url, config_dump = arguments.envoy_admin, arguments.config_dump
    if url and (arguments.clusters or arguments.stats):
        raise SetupError("--clusters and --stats belong to --config-dump; --envoy-admin asks for them itself")
    source = url or str(config_dump)
    evidence = (
        envoy_admin.fetch(url) if url else envoy_admin.read_files(config_dump, arguments.clusters, arguments.stats)
    )
    found = [*diagnose(evidence, source), *accounts.check(evidence, source), *unused_servers.check(evidence, source)]
    if arguments.file:
        found += rendering_drift.check(evidence, loader.load(arguments.file).snapshot, source)
    try:
        for replica in resolve_replicas(arguments.sources):
            found += accounts.check_processor(document(replica.get("/live"), f"{replica.name}/live"), replica.name)
    except Unreachable as problem:
        raise SetupError(str(problem)) from None
    if arguments.json:
        sys.stdout.write(report.json_document(found, source=source))
    else:
        sys.stdout.write(report.text(found, summary(evidence) if not found else ""))
    return 1 if found else 0
