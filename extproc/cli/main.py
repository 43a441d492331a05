"""The command ``extproc``: arguments in, exit status out.

Exit statuses: 0 all is well, 1 something is wrong with what was looked at or with the machine, 2 a command or policy
file that can't be used. What machines read goes to stdout, everything else to stderr.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence

from extproc.cli.arguments import parser
from extproc.cli.live_arguments import ADMIN
from extproc.errors import PolicyProblems, SetupError
from extproc.policyfile import loader


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    arguments = parser(COMMANDS).parse_args(argv)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        return int(arguments.run(arguments))
    except PolicyProblems as problems:
        for problem in problems.problems:
            print(problem, file=sys.stderr)
        count = sum(not problem.warning for problem in problems.problems)
        print(f"{count} problem{'s' * (count != 1)}: nothing was started", file=sys.stderr)
        return 2
    except SetupError as error:
        print(f"extproc: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        return 1
    except KeyboardInterrupt:
        return 130


def _serve(arguments: argparse.Namespace) -> int:
    from extproc.serve.options import chosen

    options = chosen(arguments)
    if options.workers > 1:
        from extproc.serve.supervisor import Workers

        return Workers(options).run()
    from extproc.serve.server import Server

    return Server(options).run()


def _up(arguments: argparse.Namespace) -> int:
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
    )


def _demo(arguments: argparse.Namespace) -> int:
    try:
        from extproc.demo.run import run
    except ModuleNotFoundError as error:
        raise SetupError(f"{error.name} is not installed: pip install 'aimesh-extproc[gateway]'") from None
    return run(as_json=arguments.json, requests=arguments.requests, seed=arguments.seed)


def _check(arguments: argparse.Namespace) -> int:
    from extproc.cli.check import istio, run

    if arguments.istio:
        return istio(arguments.istio, arguments.json, arguments.file or ())
    if not arguments.file:
        arguments.misused("nothing to check; give policies (-f POLICY), Istio manifests (--istio FILE), or both")
    return run(arguments.file, arguments.json)


def _doctor(arguments: argparse.Namespace) -> int:
    from extproc.doctor.run import run

    dumped = arguments.config_dump, arguments.clusters, arguments.stats
    return run(arguments.envoy_admin, *dumped, arguments.file or (), arguments.json)


def _bench(arguments: argparse.Namespace) -> int:
    try:
        from extproc.cli.bench import Plan, run
    except ModuleNotFoundError as error:
        raise SetupError(f"{error.name} is not installed: pip install 'aimesh-extproc[gateway]'") from None
    plan = Plan(
        (arguments.url, arguments.baseline) if arguments.baseline else (arguments.url,),
        arguments.path,
        arguments.body,
        tuple(arguments.header),
        arguments.rate,
        arguments.connections,
        arguments.seconds,
    )
    return run(plan, arguments.json)


def _render_envoy(arguments: argparse.Namespace) -> int:
    from extproc.render.document import to_yaml
    from extproc.render.envoy.bootstrap import EnvoyOptions, bootstrap

    options = EnvoyOptions(
        listen=arguments.listen,
        admin=arguments.envoy_admin,
        processors=tuple(arguments.processor or ["127.0.0.1:50051"]),
        body=arguments.body,
        fail_open=not arguments.fail_closed,
        access_log=arguments.access_log,
        tracing=arguments.tracing,
    )
    sys.stdout.write(to_yaml(bootstrap(loader.load(arguments.file).snapshot, options)))
    return 0


def _render_istio(arguments: argparse.Namespace) -> int:
    from extproc.cli.istio_arguments import istio_options
    from extproc.render.istio.manifests import manifests, notes

    snapshot, options = loader.load(arguments.file).snapshot, istio_options(arguments)
    sys.stdout.write(manifests(snapshot, options))
    for note in notes(snapshot, options):
        print(f"extproc: {note}", file=sys.stderr)
    return 0


def _render_rules(arguments: argparse.Namespace) -> int:
    from extproc.render.document import to_yaml
    from extproc.render.prometheus.rules import rule_groups

    sys.stdout.write(to_yaml({"groups": rule_groups(loader.load(arguments.file).snapshot, arguments.source)}))
    return 0


def _render_dashboard(arguments: argparse.Namespace) -> int:
    from extproc.render.grafana.dashboard import dashboard

    json.dump(dashboard(loader.load(arguments.file).snapshot), sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")
    return 0


def _stat(arguments: argparse.Namespace) -> int:
    from extproc.cli.stat import stat

    return stat(arguments.sources or [ADMIN], arguments.window, as_json=arguments.json, watch=arguments.watch)


def _tap(arguments: argparse.Namespace) -> int:
    from extproc.cli.tap import tap
    from extproc.telemetry.tap import TapFilter

    wanted = TapFilter(**{name: getattr(arguments, name) for name in TapFilter.__struct_fields__})
    return tap(arguments.sources or [ADMIN], wanted, as_json=arguments.json)


def _edges(arguments: argparse.Namespace) -> int:
    from extproc.cli.stat import show_edges

    return show_edges(
        arguments.sources or [ADMIN],
        arguments.window,
        arguments.callers,
        as_json=arguments.json,
        watch=arguments.watch,
    )


def _explain(arguments: argparse.Namespace) -> int:
    from extproc.exchange.explain import explain

    snapshot = loader.load(arguments.file).snapshot
    found = explain(snapshot, arguments.method, arguments.path, arguments.header, arguments.body)
    json.dump(found, sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")
    return 0


COMMANDS = {
    "serve": _serve,
    "up": _up,
    "demo": _demo,
    "check": _check,
    "doctor": _doctor,
    "explain": _explain,
    "bench": _bench,
    "stat": _stat,
    "tap": _tap,
    "edges": _edges,
    "render envoy": _render_envoy,
    "render istio": _render_istio,
    "render rules": _render_rules,
    "render dashboard": _render_dashboard,
}
