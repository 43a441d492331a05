"""Events about policies and pools, for ``kubectl get events`` and ``kubectl describe``."""

from __future__ import annotations

import logging
import uuid

import msgspec

from extproc.kubernetes.api import Api, ApiFailure, Object, Resource
from extproc.kubernetes.mesh_writer import MANAGER
from extproc.policy.rollout_plan import FAILED, ROLLING_BACK, RolloutState

log = logging.getLogger(__name__)

EVENTS = Resource("events.k8s.io", "v1", "events", "Event")
_MAX_NOTE = 1024
"""Characters of an event's note, by its API."""


class Event(msgspec.Struct, frozen=True):
    """What has happened."""

    reason: str
    """In one word, for machines; ``action`` likewise: what was done."""
    action: str
    note: str
    warning: bool


def move_event(state: RolloutState, todo: str = "") -> Event:
    """That a rollout has moved, and why. ``todo``: what is left to people."""
    why = "; ".join(text for text in (state.moves[-1].reason if state.moves else "", todo) if text)
    broken = state.phase in (ROLLING_BACK, FAILED)
    return Event(f"Rollout{state.phase}", "Rollout", f"{state.to} {state.percent}%: {why}", warning=broken)


async def write_event(api: Api, one: Object, event: Event, now: str) -> None:
    """An event about the object ``one``. That it can't be written is no failure. ``now``: RFC 3339, with six digits."""
    metadata = one["metadata"]
    document = {
        "apiVersion": EVENTS.api_version,
        "kind": EVENTS.kind,
        "metadata": {"name": f"{metadata['name']}.{uuid.uuid4().hex[:16]}", "namespace": metadata["namespace"]},
        "type": "Warning" if event.warning else "Normal",
        "reason": event.reason,
        "action": event.action,
        "note": event.note[:_MAX_NOTE],
        "regarding": {
            "apiVersion": one["apiVersion"],
            "kind": one["kind"],
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
        },
        "eventTime": now,
        "reportingController": f"ai.istio.io/{MANAGER}",
        "reportingInstance": MANAGER,
    }
    try:
        await api.create(EVENTS, document)
    except ApiFailure as failure:
        log.warning("an event could not be written: %s", failure)
