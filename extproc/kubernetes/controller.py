"""The controller: follows the policies, pools and what serves them, and makes the mesh and their status follow.

One of several works at a time (``leader``). A pass (``change_order``) is made where something has changed, and every
``PERIOD`` seconds, which puts drift right. Whatever breaks a pass off, the next one begins from what is there.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence, Set
from datetime import UTC, datetime
from math import inf
from typing import NoReturn

from extproc.errors import SetupError
from extproc.kubernetes.api import PODS, POLICIES, POOLS, Api, ApiFailure, NoCredentials, Object, Resource, connect
from extproc.kubernetes.change_order import Pass, PutInForce, Write
from extproc.kubernetes.cluster_rollouts import ClusterRollouts
from extproc.kubernetes.cluster_view import ClusterView
from extproc.kubernetes.desired_state import Desired, DesiredState, in_force, snapshot_of
from extproc.kubernetes.found_pools import NODES, SERVICES, SLICES
from extproc.kubernetes.leader import PAUSE, Election, LostLead
from extproc.kubernetes.mesh_objects import Key
from extproc.kubernetes.object_documents import Key as ObjectKey
from extproc.kubernetes.object_documents import ReadObject, key_of
from extproc.kubernetes.object_watch import ObjectWatch
from extproc.kubernetes.ownership import LEASES, Ownership
from extproc.kubernetes.pass_contents import Meshes, Renderer, policies_of, rendered, step_changes, unrenderable
from extproc.kubernetes.route_watches import RouteWatches
from extproc.kubernetes.status_writer import StatusWriter
from extproc.policy.snapshot import Snapshot
from extproc.rollout.looks import TICK

log = logging.getLogger(__name__)

PERIOD = 20.0
"""Seconds after which a pass is made where nothing is known to have changed: others may have changed the mesh."""
DEBOUNCE = 0.1
"""Seconds from a change to its pass, in which others may come."""
LONGEST_PAUSE = 10.0
"""Seconds before another try, at most, where the API server can't be asked."""


class _Refused(Exception):  # noqa: N818
    """``policies`` can't be carried out, each with its reason; ``objects`` of the mesh could not be written."""

    def __init__(self, policies: Mapping[ObjectKey, str], objects: Set[Key] = frozenset()) -> None:
        super().__init__("; ".join(policies.values()) or ", ".join(map(str, objects)))
        self.policies, self.objects = policies, objects


class _Away(Exception):  # noqa: N818
    """The API server was away: others may not have come back to it yet."""


class Controller:
    """One controller process."""

    def __init__(
        self,
        meshes: Meshes,
        election: Election,
        ownership: Ownership,
        *,
        namespaces: Sequence[str] = (),
        rollouts: ClusterRollouts | None = None,
        settle: float,
    ) -> None:
        """``namespaces``: whose policies; none: all. ``rollouts``: drives them; None: nobody does. ``settle``: seconds
        (``change_order.SETTLE``).
        """
        self._meshes = meshes
        self._election = election
        self._ownership = ownership
        self._settle = settle
        self._changed = asyncio.Event()
        self._watches = {
            resource: [
                ObjectWatch(resource, namespace, self._changed.set)
                for namespace in (namespaces if namespaces and resource.namespaced else ("",))
            ]
            for resource in (POLICIES, POOLS, NODES, SERVICES, SLICES, PODS)
        }
        self._routes = RouteWatches(self._changed.set)
        self._status = StatusWriter(ownership.lease)
        self._rollouts, self._led = rollouts, False
        self._forget()

    def _forget(self) -> None:
        """Another controller works: what is known of passes is out of date."""
        self._desired = DesiredState(drives=self._rollouts is not None)
        self._leaving: dict[ObjectKey, ReadObject] = {}
        self._serving: dict[ObjectKey, ReadObject] = {}
        self._order = Pass(self._settle)
        self._worked = False
        self._read_at: float | None = None

    async def run(self) -> None:
        """Works until it is cancelled; then lets another one have the Lease."""
        processors = self._rollouts.watches if self._rollouts else ()
        watching = [watch.run() for watches in (*self._watches.values(), processors) for watch in watches]
        tasks = [asyncio.create_task(work) for work in (*watching, self._elect(), self._work(), self._drive())]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, self._routes.stop(), return_exceptions=True)
            await self._release()

    async def _elect(self) -> None:
        """Takes, or renews, the Lease for ever. Who leads tries at once again: the Lease must be renewed in time."""
        pause, told = PAUSE, ""
        while True:
            try:
                async with connect() as api:
                    while True:
                        await self._look(api)
                        if told:
                            log.info("the Lease is looked at again")
                        pause, told = PAUSE, ""
                        await asyncio.sleep(PAUSE)
            except (ApiFailure, NoCredentials) as failure:
                if str(failure) != told:
                    told = str(failure)
                    log.warning("the Lease can't be looked at: %s", told)
            await asyncio.sleep(PAUSE if self._leads() else pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _look(self, api: Api) -> None:
        asked_at = time.monotonic()
        lease = await api.get(LEASES, self._election.namespace, self._election.name)
        if wanted := self._election.look(lease, asked_at, time.time()):
            try:
                write = api.create if wanted.create else api.replace
                self._election.wrote(await write(LEASES, wanted.lease), asked_at)
            except ApiFailure as failure:
                if failure.status != 409:  # another one was faster
                    raise
        if (leads := self._election.leads(time.monotonic())) != self._led:
            self._led = leads
            log.info("%s %s", self._election.identity, "leads" if leads else "waits")
            self._changed.set()

    async def _release(self) -> None:
        try:
            async with connect() as api:
                lease = await api.get(LEASES, self._election.namespace, self._election.name)
                if lease is not None and (free := self._election.released(lease)):
                    await api.replace(LEASES, free)
        except (ApiFailure, NoCredentials) as failure:
            log.warning("the Lease was not given back: %s", failure)

    async def _work(self) -> None:
        failures, told = 0, ""
        while True:
            try:
                async with asyncio.timeout(PERIOD):
                    await self._changed.wait()
                await asyncio.sleep(DEBOUNCE)
            except TimeoutError:
                pass
            self._changed.clear()
            if not self._leads():
                self._forget()
                continue
            if not self._listed():
                continue
            if rest := self._rest():
                await asyncio.sleep(min(rest, 1.0))
                self._changed.set()
                continue
            try:
                if not self._worked:
                    await asyncio.sleep(self._settle)  # who led before may just have written, or seen a policy go
                    self._worked = True
                async with connect() as api:
                    await self._pass(api)
                failures, told = 0, ""
            except (LostLead, _Away) as why:
                self._read_at = None
                log.warning("a pass was broken off: %s", why)
                self._changed.set()
            except (ApiFailure, NoCredentials) as failure:
                failures += 1
                self._read_at = None
                if str(failure) != told:
                    told = str(failure)
                    log.warning("a pass was broken off, and is made again: %s", told)
                await asyncio.sleep(min(0.25 * 2.0 ** min(failures, 16), LONGEST_PAUSE))
                self._changed.set()
            except Exception:  # a bug: the next pass may be one that works
                self._read_at = None
                log.exception("a pass was broken off")

    async def _drive(self) -> None:
        """Looks at rollouts for ever."""
        while (rollouts := self._rollouts) is not None:
            await asyncio.sleep(TICK)
            if not self._leads():
                rollouts.forget()
            elif self._listed():
                policies, away = self._objects(POLICIES), self._rest() == inf
                if await rollouts.tick(connect, policies, lambda: self._election.check(time.monotonic()), away=away):
                    self._changed.set()  # the mesh follows

    def _listed(self) -> bool:
        return all(watch.listed for watches in self._watches.values() for watch in watches)

    def _leads(self) -> bool:
        return self._election.leads(time.monotonic())

    def _rest(self) -> float:
        """Seconds in which somebody may not have come back to the API server (``outage``)."""
        now = time.monotonic()
        return max(watch.outage.rest(now) for watches in self._watches.values() for watch in watches)

    def _check(self) -> None:
        self._election.check(time.monotonic())
        if self._rest():
            raise _Away("not everybody is back at the API server")

    def _objects(self, resource: Resource) -> list[Object]:
        return [one for watch in self._watches[resource] for one in watch.objects.values()]

    async def _pass(self, api: Api) -> None:
        """Makes everything as it should be, at the pace of the mesh."""
        if self._read_at is None or time.monotonic() - self._read_at >= PERIOD:
            self._read_at = time.monotonic()
            for writer, _ in self._meshes:
                await writer.read(api)
        objects = {key_of(one): one for one in (*self._objects(POLICIES), *self._objects(POOLS))}
        for key in await self._ownership.others(api, objects):
            del objects[key]
        listed = [*map(self._objects, (NODES, SERVICES, SLICES, PODS)), await self._routes.follow(objects.values())]
        # Whatever takes long among many policies is done beside the event loop, which renews the Lease meanwhile.
        view = await asyncio.to_thread(ClusterView, *listed)
        self._leaving = {key: one for key, one in (self._leaving | self._serving).items() if key not in objects}
        blocked: dict[ObjectKey, str] = {}
        given_up: set[Key] = set()
        while True:
            desired = await asyncio.to_thread(
                self._desired.take, objects.values(), view, without=blocked, now=time.time()
            )
            before = await asyncio.to_thread(lambda: snapshot_of(in_force(objects.values(), self._leaving)))
            try:
                await self._carry_out(api, before, desired, objects, blocked, given_up)
                break
            except _Refused as refused:
                # Policies that can't have what they want go on as they are in force; what even that needs is let be.
                if new := {key: why for key, why in refused.policies.items() if key not in blocked}:
                    blocked |= new
                elif refused.objects - given_up:
                    given_up |= refused.objects
                else:
                    raise
        self._serving, self._leaving = dict(desired.serving), {}

    async def _carry_out(
        self,
        api: Api,
        before: Snapshot,
        desired: Desired,
        objects: Mapping[ObjectKey, Object],
        blocked: Mapping[ObjectKey, str],
        given_up: Set[Key],
    ) -> None:
        """One pass, without the mesh's objects that were ``given_up``. Raises ``_Refused`` where it ends early."""
        try:
            both, later = await asyncio.to_thread(rendered, self._meshes, before, desired)
        except SetupError as error:
            raise _Refused(await asyncio.to_thread(unrenderable, self._meshes, desired, error)) from error
        for at, (writer, render) in enumerate(self._meshes):
            tried = {key: doc for key, doc in (later[at] | both[at]).items() if key not in given_up}
            if failures := await writer.still_refused(api, tried):
                await self._refuse(failures, desired, render)
        one = self._order
        one.begin(time.monotonic())
        while (step := one.step) is not None:
            await asyncio.sleep(one.wait(time.monotonic()))
            self._check()
            wrote = False
            match step:
                case Write():
                    for at, (writer, render) in enumerate(self._meshes):
                        found = await asyncio.to_thread(step_changes, step, both[at], later[at], writer.live, given_up)
                        wrote = wrote or bool(found)
                        if failures := await writer.write(api, found, self._check):
                            await self._refuse(failures, desired, render)
                case PutInForce():
                    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
                    wrote = await self._status.write(api, desired, objects, blocked, now, self._check)
                    wrote = wrote or bool(self._leaving)
            one.done(time.monotonic(), wrote=wrote)

    async def _refuse(self, failures: Mapping[Key, str], desired: Desired, render: Renderer) -> NoReturn:
        """Raises ``_Refused`` for the objects that could not be written, with the policies that need them."""
        raise _Refused(await asyncio.to_thread(policies_of, failures, desired, render), failures.keys())
