"""Model servers that say who they are, and clients that never stop asking: by a sidecar and by a gateway at once."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple, Self

import aiohttp
from aiohttp import web

from tests.kubernetes.mesh_cluster import GATEWAY, HOST, PODS, SERVICES
from tests.waiting import until

CLIENTS = 3
"""At each entrance, for each Service's models."""
PAUSE = 0.02
"""Seconds between an answer and the same client's next request."""
BY_ADDRESS = {f"{pod.address}:8080": pod for pod in PODS}
MODELS = {service.name: f"{service.name}-7b" for service in SERVICES}
PICKED = "x-gateway-destination-endpoint"
TOLD = ("x-model-version", "x-gpu-pool", PICKED)


class Answer(NamedTuple):
    """What a client got. ``version`` and ``pool`` as its headers say; ``by``: the name of the pod that answered."""

    entrance: str
    service: str
    status: int
    version: str
    pool: str
    by: str
    told: dict[str, str]
    """The headers by which the pod was told what was decided."""
    text: str
    at: float
    request: str = ""
    """Its id, by which the proxy's access log names it."""


class MeshTraffic:
    """Runs in a thread of its own, with the model servers; ends with the context."""

    def __init__(self) -> None:
        self.answered = 0
        self.wrong: list[Answer] = []
        """Failures, and answers by another version or pool than was decided."""
        self.by_version: Counter[tuple[str, str]] = Counter()
        """Answers by model and version, of those for which a version was decided."""
        self.undecided = 0
        self.paused = False
        self._under_way = 0
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, daemon=True)
        self._tasks: list[asyncio.Task[None]] = []

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._serve())
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)
        self._loop.close()

    def _do(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    async def _serve(self) -> None:
        self._runners = []
        for pod in PODS:
            app = web.Application()
            app.router.add_route("*", "/{path:.*}", partial(_answer, pod.name))
            runner = web.AppRunner(app, access_log=None)
            await runner.setup()
            await web.TCPSite(runner, pod.address, 8080).start()
            self._runners.append(runner)
        self._session = _session()
        self._fresh = _session(aiohttp.TCPConnector(force_close=True))

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._session.close()
        await self._fresh.close()
        for runner in self._runners:
            await runner.cleanup()

    def start(self) -> None:
        """Begins to ask for ever."""
        self._do(self._start())

    async def _start(self) -> None:
        for entrance in ("sidecar", "gateway"):
            for service in SERVICES:
                for number in range(CLIENTS):
                    name = f"{entrance}-{service.name}-{number}"
                    self._tasks.append(asyncio.create_task(self._ask_for_ever(entrance, service.name, name)))

    async def _ask_for_ever(self, entrance: str, service: str, client: str) -> None:
        number = 0
        while True:
            while self.paused:
                await asyncio.sleep(PAUSE)
            number += 1
            self._under_way += 1
            headers = {"x-user": f"{client}-{number}", "x-tenant": f"{client}-{number % 50}"}
            self._note(await _ask(self._session, entrance, service, headers))
            self._under_way -= 1
            await asyncio.sleep(PAUSE)

    def ask(self, entrance: str, service: str, **headers: str) -> Answer:
        """One request, on a connection of its own."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        answer: Answer = self._do(_ask(self._fresh, entrance, service, named))
        self._note(answer)
        return answer

    def _note(self, answer: Answer) -> None:
        self.answered += 1
        if answer.version:
            self.by_version[answer.service, answer.version] += 1
        else:
            self.undecided += 1
        if answer.status != 200 or not _as_decided(answer):
            self.wrong.append(answer)

    def more(self, count: int) -> None:
        """Returns after so many more answers."""
        goal = self.answered + count
        until(lambda: self.answered >= goal, 600, pause=0.02)

    def pause(self) -> None:
        """Asks no more; returns when all answers are there."""
        self.paused = True
        until(lambda: self._under_way == 0, 600, pause=0.02)


def _session(connector: aiohttp.TCPConnector | None = None) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=30))


async def _ask(session: aiohttp.ClientSession, entrance: str, service: str, headers: dict[str, str]) -> Answer:
    found = next(each for each in SERVICES if each.name == service)
    base, host = f"http://{found.address}:8080", f"{found.host}:8080"
    if entrance == "gateway":
        base, host = f"http://{GATEWAY}", HOST
    body = {"model": MODELS[service], "messages": [{"role": "user", "content": "hi"}]}
    try:
        async with session.post(f"{base}/v1/chat/completions", json=body, headers=headers | {"host": host}) as got:
            text = await got.read()
            said: dict[str, Any] = json.loads(text) if got.status == 200 else {"told": {}, "request": ""}
            names = ("x-model-version", "x-gpu-pool", "x-pod")
            version, pool, by = (got.headers.get(name, "") for name in names)
            more = (said["told"], text.decode()[:200], time.time(), said["request"])
            return Answer(entrance, service, got.status, version, pool, by, *more)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        return Answer(entrance, service, 0, "", "", "", {}, repr(error), time.time())


def _as_decided(answer: Answer) -> bool:
    """Whether headers of the answer, those that the server got, and the server are all of one mind."""
    told = answer.told.get("x-model-version", ""), answer.told.get("x-gpu-pool", "")
    if (answer.version, answer.pool) != told:
        return False
    service, version, pool = answer.by.split("-")
    return not answer.version or (service == answer.service and version == answer.version and answer.pool in ("", pool))


async def _answer(pod: str, request: web.Request) -> web.Response:
    await request.read()
    told = {name: request.headers[name] for name in TOLD if name in request.headers}
    said = {"told": told, "request": request.headers.get("x-request-id", "")}
    answer = {"choices": [{"message": {"role": "assistant", "content": "hi"}}]}
    usage = {"usage": {"prompt_tokens": 1, "completion_tokens": 1}}
    return web.json_response(said | answer | usage, headers={"x-pod": pod})


def lines(log: Path) -> Iterator[dict[str, Any]]:
    """Of an access log."""
    return map(json.loads, log.read_text().splitlines())


def failed_open(log: Path) -> set[str]:
    """Ids of the requests that a proxy let pass undecided since no processor answered in time."""
    return {line["request_id"] for line in lines(log) if line["failed_open"] in (1, "1")}


def wrong_lines(log: Path) -> list[dict[str, Any]]:
    """Lines of an access log that tell of a failure, or of another version or pool than those of who answered."""
    found = []
    for line in lines(log):
        pod = BY_ADDRESS.get(line["upstream"] or "")
        right = pod is not None and line["version"] in (None, pod.version) and line["gpu_pool"] in (None, pod.pool)
        if line["code"] != 200 or not right:
            found.append(line)
    return found
