"""``extproc serve``: the ext_proc server."""

from __future__ import annotations

import argparse
import gc
from pathlib import Path
from typing import Any

import msgspec

from extproc.cli.shared_flags import (
    add_locality_flag,
    add_otlp_flag,
    add_session_key_flag,
    add_tls_flags,
    add_workers_flag,
)
from extproc.command_line.argument_types import count, data_address, namespaced_name, seconds
from extproc.command_line.subcommand import Subcommands, command, policies
from extproc.errors import SetupError
from extproc.serve.options import ServeOptions

_DEFAULT = ServeOptions()


def add(commands: Subcommands) -> None:
    """Adds the command and its flags."""
    serve = command(
        commands,
        "serve",
        run,
        "the ext_proc server",
        """\
        examples:
          extproc serve -f policy.yaml
          extproc serve -f /etc/aimesh/ --listen 0.0.0.0:50051 --admin 0.0.0.0:9090
          extproc serve -f policy.yaml --listen unix:///run/aimesh/processor.sock
          extproc serve -f policy.yaml --listen 0.0.0.0:50051 --workers 4      ports 50051 to 50054
          extproc serve -f policy.yaml --tls-cert tls.crt --tls-key tls.key --tls-client-ca ca.crt
          extproc serve -f policy.yaml --otlp http://collector:4317            spans and metrics for OpenTelemetry
          extproc serve --kubernetes --namespace ai --snapshot-directory /var/lib/aimesh
          extproc serve --inference-pool ai/llama --listen 0.0.0.0:9002        a gateway's endpoint picker

        signals:
          SIGHUP   read the policy files again (they are also watched)
          SIGTERM  fail health, go on for --drain seconds, let open streams finish, exit 0;
                   a second one leaves at once
        """,
    )
    policies(serve, required=False)
    _add_cluster_flags(serve)
    _add_server_flags(serve)
    add_tls_flags(serve)


def run(arguments: argparse.Namespace) -> int:
    """Serves until it is stopped; returns the exit status. Raises ``SetupError`` and ``PolicyProblems``."""
    options = _options(arguments)
    if options.workers > 1:
        from extproc.serve.supervisor import Supervisor

        return Supervisor(options).run()
    # What a start makes lives on. Collections would take a fifth of its time; the server enables them once it serves.
    gc.disable()
    try:
        from extproc.serve.server import Server

        return Server(options).run()
    finally:
        gc.enable()


def _options(arguments: argparse.Namespace) -> ServeOptions:
    """The options that the command line gives. Raises ``SetupError`` where they do not go together."""
    found: dict[str, Any] = {"policies": tuple(arguments.file or ())}
    for name in ("namespace", "inference_pool", "inference_pools_of"):
        found[name] = tuple(dict.fromkeys(getattr(arguments, name) or ()))
    if arguments.listen:
        found["listen"] = tuple(arguments.listen)
    names = {field.name for field in msgspec.structs.fields(ServeOptions)} - {*found, "listen"}
    options = ServeOptions(**found, **{name: getattr(arguments, name) for name in names})
    if not options.policies and not options.in_cluster:
        raise SetupError("no policies: give a policy file with -f, or read those of a cluster with --kubernetes")
    if options.namespace and not options.kubernetes:
        raise SetupError("--namespace belongs to --kubernetes, which is not given")
    if options.snapshot_directory and not options.in_cluster:
        raise SetupError("--snapshot-directory belongs to --kubernetes and --inference-pool, and none is given")
    return options


def _add_cluster_flags(serve: argparse.ArgumentParser) -> None:
    cluster = serve.add_argument_group(
        "Kubernetes",
        "ModelInferencePolicies and GpuPools of a cluster, beside policy files or instead, and InferencePools of the "
        "Gateway API's inference extension. Credentials are those of KUBECONFIG, or of the pod.",
    )
    cluster.add_argument("--kubernetes", action="store_true", help="watch them; changes are in force within a second")
    cluster.add_argument(
        "--namespace",
        action="append",
        metavar="NAME",
        help="only those of this namespace; may be given more than once (all namespaces)",
    )
    cluster.add_argument(
        "--inference-pool",
        type=namespaced_name,
        action="append",
        metavar="NAMESPACE/NAME",
        help="pick endpoints for this InferencePool, with its InferenceObjectives and InferenceModelRewrites; may be "
        "given more than once",
    )
    cluster.add_argument(
        "--inference-pools-of",
        type=namespaced_name,
        action="append",
        metavar="NAMESPACE/SERVICE",
        help="the same for every InferencePool whose endpointPickerRef is this Service",
    )
    cluster.add_argument(
        "--snapshot-directory",
        type=Path,
        metavar="DIRECTORY",
        help="keep them here, to start with while the API server is away; without, such a start waits for it",
    )


def _add_server_flags(serve: argparse.ArgumentParser) -> None:
    serve.add_argument(
        "--listen",
        type=data_address,
        action="append",
        metavar="ADDRESS",
        help=f"host:port or unix:///path for Envoy; may be given more than once (default {_DEFAULT.listen[0]})",
    )
    serve.add_argument(
        "--admin",
        type=data_address,
        default=_DEFAULT.admin,
        metavar="ADDRESS",
        help="for people and Prometheus: host:port or unix:///path (%(default)s)",
    )
    serve.add_argument(
        "--drain",
        type=seconds,
        default=_DEFAULT.drain,
        metavar="SECONDS",
        help="between failing health and refusing streams (%(default)g)",
    )
    serve.add_argument(
        "--grace",
        type=seconds,
        default=_DEFAULT.grace,
        metavar="SECONDS",
        help="for open streams to finish after that (%(default)g)",
    )
    add_workers_flag(serve)
    serve.add_argument(
        "--max-streams",
        type=count,
        default=_DEFAULT.max_streams,
        metavar="N",
        help="of one worker that wait for a body or watch an answer; the oldest that waits makes room (%(default)s)",
    )
    serve.add_argument(
        "--keepalive",
        type=seconds,
        default=_DEFAULT.keepalive,
        metavar="SECONDS",
        help="of silence before a client is asked for a sign of life (%(default)g)",
    )
    serve.add_argument(
        "--engine",
        choices=("http2", "aio"),
        default=_DEFAULT.engine,
        help="http2: ours, fast; aio: grpcio's own server, several times slower (%(default)s)",
    )
    add_locality_flag(serve)
    add_otlp_flag(serve)
    add_session_key_flag(serve, "none: there are no tags")
    serve.add_argument("--supervised", action="store_true", help=argparse.SUPPRESS)  # a supervisor starts it
    for name, default in (("siblings", _DEFAULT.siblings), ("board", None), ("board-row", _DEFAULT.board_row)):
        serve.add_argument(f"--{name}", type=int, default=default, help=argparse.SUPPRESS)  # the same
