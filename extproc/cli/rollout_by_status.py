"""``extproc rollout --kubernetes``: rollouts by the status of a cluster's policies, and commands by annotation."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from extproc.errors import SetupError, not_installed

if TYPE_CHECKING:
    from extproc.kubernetes.api import Api

MANAGER = "extproc-rollout"
"""Field manager of the annotation."""
T = TypeVar("T")


def look(namespace: str) -> list[dict[str, Any]]:
    """Every rollout as ``rollout.status.describe`` has it, with the verdict of all guards as one. ``namespace``: whose;
    empty: all. Raises ``SetupError``.
    """
    return [described for _, described in _asked(lambda api: _rollouts(api, namespace))]


def command(namespace: str, name: str, action: str) -> str:
    """Annotates a policy for its controller; what was annotated, for people. ``name``: empty where there is one only.
    Raises ``SetupError``.
    """
    return _asked(lambda api: _annotate(api, namespace, name, action))


def _asked(work: Callable[[Api], Awaitable[T]]) -> T:
    try:
        from extproc.kubernetes.api import ApiFailure, NoCredentials, connect
    except ModuleNotFoundError as error:
        raise not_installed(error, "kubernetes") from None

    async def ask() -> T:
        async with connect() as api:
            return await work(api)

    try:
        return asyncio.run(ask())
    except NoCredentials as error:
        raise SetupError(f"{error}; set KUBECONFIG, or run as a pod with a ServiceAccount") from None
    except ApiFailure as failure:
        raise SetupError(f"the API server can't be asked: {failure}") from None


async def _rollouts(api: Api, namespace: str) -> list[tuple[str, dict[str, Any]]]:
    """Each with its namespace."""
    from extproc.kubernetes.api import POLICIES
    from extproc.kubernetes.object_documents import read
    from extproc.kubernetes.rollout_in_status import verdict_of
    from extproc.policy.snapshot import Policy
    from extproc.rollout.status import describe

    found = []
    for one in (await api.list(POLICIES, namespace)).objects:
        document = read(one | {"apiVersion": POLICIES.api_version, "kind": POLICIES.kind}).document
        policy = document.value if document is not None else None
        described = describe(policy, None) if isinstance(policy, Policy) else None
        if described is not None:
            verdict = verdict_of(one)
            whole: dict[str, Any] = {
                "guard": "all guards",
                "verdict": verdict.word,
                "reason": verdict.reason,
                "value": None,
                "looks": [],
            }
            described |= {"guards": [whole] if described["phase"] else [], "measured": None}
            found.append((str(one["metadata"]["namespace"]), described))
    return found


async def _annotate(api: Api, namespace: str, name: str, action: str) -> str:
    from extproc.kubernetes.api import POLICIES
    from extproc.kubernetes.rollout_in_status import COMMAND

    there = [(place, rollout["policy"]) for place, rollout in await _rollouts(api, namespace)]
    chosen = [one for one in there if name in ("", one[1])]
    if len(chosen) != 1:
        names = ", ".join("/".join(one) for one in there) or "none"
        one = f"one policy {name}".rstrip()
        raise SetupError(f"not just {one} has a rollout; there is {names}: name it, and its --namespace")
    place, policy = chosen[0]
    # What is said twice is two commands.
    metadata = {"name": policy, "namespace": place, "annotations": {COMMAND: f"{action}/{time.time():.0f}"}}
    wanted = {"apiVersion": POLICIES.api_version, "kind": POLICIES.kind, "metadata": metadata}
    await api.apply(POLICIES, wanted, MANAGER, force=True)
    return f"{place}/{policy}: {action}; its controller carries it out, or says in an event why not"
