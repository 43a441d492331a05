"""The policies and InferencePools of a cluster, beside policies of files, as the snapshot that serves.

A thread keeps it up to date.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from threading import Thread
from typing import Any

import msgspec

from extproc.errors import Problem, SetupError
from extproc.kubernetes import snapshot_file
from extproc.kubernetes.api import POLICIES, POOLS, NoCredentials, Object, check_credentials
from extproc.kubernetes.last_good import LastGood
from extproc.kubernetes.object_documents import (
    Identity,
    Key,
    ReadObject,
    identity_of,
    is_in_force,
    kept,
    key_of,
    read,
    released,
    spec_of,
)
from extproc.kubernetes.object_watch import ObjectWatch
from extproc.kubernetes.pool_source import PoolSource, WantedPools
from extproc.kubernetes.rollout_in_status import state_of
from extproc.kubernetes.snapshot_file import SnapshotProblem
from extproc.policy.snapshot import Snapshot
from extproc.policyfile import loader
from extproc.policyfile.cross_checks import check_locality
from extproc.policyfile.loader import PolicyTexts
from extproc.policyfile.watcher import PolicyWatcher
from extproc.telemetry.cluster_gauges import ClusterGauges

log = logging.getLogger(__name__)

SETTLE_TIME = 0.02
"""Seconds from a change to the load, in which others may come: an apply of many objects is one load, or a few."""

OnReload = Callable[[bool, Sequence[Problem]], None]


class ClusterPolicies:
    """The snapshot of a cluster's policies. ``snapshot`` may be read from any thread, at any time."""

    def __init__(
        self,
        namespaces: Sequence[str] | None,
        paths: Sequence[Path],
        snapshot_directory: Path | None,
        on_reload: OnReload,
        clock: Callable[[], float] = time.time,
        locality: str = "",
        session_keys: tuple[bytes, ...] = (),
        pools: WantedPools = WantedPools(),  # noqa: B008 - immutable
    ) -> None:
        """``namespaces``: whose policies to read; empty: all; None: no policies. ``paths``: policy files beside them.
        ``locality``: of the snapshot. ``pools``: InferencePools for which endpoints are picked.

        ``on_reload(ok, problems)`` is called after each load, in the thread that made it; ``problems`` are the new
        ones, and ``ok`` tells whether there is no error among them. ``session_keys``: see ``Snapshot``. Raises
        ``SetupError`` where there are no credentials, and ``PolicyProblems`` of the files.
        """
        try:
            check_credentials()
        except NoCredentials as error:
            remedy = "set KUBECONFIG, or run as a pod with the token of a ServiceAccount"
            raise SetupError(f"no credentials for a Kubernetes API server: {error}; {remedy}") from None
        self.snapshot = Snapshot(generation=0)
        self.warnings: tuple[Problem, ...] = ()
        """Warnings about the current snapshot."""
        self.loaded_at = 0.0
        """When ``snapshot`` was loaded, in seconds since the epoch."""
        self.states: Mapping[str, int] = {}
        """Objects by what became of them (``last_good.Taken.states``)."""
        self._files = PolicyWatcher(paths, self._on_files) if paths else None
        self._namespaces, self._directory = namespaces or (), snapshot_directory
        self._scope = (*self._namespaces, *pools.pools, *pools.pickers)
        """What the objects are of that are kept on disk."""
        self._on_reload, self._clock, self._locality = on_reload, clock, locality
        self._session_keys = session_keys
        self._watches = [
            ObjectWatch(resource, namespace, self._on_change)
            for resource in (POLICIES, POOLS)
            for namespace in ("",) * (namespaces is not None) and (namespaces or ("",))
        ]
        self._pools = PoolSource(pools, self._on_change) if pools else None
        self._last_good = LastGood()
        self._controlled = False
        """Whether a controller has ever put an object in force. It works also where that one was deleted since."""
        self._served: set[Identity] = set()
        self._read: Mapping[Key, ReadObject] = {}
        self._texts: PolicyTexts | None = None
        self._problems: tuple[Problem, ...] = ()
        self._pool_problems: tuple[Problem, ...] = ()
        self._as_written: dict[Key, Object] = {}
        """What serves, as it is written: of pools it has the names."""
        self._written: list[Object] | None = None
        self._no_snapshot = ""
        self._changed, self._stopping = asyncio.Event(), asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: Thread | None = None

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Why files or objects do not serve as they are now."""
        return (*(self._files.problems if self._files is not None else ()), *self._problems)

    @property
    def unready(self) -> str:
        """Why there are no policies to serve yet; empty where there are."""
        if self.snapshot.generation:
            return ""
        unread = [] if self._pools is None or self._failures() else self._pools.unread
        return "; ".join(part for part in ("no policies yet", *self._failures(), *unread, self._no_snapshot) if part)

    @property
    def in_step(self) -> bool:
        """Whether the API server is heard: what serves is as it tells."""
        return not any(watch.failure for watch in self._all_watches)

    def gauges(self) -> ClusterGauges:
        """What the metrics say of the cluster."""
        return ClusterGauges(self.in_step, dict(self.states))

    def describe(self) -> Mapping[str, Any]:
        """What ``/config`` says of the cluster."""
        return {
            "namespaces": list(self._namespaces),
            "in_step": self.in_step,
            "failures": list(self._failures()),
            "objects": dict(self.states),
        }

    def start(self) -> None:
        """Follows the objects, and the files, in threads until ``stop``."""
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._run, args=[self._loop], name="kubernetes", daemon=True)
        self._thread.start()
        if self._files is not None:
            self._files.start()

    def request_reload(self) -> None:
        """Has the files read now; objects are read whenever they change. Safe in a signal handler."""
        if self._files is not None:
            self._files.request_reload()

    def stop(self) -> None:
        """Ends the threads, if they were started, and waits for them."""
        if self._files is not None:
            self._files.stop()
        if self._loop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()

    @property
    def _all_watches(self) -> list[ObjectWatch]:
        return [*self._watches, *(self._pools.watches if self._pools is not None else ())]

    def _failures(self) -> list[str]:
        """Each failure once: a server that is away fails every watch alike."""
        return sorted({f"{watch.resource.kind}: {watch.failure}" for watch in self._all_watches if watch.failure})

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(self._follow())

    async def _follow(self) -> None:
        tasks = [asyncio.ensure_future(work) for work in (*(w.run() for w in self._all_watches), self._load_changes())]
        await self._stopping.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _load_changes(self) -> None:
        while True:
            await self._changed.wait()
            await asyncio.sleep(SETTLE_TIME)
            self._changed.clear()
            try:
                self._load()
            except Exception:  # a bug: the next change may be one that works
                log.exception("the policies could not be loaded; generation %d stays", self.snapshot.generation)

    def _on_change(self) -> None:
        self._changed.set()

    def _on_files(self, ok: bool, problems: Sequence[Problem]) -> None:
        """Files have been read, in the thread of their watcher; good ones are loaded with the objects."""
        if not ok:
            self._on_reload(ok, problems)
        elif self._loop is not None:
            self._loop.call_soon_threadsafe(self._on_change)

    def _load(self) -> None:
        if self._is_told():
            objects = [one for watch in self._watches for one in watch.objects.values()]
            self._controlled |= any(map(is_in_force, objects))
            if self._controlled:
                objects = released(objects, self._served)
            self._served = set(map(identity_of, objects))
            if self._pools is None:
                self._take(objects)
            else:
                self._take_with_pools(objects, self._pools)
            self._keep()
        elif self.snapshot.generation:
            self._take([kept(one) for one in self._read.values()], self._pool_problems)
        elif self._directory is not None and not self.in_step:
            try:
                found = snapshot_file.read(self._directory, self._scope)
            except SnapshotProblem as problem:
                self._no_snapshot = str(problem)
            else:
                log.warning("the API server is away: serving the policies that were last written to disk")
                self._take(found)

    def _take_with_pools(self, objects: Sequence[Object], pools: PoolSource) -> None:
        """Takes objects with the endpoints of their pools; what goes on as it last was has those of now as well."""
        now = {key_of(one): one for one in objects}
        serving = self._last_good.serving
        former = [one for key, one in self._as_written.items() if now.get(key) is not one and key in serving]
        held = {key_of(one): one for one in pools.fill(former)[0]}
        moved = {key: read(held[key]) for key in map(key_of, former) if spec_of(held[key]) != serving[key].spec}
        if moved:
            self._last_good.serving = {**serving, **moved}
        self._take(*pools.fill(objects), anew=bool(moved))
        serving = self._last_good.serving
        as_now = {key: one for key, one in now.items() if key in serving and self._read.get(key) is serving[key]}
        self._as_written = {key: one for key, one in (self._as_written | as_now).items() if key in serving}

    def _is_told(self) -> bool:
        """Whether the server has told all objects; at first with all pools that are asked for by name. One that can't
        be read holds up nobody else.
        """
        if not all(watch.listed for watch in self._all_watches):
            return False
        if self._pools is None or self.snapshot.generation:
            return True
        others = self._files is not None or self._pools.readable or any(map(_has_policies, self._watches))
        return not (self._pools.missing if others else self._pools.unread)

    def _take(self, found: Iterable[Object], pool_problems: Sequence[Problem] = (), *, anew: bool = False) -> None:
        """``anew``: something has changed that is not among ``found``."""
        texts = self._files.good if self._files is not None else None
        objects = {one.key: one for one in map(self._as_read, found)}
        same = objects.keys() == self._read.keys() and all(self._read[key] is one for key, one in objects.items())
        told = tuple(pool_problems)
        same = same and texts is self._texts and told == self._pool_problems and not anew
        if same and self.snapshot.generation:
            return
        self._pool_problems = told
        self._read, self._texts = objects, texts
        documents = loader.documents(texts) if texts is not None else ((), ())
        taken = self._last_good.take(objects.values(), documents, self.snapshot.generation + 1)
        before = {*self._problems, *self.warnings}
        self.snapshot = msgspec.structs.replace(
            taken.snapshot, locality=self._locality, session_keys=self._session_keys
        )
        self.loaded_at = self._clock()
        self.warnings = (*taken.warnings, *check_locality(self._locality, taken.snapshot.pools))
        self._problems, self.states = (*told, *taken.problems), taken.states
        new = [problem for problem in (*self._problems, *self.warnings) if problem not in before]
        log.info("policies loaded, generation %d: %s", taken.snapshot.generation, dict(taken.states))
        self._on_reload(all(problem.warning for problem in new), new)

    def _as_read(self, found: Object) -> ReadObject:
        """The object, read anew only where what is read of it has changed."""
        before = self._read.get(key_of(found))
        now = spec_of(found), str(found["metadata"].get("creationTimestamp", "")), state_of(found)
        return before if before and (before.spec, before.created, before.rollout) == now else read(found)

    def _keep(self) -> None:
        """Writes what serves to disk, where it is not there already."""
        if self._directory is None:
            return
        objects = [kept(one) for one in self._last_good.serving.values()]
        if objects == self._written:
            return
        self._written = objects
        try:
            snapshot_file.write(self._directory, self._scope, objects)
        except SnapshotProblem as problem:
            log.warning("%s", problem)


def _has_policies(watch: ObjectWatch) -> bool:
    return watch.resource == POLICIES and bool(watch.objects)
