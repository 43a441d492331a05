"""Endpoints of two versions that come and go under load, behind a real Envoy, and what must hold of every request.

Each server notes what reaches it. The history of every endpoint's readiness stands beside it, so that each answer is
judged by what was so while it was made.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any, NamedTuple

from extproc.headers import DROPPED, FAIRNESS_ID, OBJECTIVE
from extproc.kubernetes.api import Object
from tests.envoy.conftest import Handler
from tests.footprint import Footprint, footprint
from tests.grpc.test_endpoint_loads import collectors
from tests.kubernetes.picker_gateway import Answer, PickerGateway, Server
from tests.kubernetes.test_inference_pools_served import Picker
from tests.ports import free_port
from tests.unit.kubernetes.fake_api import made
from tests.unit.kubernetes.inference_objects import pool
from tests.waiting import until

HIDDEN, PRIVATE = "hidden", "private"
"""A version without weight, and a model of another policy."""
MAY_GROW = 0.1
"""Share of its memory by which a process may have grown: allocators take more than they need."""
CYCLE = 10.0
"""Seconds from one kill to the next one."""
FRESH = 1.0
"""Seconds for which an endpoint that is not ready any more may still be picked."""
STEP = 0.1
"""Seconds between two changes."""
_TOLD_AFTER = 2
"""Steps after which it is told that an endpoint has died."""


class ComingServer(Server):
    """A server that can die, with all its connections, and come back; it notes when requests come."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port)
        self.asked_at: list[float] = []
        self._open: set[socket.socket] = set()
        self._answers = Lock()

    def answer(self, request: Handler) -> None:
        if request.path != "/metrics":
            self.asked_at.append(time.monotonic())
        with self._answers:
            super().answer(request)

    def process_request(self, request: socket.socket, client_address: tuple[str, int]) -> None:  # type: ignore[override]
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: socket.socket) -> None:  # type: ignore[override]
        self._open.discard(request)
        super().shutdown_request(request)

    def die(self) -> None:
        """Ends between two answers, and takes no connections."""
        self.__exit__()
        with self._answers:
            for each in list(self._open):
                with suppress(OSError):  # its client has ended it
                    each.shutdown(socket.SHUT_RDWR)


class Endpoint:
    """A server of a version, at times there and at times ready. ``host`` is always the same one."""

    def __init__(self, host: str, port: int, version: str, tell: Callable[[Endpoint, bool], None]) -> None:
        """``tell(endpoint, ready)``: has the cluster know."""
        self.host, self.version, self.address = host, version, f"{host}:{port}"
        self.ready = False
        self.asked_at: list[float] = []
        self.deaths: list[list[float]] = []
        """From when until when it took no connections."""
        self._port, self._tell = port, tell
        self._server: ComingServer | None = None
        self._unready: list[list[float]] = [[time.monotonic(), float("inf")]]

    def come(self) -> None:
        """It listens, and is ready."""
        if self._server is None:
            self._server = ComingServer(self.host, self._port)
            self._server.asked_at = self.asked_at
            self._server.__enter__()
            if self.deaths:
                self.deaths[-1][1] = time.monotonic()
        if not self.ready:
            self.ready, self._unready[-1][1] = True, time.monotonic()
        self._tell(self, True)

    def leave(self) -> None:
        """It is not ready any more, and listens on: whoever sends something there is seen."""
        self.ready = False
        self._tell(self, False)
        self._unready.append([time.monotonic(), float("inf")])

    def die(self) -> None:
        """It is gone without a word."""
        if self._server is not None:
            self.deaths.append([time.monotonic(), float("inf")])
            self._server.die()
            self._server = None

    def unready_for(self, at: float) -> float:
        """Seconds since it was last ready."""
        return next((at - since for since, until_ in self._unready if since <= at < until_), 0.0)

    def died_within(self, start: float, end: float) -> bool:
        """Whether it took no connections at some time."""
        return _overlaps(self.deaths, start, end)

    def was_there(self, start: float, end: float) -> bool:
        """Whether it was ready, and took connections, all the time."""
        return not _overlaps([*self.deaths, *self._unready], start, end)


def _overlaps(spans: Sequence[Sequence[float]], start: float, end: float) -> bool:
    return any(since <= end and start <= until_ for since, until_ in spans)


class Asked(NamedTuple):
    """A request of the load."""

    start: float
    end: float
    answer: Answer


class Chaos:
    """Changes and load, in threads, until the context ends."""

    def __init__(
        self, endpoints: Sequence[Endpoint], gateway: PickerGateway, outside: Sequence[str], seed: int
    ) -> None:
        """``outside``: addresses that the gateway knows, and no client may reach."""
        self.endpoints, self._gateway, self._outside = endpoints, gateway, outside
        self.asked: list[Asked] = []
        self.changes: Counter[str] = Counter()
        self.held = frozenset[str]()
        """Versions of which no endpoint comes."""
        self._draw = random.Random(seed)
        self._dying: tuple[Endpoint, int] | None = None
        self._stop, self._lock = Event(), Lock()
        self._threads = [Thread(target=self._change, daemon=True)]
        self._threads += [Thread(target=self._ask, args=(number,), daemon=True) for number in range(3)]
        self.failed: list[BaseException] = []
        self._late = 0.0

    def __enter__(self) -> Chaos:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
        assert not self.failed, self.failed

    def ready(self, version: str = "") -> list[Endpoint]:
        """The endpoints that are ready, of a version, or of both."""
        return [each for each in self.endpoints if each.ready and version in ("", each.version)]

    def without(self, *versions: str, seconds: float = 0.0) -> None:
        """Takes endpoints of these versions away, until requests have been answered by what is left, and so long."""
        with self._lock:
            self.held = frozenset(versions)
            for each in self.endpoints:
                if each.version in versions and each.ready:
                    each.leave()
        since = time.monotonic()
        left = 503 if len(versions) > 1 else 200
        self.wait_for(lambda one: one.start > since and one.answer.status == left, 5)
        until(lambda: time.monotonic() > since + seconds, seconds + 60)
        with self._lock:
            self.held = frozenset()
            for each in self.endpoints:
                if each.version in versions and (self._dying is None or each is not self._dying[0]):
                    each.come()

    def wait_for(self, wanted: Callable[[Asked], bool], count: int) -> None:
        """Until so many more requests have had such an answer."""
        before = len(self.asked)
        until(lambda: self.failed or sum(map(wanted, self.asked[before:])) >= count, 60)
        assert not self.failed, self.failed

    def _change(self) -> None:
        try:
            due = time.monotonic() + STEP
            while not self._stop.wait(max(0.0, due - time.monotonic())):
                self._late = max(self._late, time.monotonic() - due)
                with self._lock:
                    self._step()
                due = max(due + STEP, time.monotonic())  # what a change takes is nobody's lateness
        except BaseException as error:  # told at the end of the context
            self.failed.append(error)

    def _step(self) -> None:
        if self._dying is not None:
            endpoint, left = self._dying
            self._dying = (endpoint, left - 1) if left else None
            if not left and endpoint.ready:
                endpoint.leave()
                self.changes["told dead"] += 1
                return
        each = self._draw.choice([one for one in self.endpoints if self._dying is None or one is not self._dying[0]])
        siblings = [one for one in self.ready(each.version) if self._dying is None or one is not self._dying[0]]
        if not each.ready:
            if each.version not in self.held:
                each.come()
                self.changes["came"] += 1
        elif len(siblings) >= 4 and self._dying is None and self._draw.random() < 0.4:
            each.die()
            self._dying = each, _TOLD_AFTER
            self.changes["died"] += 1
        elif len(siblings) >= 2:
            each.leave()
            self.changes["left"] += 1

    def _ask(self, number: int) -> None:
        draw = random.Random(number)
        try:
            while not self._stop.is_set():
                headers = self._forged(draw) if draw.random() < 0.5 else {}
                start = time.monotonic()
                answer = self._gateway.ask(f"{number} {draw.randrange(50)} {'x' * 600}", model="chat", **headers)
                self.asked.append(Asked(start, time.monotonic(), answer))
        except BaseException as error:
            self.failed.append(error)

    def _forged(self, draw: random.Random) -> dict[str, str]:
        """Every control header, with what would lead outside, or to an endpoint that is not ready."""
        address = draw.choice([*self._outside, *(each.address for each in self.endpoints if not each.ready)])
        forged = dict.fromkeys(DROPPED, address) | {"x-model-name": PRIVATE, "x-model-version": HIDDEN}
        forged |= {OBJECTIVE: draw.choice(["batch", address]), FAIRNESS_ID: str(draw.random())}
        forged |= {"envoy.lb": address, "x-envoy-original-dst-host": address, "x-gateway-model-name": PRIVATE}
        return {name.replace("-", "_"): value for name, value in forged.items()}

    def judge(self) -> dict[str, float]:
        """Asserts what must hold of every request; figures, for people."""
        by_address = {each.address: each for each in self.endpoints}
        figures: Counter[str] = Counter(requests=len(self.asked), **self.changes)
        for start, end, answer in self.asked:
            if answer.status != 200:
                assert (answer.status, answer.code) == (503, "no_endpoint"), answer
                there = [each.address for each in self.endpoints if each.was_there(start - self.fresh, end)]
                assert not there, f"refused, and there were {there}"
                figures["no_endpoint"] += 1
                continue
            order = answer.picked.split(",")
            assert by_address.keys() >= set(order), order
            place = order.index(answer.by) if answer.by in order else len(order)
            # Where all that were picked have died, the gateway takes one of its own choice.
            figures[f"answered by number {place + 1}" if place < len(order) else "all picked were dead"] += 1
            # Those before it in the list were dead.
            assert all(by_address[address].died_within(start, end) for address in order[:place]), answer
        late = [each.unready_for(at) for each in self.endpoints for at in each.asked_at]
        figures["came when not ready"] = sum(seconds > 0 for seconds in late)
        assert max(late) < self.fresh, f"an endpoint got a request {max(late):.2f} s after it was not ready any more"
        return {**figures, "longest not ready, ms": round(max(late) * 1000), "test late, ms": round(self._late * 1000)}

    @property
    def fresh(self) -> float:
        """Seconds: what the test itself was late by counts for nobody."""
        return FRESH + self._late


def pod_of(namespace: str, endpoint: Endpoint, *, ready: bool) -> Object:
    """The Pod of an endpoint, as a kubelet has it."""
    name = f"llama-{endpoint.host.replace('.', '-')}"
    metadata = {"name": name, "namespace": namespace, "labels": {"app": "llama", "version": endpoint.version}}
    condition = {"type": "Ready", "status": str(ready)}
    status = {"phase": "Running", "podIP": endpoint.host, "podIPs": [{"ip": endpoint.host}], "conditions": [condition]}
    spec = {"containers": [{"name": "main", "image": "none"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": status}


def objects(namespace: str, port: int) -> list[Object]:
    """A pool, and policies: one with two versions that answer by turns and one that nobody may ask for, and one that
    clients do not name.
    """

    def version(name: str, weight: int) -> dict[str, Any]:
        return {"name": name, "weight": weight, "inferencePool": {"name": "llama", "matchLabels": {"version": name}}}

    picking = {"by": "prefix", "indexBlocks": 1024, "objectives": {"batch": -1}}
    versions = [version("v1", 50), version("v2", 50), version(HIDDEN, 0)]
    return [
        pool("llama", port, namespace=namespace),
        made("ModelInferencePolicy", "chat", {"models": ["chat"], "versions": versions, "picking": picking}, namespace),
        made("ModelInferencePolicy", PRIVATE, {"models": [PRIVATE], "versions": [version(PRIVATE, 1)]}, namespace),
    ]


def run(
    kubeconfig: Path,
    namespace: str,
    put: Callable[[Object], None],
    hosts: Sequence[str],
    place: Path,
    *,
    seconds: float,
) -> dict[str, float]:
    """Starts a picker, a gateway and servers, and has endpoints come and go; figures, for people.

    ``put(one)``: creates or changes an object of the cluster. ``seconds``: how long at least; 0: everything happens
    once, but for a look at leaks.
    """
    port = free_port()
    for one in objects(namespace, port):
        put(one)

    def told(endpoint: Endpoint, ready: bool) -> None:
        put(pod_of(namespace, endpoint, ready=ready))

    *inside, first, second = hosts
    endpoints = [Endpoint(host, port, f"v{1 + number % 2}", told) for number, host in enumerate(inside)]
    outside = [Endpoint(first, port, HIDDEN, told), Endpoint(second, port, PRIVATE, told)]
    options = ("--kubernetes", "--namespace", namespace, "--inference-pool", f"{namespace}/llama", "--drain", "0")
    with ExitStack() as stack:
        for each in (*endpoints, *outside):
            each.come()
            stack.callback(each.die)
        picker = stack.enter_context(Picker(kubeconfig, *options)).ready()
        until(picker.is_ready)
        addresses = [each.address for each in (*endpoints, *outside)]
        gateway = stack.enter_context(PickerGateway(picker.address, addresses, place / "envoy", by_header=True))
        forbidden = [each.address for each in outside]
        before = None
        if seconds:
            with Chaos(endpoints, gateway, forbidden, seed=1) as chaos:
                chaos.wait_for(bool, 100)
            before = _quiet(picker, endpoints)
        killed, end = 0, time.monotonic() + seconds
        with Chaos(endpoints, gateway, forbidden, seed=2) as chaos:
            while True:
                due = time.monotonic() + CYCLE
                for found in collectors(picker):  # it takes ever longer until it is started again
                    os.kill(found, signal.SIGKILL)
                    killed += 1
                chaos.without("v2", seconds=min(seconds, 2.0))
                chaos.without("v1", "v2", seconds=min(seconds, 2.0))
                chaos.wait_for(bool, 30)
                if due > end:
                    break
                time.sleep(max(0.0, due - time.monotonic()))
        figures = chaos.judge()
        if before is not None:
            _quiet(picker, endpoints)
            figures |= _kept_to(before, picker.process.pid)
            assert picker.metric("extproc_collector_restarts_total") == killed
        assert not [each.asked_at for each in outside if each.asked_at]
        assert picker.metric('extproc_errors_total{reason="internal"}') == 0
        picker.signal(signal.SIGTERM)
        assert picker.exit_status() == 0
        assert "Traceback" not in picker.log
    return {**figures, "collectors killed": killed}


def _kept_to(before: Footprint, pid: int) -> dict[str, float]:
    """Asserts that nothing has leaked, once connections of the admin port and of looks at servers, which have a file
    and a thread each, have ended; the figures, for people.
    """
    until(lambda: footprint(pid).files <= before.files and footprint(pid).threads <= before.threads)
    after = footprint(pid)
    assert after.boards == before.boards
    assert after.memory <= before.memory * (1 + MAY_GROW)
    names = [f"{name} {when}" for when in ("before", "after") for name in Footprint._fields]
    return dict(zip(names, (*before, *after), strict=True))


def _quiet(picker: Picker, endpoints: Sequence[Endpoint]) -> Footprint:
    """What the picker holds where all endpoints are there and known, and nobody asks."""
    for each in endpoints:
        each.come()
    until(lambda: collectors(picker) and picker.metric("extproc_collector_stale_pages") == 0, 60)
    return footprint(picker.process.pid)
