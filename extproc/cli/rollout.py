"""``extproc rollout``: how far rollouts have come, and commands to them."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from extproc.cli import rollout_by_status
from extproc.cli.terminal_text import NOTHING, percent, printable
from extproc.command_line.subcommand import Help, Subcommands, command, policies
from extproc.errors import SetupError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from extproc.policy.snapshot import Policy

_WATCH_INTERVAL = 2.0
"""Seconds between two looks with ``--watch``."""
_WIDTH = 120
"""Columns where the output is no terminal."""
_MOVES = 8
"""Moves that the table shows, the last ones."""
_ACTIONS = {
    "pause": "stays at its share until it is resumed",
    "resume": "goes on, or after a failure begins again",
    "promote": "gets every request at once, whatever its guards say",
    "abort": "gets no request any more",
}


def add(commands: Subcommands) -> None:
    """Adds the command and its actions."""
    rollout = command(
        commands,
        "rollout",
        run,
        "how far rollouts of new versions have come; pause, resume, promote or abort one",
        """\
        examples:
          extproc rollout status -f policy.yaml
          extproc rollout status -f policy.yaml --watch
          extproc rollout status -f policy.yaml --json | jq '.[] | {policy, phase, percent}'
          extproc rollout abort -f policy.yaml chat
          extproc rollout status --kubernetes --namespace ai

        They are kept in a file beside the policy, so commands work whether a processor runs or not; one that runs
        follows within a second. In a cluster they are kept in the policies' status, and the controller follows.
        docs/rollouts.md says what each does.
        """,
    )
    actions = rollout.add_subparsers(title="actions", metavar="ACTION", required=True, dest="action")
    shown = _add_action(actions, "status", "every rollout, its guards and why it moved")
    shown.add_argument("--watch", action="store_true", help="again and again, until Ctrl-C")
    shown.add_argument("--json", action="store_true", help="as JSON on stdout; with --watch one line for each look")
    for name, text in _ACTIONS.items():
        action = _add_action(actions, name, f"the new version {text}")
        action.add_argument(
            "policy", nargs="?", default="", metavar="NAME", help="of which policy, if several have one"
        )


def _add_action(actions: Subcommands, name: str, text: str) -> argparse.ArgumentParser:
    """With the flags that say where rollouts are kept."""
    description = text[:1].upper() + text[1:] + "."
    parser = actions.add_parser(name, help=text, description=description, formatter_class=Help)
    places = parser.add_mutually_exclusive_group(required=True)
    policies(places, required=False)
    places.add_argument("--kubernetes", action="store_true", help="of the cluster of KUBECONFIG, or of the pod")
    parser.add_argument("--namespace", default="", metavar="NAME", help="with --kubernetes: whose policies (all)")
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Prints the status, or obeys the command; returns the exit status. Raises ``PolicyProblems``, ``SetupError``."""
    if arguments.namespace and not arguments.kubernetes:
        raise SetupError("--namespace belongs to --kubernetes, which is not given")
    if arguments.action == "status":
        look = (
            partial(rollout_by_status.look, arguments.namespace)
            if arguments.kubernetes
            else partial(_look, arguments.file)
        )
        return _print_status(look, as_json=arguments.json, watch=arguments.watch)
    if arguments.kubernetes:
        print(rollout_by_status.command(arguments.namespace, arguments.policy, arguments.action), file=sys.stderr)
        return 0
    return obey(arguments.file, arguments.policy, arguments.action)


def obey(paths: Sequence[Path], name: str, action: str) -> int:
    """Has the rollout of the policy ``name`` do ``action``. Raises ``PolicyProblems``, ``SetupError``."""
    from extproc.policyfile import loader
    from extproc.policyfile.rollout_files import RolloutFiles
    from extproc.rollout import steps

    policy = _named(loader.load(paths).snapshot.policies, name)
    files = RolloutFiles(paths)
    try:
        with files.locked():
            states = files.read()
            state = next((one for one in states if one.policy == policy.name), None)
            if policy.rollout is None or state is None or state.to != policy.rollout.to:
                raise SetupError(
                    f"the rollout of {policy.name} has not begun: a processor that serves the policy begins it"
                )
            moved = steps.obey(state, policy.rollout, action, time.time())
            files.write([moved if one is state else one for one in states])
    except steps.UnfitCommandError as error:
        raise SetupError(f"{policy.name}: {error}") from None
    except (OSError, ValueError) as error:
        raise SetupError(f"{files.state} can't be changed: {error}") from None
    print(f"{policy.name}: {moved.to} {moved.phase}, {moved.percent} % of the requests", file=sys.stderr)
    return 0


def _named(found: Sequence[Policy], name: str) -> Policy:
    rolled_out = [policy for policy in found if policy.rollout]
    names = ", ".join(policy.name for policy in rolled_out)
    if not rolled_out:
        raise SetupError("no policy has a rollout; docs/rollouts.md shows one")
    if not name and len(rolled_out) > 1:
        raise SetupError(f"several policies have a rollout; name one of {names}")
    chosen = [policy for policy in rolled_out if name in ("", policy.name)]
    if not chosen:
        raise SetupError(f"no policy {name} has a rollout; there is {names}")
    return chosen[0]


def _look(paths: Sequence[Path]) -> list[dict[str, Any]]:
    from extproc.policyfile import loader
    from extproc.policyfile.rollout_files import RolloutFiles, describe_rollouts

    return describe_rollouts(RolloutFiles(paths), loader.load(paths).snapshot)


def _print_status(look: Callable[[], list[dict[str, Any]]], *, as_json: bool, watch: bool) -> int:
    if as_json:
        while True:
            json.dump(look(), sys.stdout, indent=None if watch else 2, ensure_ascii=False)
            sys.stdout.write("\n")
            sys.stdout.flush()
            if not watch:
                return 0
            time.sleep(_WATCH_INTERVAL)
    from rich.console import Console
    from rich.live import Live

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = _WIDTH
    if not watch:
        console.print(as_table(look()))
        return 0
    with Live(as_table(look()), console=console, auto_refresh=False) as live:
        while True:
            time.sleep(_WATCH_INTERVAL)
            live.update(as_table(look()), refresh=True)


def as_table(rollouts: Sequence[Mapping[str, Any]]) -> RenderableType:
    """For people: of each rollout where it is, what its guards say, and how it came there."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from extproc.policy.rollout_plan import MEASURED

    if not rollouts:
        return Text("no policy has a rollout")
    parts: list[RenderableType] = []
    for rollout in rollouts:
        head = f"{rollout['policy']} to {rollout['to']}: {rollout['phase'] or 'not begun'}, {rollout['percent']} %"
        weights = ", ".join(f"{name} {percent(share)}" for name, share in rollout["weights"].items())
        parts.append(Text(f"{head} ({weights})", style="bold"))
        if rollout["phase"] is None:
            parts.append(Text("a processor that serves the policy begins it; in a cluster the controller"))
        if rollout["todo"]:
            parts.append(Text(f"now {printable(rollout['todo'])}"))
        if rollout["fault"]:
            parts.append(Text(printable(rollout["fault"])))
        if rollout["measured"] is not None and rollout["phase"] in MEASURED:
            requests = ", ".join(f"{count} of {name}" for name, count in sorted(rollout["requests"].items())) or NOTHING
            measured = f"{rollout['measured']:.0f} of {rollout['interval']:.0f} s"
            parts.append(Text(f"measured {measured}; requests: {requests}"))
        guards = Table("GUARD", "VERDICT", "SEEN", box=box.SIMPLE_HEAD, pad_edge=False)
        for guard in rollout["guards"]:
            guards.add_row(*(Text(printable(guard[name])) for name in ("guard", "verdict", "reason")))
        if rollout["guards"]:
            parts.append(guards)
        moves = Table("AT", "PHASE", "SHARE", "WHY", box=box.SIMPLE_HEAD, pad_edge=False)
        for move in rollout["moves"][-_MOVES:]:
            at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(move["at"]))
            moves.add_row(at, move["phase"], f"{move['percent']} %", Text(printable(move["reason"])))
        if rollout["moves"]:
            parts.append(moves)
    return Group(*parts)
