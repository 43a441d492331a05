"""The services around the models: preprocessing, which calls all others in turn, feature store, postprocessing.

None of them traces. Each passes the trace's headers on to what it calls; its sidecar does the rest.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
import grpc
import numpy as np
from aiohttp import web

from extproc._pb import oip_pb2 as oip
from extproc.demo.http_server import serving
from extproc.demo.model_servers import USER_ID
from extproc.demo.pipeline.classifier import CLASSES, INFER
from extproc.demo.pipeline.stages import (
    FEATURES,
    PASSED_ON,
    POSTPROCESS,
    PREPROCESS,
    ROUTER,
    Arrival,
    arrival,
)

MASK = "[masked]"
_ADDRESS = re.compile(rb"[\w.+-]+@[\w-]+(\.[\w-]+)+")
_NOT_PASSED_ON = frozenset(
    {"host", "connection", "content-length", "transfer-encoding", "content-type", "accept-encoding"}
)
_TIERS = ("free", "gold")
NOBODY = "anonymous"
"""The user of requests that name none."""


class Service:
    """A service with its records."""

    def __init__(self, name: str, seed: int | None = None) -> None:
        self.name = name
        self.arrivals: list[Arrival] = []
        self.endpoint = ""
        """``127.0.0.1:PORT`` while it runs."""
        self._random = np.random.default_rng(seed)

    def routes(self) -> list[web.RouteDef]:
        """What it answers."""
        raise NotImplementedError

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serves on a free port for as long as the block lasts."""
        async with serving(self.routes()) as self.endpoint:
            yield

    def record(self, request: web.Request) -> None:
        """Records ``request``."""
        self.arrivals.append(arrival(self.name, request.headers.items()))

    async def think(self, seconds: float) -> None:
        """Waits for about ``seconds``: log-normal, as service times are."""
        await asyncio.sleep(seconds * float(self._random.lognormal(0.0, 0.12)))


class FeatureStore(Service):
    """``/features/{user}``: what is known of a user."""

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(FEATURES, seed)

    def routes(self) -> list[web.RouteDef]:
        """What it answers."""
        return [web.get("/features/{user}", self._features)]

    async def _features(self, request: web.Request) -> web.Response:
        self.record(request)
        await self.think(0.003)
        tier = _TIERS[sum(request.match_info["user"].encode()) % len(_TIERS)]
        return web.json_response({"tier": tier, "language": "en"})


class Postprocess(Service):
    """``/mask`` takes addresses out of an answer, piece by piece as it comes; ``/label`` gives scores a name."""

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(POSTPROCESS, seed)

    def routes(self) -> list[web.RouteDef]:
        """What it answers."""
        return [web.post("/mask", self._mask), web.post("/label", self._label)]

    async def _mask(self, request: web.Request) -> web.StreamResponse:
        self.record(request)
        answer = web.StreamResponse(headers={"content-type": request.content_type})
        await answer.prepare(request)
        async for line in request.content:
            await answer.write(_ADDRESS.sub(MASK.encode(), line))
        await answer.write_eof()
        return answer

    async def _label(self, request: web.Request) -> web.Response:
        self.record(request)
        scores = (await request.json())["scores"]
        await self.think(0.001)
        return web.json_response({"label": CLASSES[int(np.argmax(scores))], "scores": scores})


class Preprocess(Service):
    """Where the gateway leads: asks the feature store, then the router with what it knows, then postprocessing.

    ``/v1/chat/completions`` as OpenAI has it; ``/classify`` takes measures and gives a label.
    """

    def __init__(self, outbound: str, seed: int | None = None) -> None:
        """``outbound``: the address of its sidecar's listener for calls to others."""
        super().__init__(PREPROCESS, seed)
        self._url = f"http://{outbound}"
        self._outbound = outbound
        self._session: aiohttp.ClientSession
        self._infer: grpc.aio.UnaryUnaryMultiCallable[Any, Any]

    def routes(self) -> list[web.RouteDef]:
        """What it answers."""
        return [web.post("/v1/chat/completions", self._chat), web.post("/classify", self._classify)]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serves on a free port for as long as the block lasts."""
        async with AsyncExitStack() as stack:
            timeout = aiohttp.ClientTimeout(total=60)
            connector = aiohttp.TCPConnector(limit=0)
            self._session = await stack.enter_async_context(aiohttp.ClientSession(timeout=timeout, connector=connector))
            options = [("grpc.default_authority", ROUTER), ("grpc.use_local_subchannel_pool", 1)]
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(self._outbound, options))
            self._infer = channel.unary_unary(
                INFER, oip.ModelInferRequest.SerializeToString, oip.ModelInferResponse.FromString
            )
            await stack.enter_async_context(super().running())
            yield

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        self.record(request)
        body = await request.json()
        features = await self._features(request)
        await self.think(0.002)
        known = {
            "role": "system",
            "content": f"The user's tier is {features['tier']}. Answer in {features['language']}.",
        }
        asked = [{**one, "content": " ".join(one["content"].split())} for one in body["messages"]]
        body = {**body, "messages": [known, *asked]}
        sent = {**_all(request), "host": ROUTER}
        async with self._session.post(f"{self._url}/v1/chat/completions", json=body, headers=sent) as answer:
            if answer.status != 200:
                return web.Response(status=answer.status, body=await answer.read(), content_type="application/json")
            return await self._masked(request, answer)

    async def _masked(self, request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        """The model's answer by way of postprocessing, piece by piece."""
        sent = {**_passed_on(request, PASSED_ON), "host": POSTPROCESS, "content-type": answer.content_type}
        pieces = answer.content.iter_any()
        async with self._session.post(f"{self._url}/mask", data=pieces, headers=sent) as masked:
            told = web.StreamResponse(status=masked.status, headers={"content-type": masked.content_type})
            await told.prepare(request)
            async for piece in masked.content.iter_any():
                await told.write(piece)
            await told.write_eof()
            return told

    async def _classify(self, request: web.Request) -> web.StreamResponse:
        self.record(request)
        body = await request.json()
        await self._features(request)
        measures = body["measures"]
        tensor = oip.ModelInferRequest.InferInputTensor(name="input-0", datatype="FP32", shape=[1, len(measures)])
        tensor.contents.fp32_contents.extend(measures)
        asked = oip.ModelInferRequest(model_name=body["model"], inputs=[tensor])
        sent = [*_all(request).items()]
        try:
            scores = list((await self._infer(asked, metadata=sent, timeout=60)).outputs[0].contents.fp32_contents)
        except grpc.aio.AioRpcError as error:
            return web.json_response({"error": f"{error.code().name}: {error.details()}"}, status=502)
        headers = {**_passed_on(request, PASSED_ON), "host": POSTPROCESS}
        async with self._session.post(f"{self._url}/label", json={"scores": scores}, headers=headers) as answer:
            return web.Response(status=answer.status, body=await answer.read(), content_type="application/json")

    async def _features(self, request: web.Request) -> Mapping[str, Any]:
        sent = {**_passed_on(request, PASSED_ON), "host": FEATURES}
        user = sent.get(USER_ID, NOBODY)
        async with self._session.get(f"{self._url}/features/{user}", headers=sent, raise_for_status=True) as answer:
            found: Mapping[str, Any] = json.loads(await answer.read())
            return found


def _passed_on(request: web.Request, names: Sequence[str]) -> dict[str, str]:
    return {name: request.headers[name] for name in names if name in request.headers}


def _all(request: web.Request) -> dict[str, str]:
    """Whatever the client sent, as a careless service passes it on: routing headers and keys too."""
    return {name.lower(): value for name, value in request.headers.items() if name.lower() not in _NOT_PASSED_ON}
