"""``extproc pools``: the GPU pools of a cluster as they are found: nodes, GPUs, endpoints, load."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from extproc.cli.terminal_text import NOTHING, percent, printable
from extproc.command_line.subcommand import Subcommands, command
from extproc.errors import SetupError, not_installed

if TYPE_CHECKING:
    from extproc.kubernetes.found_pools import PoolRow


def add(commands: Subcommands) -> None:
    """Adds the command and its flags."""
    pools = command(
        commands,
        "pools",
        run,
        "the GPU pools of a Kubernetes cluster as they are found: nodes, GPUs, endpoints, load",
        """\
        examples:
          extproc pools
          extproc pools --namespace ai --json | jq '.[] | select(.endpoints == 0)'
          extproc pools --from http://aimesh-extproc-admin.aimesh-system:9090      with the load that processors know

        Credentials are those of KUBECONFIG or the pod.
        """,
    )
    pools.add_argument(
        "--namespace", dest="namespaces", action="append", metavar="NAME", help="may be given more than once (all)"
    )
    pools.add_argument(
        "--from",
        dest="sources",
        action="append",
        metavar="URL",
        help="a processor's admin port, which knows how busy pools are; may be given more than once (none)",
    )
    pools.add_argument("--json", action="store_true", help="as JSON on stdout")


def run(arguments: argparse.Namespace) -> int:
    """Prints the table; 1 where a pool has a problem, else 0. Raises ``SetupError``."""
    try:
        from extproc.kubernetes.api import ApiFailure, NoCredentials, connect
        from extproc.kubernetes.found_pools import read_rows
    except ModuleNotFoundError as error:
        raise not_installed(error, "kubernetes") from None
    free, picked = _told_by_processors(arguments.sources or ())

    async def read() -> list[PoolRow]:
        async with connect() as api:
            rows = await read_rows(api, arguments.namespaces or (), free)
            return [msgspec.structs.replace(row, **picked.get(row.name, {})) for row in rows]

    try:
        found = asyncio.run(read())
    except NoCredentials as error:
        raise SetupError(f"{error}; set KUBECONFIG, or run as a pod with a ServiceAccount") from None
    except ApiFailure as failure:
        raise SetupError(f"the API server can't be asked: {failure}") from None
    if arguments.json:
        json.dump(msgspec.to_builtins(found), sys.stdout, indent=2, ensure_ascii=False)
        sys.stdout.write("\n")
    else:
        sys.stdout.write(table(found))
    return 1 if any(row.problem for row in found) else 0


def table(rows: Sequence[PoolRow]) -> str:
    """A line for each pool, and one below it for what is wrong with it."""
    if not rows:
        return "no GpuPool\n"
    told_of_picks = any(row.in_flight is not None for row in rows)
    more = ("WAITING", "IN FLIGHT") if told_of_picks else ()
    cells = [("POOL", "GPU", "MEMORY", "MIG", "NODES", "GPUS", "ENDPOINTS", "FREE", *more)]
    for row in rows:
        memory = f"{row.memory / 1024:.4g} GiB" if row.memory else NOTHING
        endpoints = NOTHING if row.endpoints is None else str(row.endpoints)
        name, product = printable(f"{row.namespace}/{row.name}"), printable(row.product) or NOTHING
        numbers = (str(len(row.nodes)), str(row.gpus), endpoints, percent(row.free))
        loads = (NOTHING if n is None else f"{n:.0f}" for n in (row.waiting, row.in_flight) if told_of_picks)
        cells.append((name, product, memory, printable(row.mig) or NOTHING, *numbers, *loads))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in cells]
    told = [f"  {printable(row.problem)}" if row.problem else "" for row in rows]
    body = [text for line, problem in zip(lines[1:], told, strict=True) for text in (line, problem) if text]
    return "\n".join((lines[0], *body)) + "\n"


def _told_by_processors(sources: Sequence[str]) -> tuple[Mapping[str, float], Mapping[str, Mapping[str, float]]]:
    """By pool, the least free share that a processor knows, and ``waiting`` and ``in_flight`` of the servers that they
    pick. Raises ``SetupError`` where one does not answer.
    """
    if not sources:
        return {}, {}
    from extproc.admin.client import Unreachable, resolve_replicas
    from extproc.cli.endpoint_table import merge

    found: dict[str, float] = {}
    endpoints: list[list[dict[str, Any]]] = []
    for replica in resolve_replicas(sources):
        try:
            config, live = json.loads(replica.get("/config")), json.loads(replica.get("/live?window=1"))
        except Unreachable as error:
            raise SetupError(f"{replica.name}: {error}") from None
        endpoints.append(live.get("endpoints", []))
        for pool, share in (config.get("free") or {}).items():
            found[pool] = min(float(share), found.get(pool, 1.0))
    picked: dict[str, dict[str, float]] = {}
    each = {(row["gpu_pool"], row["endpoint"]): row for row in merge(endpoints)}  # several policies may pick one
    for row in each.values():
        sums = picked.setdefault(row["gpu_pool"], {})
        for name in ("waiting", "in_flight"):
            if row[name] is not None:
                sums[name] = sums.get(name, 0.0) + row[name]
    return found, picked
