"""Sessions of a realtime API through the real Envoy: each answer is timed, beside what the model server really did.

Client and model server are one process with one clock, as in ``test_timing``; the processor is one of its own.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import aiohttp
import pytest
from aiohttp import web

from extproc.gateway.envoy_process import Envoy
from extproc.policyfile import loader
from extproc.render.envoy.bootstrap import EnvoyOptions, bootstrap
from tests.grpc.served import Served
from tests.ports import free_port
from tests.waiting import until

from .realtime_server import OUTPUT, USAGE, Socket, Speaker
from .schedules import WORDS
from .test_timing import MOST, PER_TOKEN, POLICY, good, outside, series, spread

pytestmark = pytest.mark.envoy

OPENAI, AZURE, AZURE_V1 = (
    "/v1/realtime?model=m",
    "/openai/realtime?api-version=2025-04-01-preview&deployment=m",
    "/openai/v1/realtime?model=m",
)
Client: TypeAlias = aiohttp.ClientWebSocketResponse


class Hall:
    """The processor and Envoy, in front of a model server that will be at ``port``."""

    def __init__(self, stack: ExitStack, directory: Path, port: int) -> None:
        path = directory / "policy.yaml"
        path.write_text(POLICY.replace("UPSTREAM", f"127.0.0.1:{port}"))
        self.processor = stack.enter_context(Served(path, sheds=False)).ready()
        options = EnvoyOptions(
            listen="127.0.0.1:0", admin="127.0.0.1:0", processors=(self.processor.address,), access_log=""
        )
        self.envoy = stack.enter_context(Envoy(bootstrap(loader.load([path]).snapshot, options), directory))
        self.envoy.wait_ready()
        self.speaker = Speaker()
        self._port = port

    def found(self) -> dict[str, float]:
        samples = (line.rpartition(" ") for line in self.processor.get("/metrics")[1].splitlines())
        return {name: float(value) for name, _, value in samples if not name.startswith("#")}

    @asynccontextmanager
    async def client(self) -> AsyncIterator[aiohttp.ClientSession]:
        application = web.Application()
        application.router.add_get("/{path:.*}", self.speaker.serve)
        runner = web.AppRunner(application)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", self._port).start()
            async with aiohttp.ClientSession(f"http://{self.envoy.listen_address}") as client:
                yield client
        finally:
            await runner.cleanup()

    async def grown(self, before: dict[str, float], requests: int = 1) -> dict[str, float]:
        """By how much each series has grown, once so many requests more are counted."""

        def grown() -> dict[str, float]:
            return {name: value - before.get(name, 0.0) for name, value in self.found().items()}

        def counted() -> bool:
            return sum(count for _, count in series(grown(), "inference_requests_total")) >= requests

        await asyncio.to_thread(until, counted)
        return grown()  # the reading before may have come amid the counting


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hall]:
    with ExitStack() as stack:
        yield Hall(stack, tmp_path_factory.mktemp("realtime"), free_port())


@pytest.fixture
def hall(built: Hall) -> Hall:
    built.speaker = Speaker()
    return built


async def ask(line: Client, until_kind: str = "response.done") -> Callable[[str], list[float]]:
    """Asks, and hears the whole answer: when the events had come whose types end so."""
    await line.send_json({"type": "response.create"})
    events: list[tuple[str, float]] = []
    while not events or events[-1][0] != until_kind:
        event = json.loads(await line.receive_str(timeout=10))
        events.append((event["type"], time.perf_counter()))
    return lambda ending: [moment for kind, moment in events if kind.endswith(ending)]


def tokens(grown: dict[str, float]) -> dict[tuple[str, str], float]:
    return {(of["type"], of["estimated"]): value for of, value in series(grown, "inference_tokens_total")}


@pytest.mark.parametrize("compress", [0, 15], ids=["plain", "deflate"])
@pytest.mark.parametrize(
    ("path", "api", "kind", "size"),
    [
        (OPENAI, "openai", "output_text", 1),
        (OPENAI, "openai", "output_audio", 4000),
        (AZURE, "azure", "audio_transcript", 1),
        (AZURE_V1, "azure", "function_call_arguments", 1),
    ],
)
def test_each_answer_of_a_session_is_timed(
    hall: Hall, path: str, api: str, kind: str, size: int, compress: int
) -> None:
    hall.speaker.kind, hall.speaker.size = kind, size
    first_errors: list[float] = []
    pace_errors: list[float] = []

    async def turn(line: Client) -> None:
        before = hall.found()
        events = await ask(line)
        grown = await hall.grown(before)
        ((labels, count),) = series(grown, "inference_requests_total")
        assert (labels["api"], labels["code"], labels["version"], count) == (api, "101", "v1", 1)
        ((_, first),) = series(grown, "inference_time_to_first_token_seconds_sum")
        rates = [rate for _, rate in series(grown, "inference_time_per_output_token_seconds_sum")]
        got, said = events(".delta"), hall.speaker.said
        assert len(got) == len(said)
        first_errors.append(outside(first, said[0] - events("response.created")[0], got[0] - hall.speaker.acknowledged))
        pace_errors.extend(outside(rate, *((end[-1] - end[0]) / (OUTPUT - 1) for end in (said, got))) for rate in rates)
        assert tokens(grown) == {("input", "false"): 21, ("output", "false"): 17, ("cached", "false"): 8}
        assert not series(grown, "inference_errors_total")
        assert not series(grown, "extproc_errors_total")

    async def talk() -> None:
        async with hall.client() as client:
            while len(first_errors) < MOST and not good(first_errors, pace_errors):
                async with client.ws_connect(path, protocols=["realtime"], compress=compress) as line:
                    assert line.compress == compress
                    await turn(line)
                    await turn(line)

    asyncio.run(talk())
    print(f"{path} {kind}: TTFT {spread(first_errors)}, TPOT {spread(pace_errors or [math.inf])}")
    assert good(first_errors, pace_errors), (first_errors, pace_errors)


def test_answers_at_once_are_counted_apart(hall: Hall) -> None:
    speaker = hall.speaker

    async def both(line: Socket, _: str) -> None:
        await speaker.begin(line, "a")
        await speaker.begin(line, "b")
        await speaker.speak(line, "b")
        await speaker.end(line, "b")
        await speaker.speak(line, "a")
        await speaker.end(line, "a")
        await line.send_json({"type": "done"})

    async def talk() -> tuple[Callable[[str], list[float]], dict[str, float]]:
        async with hall.client() as client, client.ws_connect(OPENAI) as line:
            before = hall.found()
            return await ask(line, "done"), await hall.grown(before, 2)

    speaker.act = both
    events, grown = asyncio.run(talk())
    assert tokens(grown) == {("input", "false"): 42, ("output", "false"): 34, ("cached", "false"): 16}
    ((_, first),) = series(grown, "inference_time_to_first_token_seconds_sum")
    got = events(".delta")
    least = sum(speaker.firsts) - sum(events("response.created"))
    assert abs(outside(first, least, got[0] + got[len(WORDS)] - 2 * speaker.acknowledged)) <= 0.02


@pytest.mark.parametrize(
    ("how", "reason", "told"),
    [
        ("cancelled", "client_left", True),
        ("failed", "error_in_stream", True),
        ("error", "error_in_stream", False),
        ("goodbye", "client_left", False),
        ("server error", "cut_short", False),
        ("server gone", "cut_short", False),
        ("client gone", "client_left", False),
    ],
)
def test_an_answer_that_is_broken_off(hall: Hall, how: str, reason: str, *, told: bool) -> None:
    speaker = hall.speaker

    async def act(line: Socket, name: str) -> None:
        if how == "error":
            await line.send_json({"type": "error", "error": {"type": "server_error", "message": "out of memory"}})
            return
        await speaker.begin(line, name)
        await speaker.speak(line, name, 3)
        match how:
            case "cancelled" | "failed":
                await speaker.end(line, name, how)
            case "server error":
                await line.close(code=1011)
            case "server gone":
                assert line._req is not None
                assert line._req.transport is not None
                line._req.transport.abort()

    async def talk() -> dict[str, float]:
        async with hall.client() as client, client.ws_connect(OPENAI, compress=15) as line:
            before = hall.found()
            await line.send_json({"type": "response.create"})
            while len(speaker.said) < 3 and how != "error":
                await line.receive(timeout=10)
                await asyncio.sleep(0)
            if how == "client gone":
                line._response.connection.transport.abort()  # type: ignore[union-attr]
            elif how == "goodbye":
                await line.close()
            return await hall.grown(before)

    speaker.act = act
    grown = asyncio.run(talk())
    ((labels, count),) = series(grown, "inference_requests_total")
    assert (labels["code"], count) == ("101", 1)
    ((errors, count),) = series(grown, "inference_errors_total")
    assert (errors["reason"], count) == (reason, 1)
    assert (("input", "false") in tokens(grown)) is told
    assert bool(series(grown, "inference_time_to_first_token_seconds_count")) is (how != "error")


def test_a_session_without_an_answer_is_no_request(hall: Hall) -> None:
    async def idle(line: Socket, _: str) -> None:
        await line.send_json({"type": "session.updated", "session": {"type": "realtime"}})

    async def talk() -> dict[str, float]:
        async with hall.client() as client:
            before = hall.found()
            async with client.ws_connect(OPENAI) as line:
                await ask(line, "session.updated")
            hall.speaker.act = hall.speaker.answer
            async with client.ws_connect(OPENAI) as line:
                await ask(line)
            return await hall.grown(before)

    hall.speaker.act = idle
    ((_, count),) = series(asyncio.run(talk()), "inference_requests_total")
    assert count == 1


@pytest.mark.parametrize("upgrading", [True, False])
def test_an_upgrade_that_is_refused_is_counted_by_its_status(hall: Hall, *, upgrading: bool) -> None:
    path = "/openai/realtime?api-version=1&deployment=refused"

    async def talk() -> dict[str, float]:
        async with hall.client() as client:
            before = hall.found()
            if upgrading:
                with pytest.raises(aiohttp.WSServerHandshakeError):
                    await client.ws_connect(path)
            else:
                async with client.get(path) as response:
                    assert response.status == 401
            return await hall.grown(before)

    grown = asyncio.run(talk())
    ((labels, count),) = series(grown, "inference_requests_total")
    assert (labels["api"], labels["code"], count) == ("azure", "401", 1)
    assert not series(grown, "inference_time_to_first_token_seconds_count")


def test_a_session_that_transcribes(hall: Hall) -> None:
    heard = "conversation.item.input_audio_transcription"

    async def transcribe(line: Socket, name: str) -> None:
        await line.send_json({"type": "transcription_session.updated", "session": {}})
        await line.send_json({"type": "input_audio_buffer.committed", "item_id": name})
        for word in WORDS:
            await asyncio.sleep(PER_TOKEN)
            hall.speaker.said.append(time.perf_counter())
            await line.send_json({"type": f"{heard}.delta", "item_id": name, "delta": word})
        usage = {"type": "tokens", **USAGE}
        await line.send_json({"type": f"{heard}.completed", "item_id": name, "transcript": "…", "usage": usage})

    async def talk() -> tuple[Callable[[str], list[float]], dict[str, float]]:
        async with hall.client() as client, client.ws_connect(f"{AZURE}&intent=transcription") as line:
            before = hall.found()
            return await ask(line, f"{heard}.completed"), await hall.grown(before)

    hall.speaker.act = transcribe
    events, grown = asyncio.run(talk())
    assert tokens(grown) == {("input", "false"): 21, ("output", "false"): 17, ("cached", "false"): 8}
    ((_, first),) = series(grown, "inference_time_to_first_token_seconds_sum")
    least = hall.speaker.said[0] - events(".committed")[0]
    assert abs(outside(first, least, events(".delta")[0] - hall.speaker.acknowledged)) <= 0.02


def test_whoever_taps_is_told_of_each_answer(hall: Hall) -> None:
    async def talk() -> list[dict[str, Any]]:
        url = f"http://{hall.processor.admin}/tap"
        async with hall.client() as client, aiohttp.ClientSession() as other, other.get(url) as tap:
            async with client.ws_connect(OPENAI) as line:
                await ask(line)
                await ask(line)
            told: list[dict[str, Any]] = []
            while len(told) < 2:
                text = await asyncio.wait_for(tap.content.readline(), 10)
                told += [json.loads(text)] if text.strip() else []  # an empty line is a sign of life
            return told

    told = asyncio.run(talk())
    assert [(one["code"], one["api"], one["operation"], one["output_tokens"]) for one in told] == [
        ("101", "openai", "realtime", 17)
    ] * 2


def test_an_open_session_keeps_one_stream(hall: Hall) -> None:
    streams = "extproc_streams"

    async def talk() -> None:
        await asyncio.to_thread(until, lambda: hall.found()[streams] == 0)
        async with hall.client() as client, client.ws_connect(OPENAI, compress=15) as line:
            await asyncio.to_thread(until, lambda: hall.found()[streams] == 1)
            before = hall.found()
            for _ in range(30):
                await ask(line)
            grown = await hall.grown(before, 30)
            assert grown[streams] == 0
            assert hall.found()[streams] == 1
        await asyncio.to_thread(until, lambda: hall.found()[streams] == 0)

    asyncio.run(talk())
