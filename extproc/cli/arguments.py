"""The command line of ``extproc``: every command, its options, and examples of its use.

It knows words only; ``cli`` says what each command does.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

from extproc import __version__
from extproc.cli.argument_types import address, body, count, header, seconds
from extproc.cli.live_arguments import live_commands
from extproc.cli.render_arguments import envoy_options, render_commands
from extproc.cli.subcommand import Command, Help, command, policies
from extproc.serve.options import otlp_option, serve_options, workers_option

_CHAT = b'{"model": "llama-3-8b", "messages": [{"role": "user", "content": "Hello"}]}'


def parser(run: Mapping[str, Command]) -> argparse.ArgumentParser:
    """The whole command line; the namespace's ``run`` is the function of the chosen command."""
    top = argparse.ArgumentParser(
        prog="extproc",
        formatter_class=Help,
        description="Makes a service mesh AI-aware: routes inference requests by model, version and GPU pool.",
        epilog=dedent("""\
            examples:
              extproc demo                                  see it work, with a real Envoy and three model servers
              extproc check -f policy.yaml                  find every mistake in a policy file
              extproc up -f policy.yaml                     an AI gateway on this machine, http://127.0.0.1:8080
              extproc stat --watch                          golden metrics of running processors
              extproc explain -f policy.yaml --path /v1/chat/completions --body '{"model": "llama-3-8b"}'
            """),
    )
    top.add_argument("--version", action="version", version=f"extproc {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)

    serve = command(
        commands,
        "serve",
        run["serve"],
        "the ext_proc server",
        """\
        examples:
          extproc serve -f policy.yaml
          extproc serve -f /etc/aimesh/ --listen 0.0.0.0:50051 --admin 0.0.0.0:9090
          extproc serve -f policy.yaml --listen unix:///run/aimesh/processor.sock
          extproc serve -f policy.yaml --listen 0.0.0.0:50051 --workers 4      ports 50051 to 50054
          extproc serve -f policy.yaml --tls-cert tls.crt --tls-key tls.key --tls-client-ca ca.crt
          extproc serve -f policy.yaml --otlp http://collector:4317            spans and metrics for OpenTelemetry

        signals:
          SIGHUP   read the policy files again (they are also watched)
          SIGTERM  fail health, go on for --drain seconds, let open streams finish, exit 0;
                   a second one leaves at once
        """,
    )
    policies(serve)
    serve_options(serve)

    up = command(
        commands,
        "up",
        run["up"],
        "an AI gateway on this machine: a real Envoy with the processor wired in",
        """\
        examples:
          extproc up -f policy.yaml
          extproc up -f policy.yaml --listen 0.0.0.0:8080 --admin 127.0.0.1:9090
          extproc up -f policy.yaml --workers 4 --fail-closed --access-log access.json
          extproc up -f policy.yaml --otlp http://127.0.0.1:4317

        The policy file is watched: versions, weights and endpoints change without a restart.
        """,
    )
    policies(up)
    up.add_argument(
        "--listen",
        type=address,
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
        type=address,
        default="127.0.0.1:0",
        metavar="HOST:PORT",
        help="Envoy's admin port; 0 takes a free one (%(default)s)",
    )
    envoy_options(up)
    workers_option(up)
    otlp_option(up)

    demo = command(
        commands,
        "demo",
        run["demo"],
        "`up` with three small model servers and traffic; verifies what it shows",
        """\
        examples:
          extproc demo
          extproc demo --requests 2000
          extproc demo --json | jq .checks
        """,
    )
    demo.add_argument("--requests", type=int, default=400, metavar="N", help="how much traffic (%(default)s)")
    demo.add_argument("--seed", type=int, metavar="N", help="repeat a run's traffic")
    demo.add_argument("--json", action="store_true", help="the result as JSON on stdout")

    check = command(
        commands,
        "check",
        run["check"],
        "find every mistake in policy files, every trap in Istio manifests",
        """\
        examples:
          extproc check -f policy.yaml
          extproc check -f policies/ --json | jq '.problems[].message'
          extproc check --istio manifests/                        anybody's manifests, taken together
          extproc render istio -f policy.yaml | extproc check --istio -
          extproc check --istio manifests/ -f policy.yaml         and are they rendered from this policy

        Exits with 1 when there is an error; warnings alone exit with 0. docs/istio-lint.md has all codes.
        """,
    )
    check.set_defaults(misused=check.error)
    policies(check, required=False)
    check.add_argument(
        "--istio",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="manifests (EnvoyFilter, VirtualService, …): files, directories, - for stdin",
    )
    check.add_argument("--json", action="store_true", help="the result as JSON on stdout")

    doctor = command(
        commands,
        "doctor",
        run["doctor"],
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

    explain = command(
        commands,
        "explain",
        run["explain"],
        "what would become of a request, and why (JSON)",
        """\
        examples:
          extproc explain -f policy.yaml --path /v1/chat/completions --body '{"model": "llama-3-8b"}'
          extproc explain -f policy.yaml --path /v1/completions -H 'x-user-id: ann' --body @request.json
          extproc explain -f policy.yaml --path /v2/models/iris/infer -H 'x-model-version: v2'
        """,
    )
    policies(explain)
    explain.add_argument("--method", default="POST", help="HTTP method (%(default)s)")
    explain.add_argument("--path", required=True, help="request path, query included")
    explain.add_argument(
        "-H",
        "--header",
        type=header,
        action="append",
        default=[],
        metavar="'NAME: VALUE'",
        help="a header of the client's; may be given more than once",
    )
    explain.add_argument(
        "--body", type=body, default=b"", metavar="TEXT|@FILE", help="the request's body; @- reads stdin"
    )

    bench = command(
        commands,
        "bench",
        run["bench"],
        "how long requests take through an Envoy or a mesh, and how much of it is routing",
        """\
        examples:
          extproc bench http://127.0.0.1:8080 --body @request.json
          extproc bench http://gateway:8080 --baseline http://model-server:8000 --rate 200 --seconds 30
          extproc bench http://127.0.0.1:8080 -H 'x-user-id: ann' --connections 64 --json

        With --rate requests leave on time whether earlier ones are back or not, and a stall counts for every
        request that it delays. Without, each connection asks again as soon as it has its answer.
        """,
    )
    bench.add_argument("url", metavar="URL", help="where to send requests")
    bench.add_argument("--baseline", metavar="URL", help="measured in turns with it, for comparison")
    bench.add_argument("--path", default="/v1/chat/completions", help="request path (%(default)s)")
    bench.add_argument(
        "--body", type=body, default=_CHAT, metavar="TEXT|@FILE", help="the request's body (a short chat)"
    )
    bench.add_argument("-H", "--header", type=header, action="append", default=[], metavar="'NAME: VALUE'")
    bench.add_argument("--rate", type=seconds, default=0.0, metavar="N", help="requests per second (as fast as can be)")
    bench.add_argument("--connections", type=count, default=16, metavar="N", help="without --rate (%(default)s)")
    bench.add_argument("--seconds", type=seconds, default=10.0, metavar="N", help="for each address (%(default)g)")
    bench.add_argument("--json", action="store_true", help="the result as JSON on stdout")

    live_commands(commands, run)
    render_commands(commands, run)
    return top
