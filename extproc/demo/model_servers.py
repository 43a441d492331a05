"""Small model servers on loopback: an OpenAI-compatible one, one of the Open Inference Protocol v2.

They answer as the real ones do on the wire (think times before the first token and
between tokens, OpenAI's chunks and errors) and keep each request's routing headers; ``/requests`` has them.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from ssl import SSLContext
from typing import Any

import msgspec
import numpy as np
from aiohttp import web

from extproc import headers
from extproc.demo.http_server import serving
from extproc.demo.records import ReceivedRequest, Usage

REQUEST_ID = "x-demo-request"
"""Header with the request's id, by which the client's and the server's records are joined."""
USER_ID = "x-user-id"

_ANSWER = "The mesh now knows which model each request is for and which of the GPUs can serve it well"


class Pace(msgspec.Struct, frozen=True):
    """How fast a model answers, in seconds; each think time varies by a tenth or so around these."""

    first_token: float = 0.0
    per_token: float = 0.0


INSTANT = Pace()


class ModelServer:
    """What both kinds share: the models that it serves, its pace, and its records."""

    def __init__(self, models: Sequence[str], pace: Pace = INSTANT, seed: int | None = None) -> None:
        self.models = tuple(models)
        self.pace = pace
        self.received: list[ReceivedRequest] = []
        self.usages: list[Usage] = []
        self.endpoint = ""
        """``127.0.0.1:PORT`` while it runs."""
        self._random = np.random.default_rng(seed)

    def routes(self) -> list[web.RouteDef]:
        """The protocol's routes."""
        raise NotImplementedError

    @asynccontextmanager
    async def running(self, port: int = 0, tls: SSLContext | None = None) -> AsyncIterator[ModelServer]:
        """Serves on loopback (0: a free port) for as long as the block lasts. Raises ``OSError``."""
        routes = [*self.routes(), web.get("/requests", self._requests)]
        async with serving(routes, port, tls) as self.endpoint:
            yield self

    async def think(self, seconds: float) -> None:
        """Waits for about ``seconds``: log-normal, as service times are."""
        if seconds:
            await asyncio.sleep(seconds * float(self._random.lognormal(0.0, 0.12)))

    def record_request(self, request: web.Request, model: str) -> None:
        """Records ``request``."""
        routing = {name: request.headers.getall(name) for name in headers.ROUTING if name in request.headers}
        self.received.append(
            ReceivedRequest(
                self.endpoint,
                request.headers.get(REQUEST_ID, ""),
                request.path,
                model,
                request.headers.get(USER_ID, ""),
                routing,
            )
        )

    def record_usage(self, request: web.Request, usage: dict[str, Any], first_token: float | None = None) -> None:
        """Records the tokens and the time to first token of the answer to ``request``."""
        id_ = request.headers.get(REQUEST_ID, "")
        output = usage.get("completion_tokens", 0)
        self.usages.append(Usage(id_, usage["prompt_tokens"], output, first_token))

    async def _requests(self, _: web.Request) -> web.Response:
        return web.Response(body=msgspec.json.encode(self.received), content_type="application/json")


class OpenAIServer(ModelServer):
    """``/v1/chat/completions`` (streamed or not), ``/v1/completions``, ``/v1/embeddings``, ``/v1/models``."""

    def routes(self) -> list[web.RouteDef]:
        """The protocol's routes."""
        return [
            web.post("/v1/chat/completions", self._chat),
            web.post("/v1/completions", self._completion),
            web.post("/v1/embeddings", self._embeddings),
            web.get("/v1/models", self._models),
        ]

    def answer(self, body: dict[str, Any]) -> list[str]:
        """The words of the answer, as many as the request allows."""
        limit = body.get("max_completion_tokens", body.get("max_tokens"))
        return _ANSWER.split()[: limit if isinstance(limit, int) and limit > 0 else None]

    @asynccontextmanager
    async def turn(self, prompt: object) -> AsyncIterator[float]:  # noqa: ARG002 - for servers that read it
        """Begins when the server takes the request on, ends with its answer: the seconds until the first token."""
        yield self.pace.first_token

    async def _read_body(self, request: web.Request) -> dict[str, Any]:
        """The body of a request that this server can answer. Raises an HTTP error for any other."""
        try:
            body = await request.json()
        except ValueError:
            raise _openai_error(400, "We could not parse the JSON body of your request.") from None
        if not isinstance(body, dict) or not isinstance(model := body.get("model"), str) or not model:
            raise _openai_error(400, "you must provide a model parameter", param="model")
        self.record_request(request, model)
        if model not in self.models:
            raise _openai_error(404, f"The model `{model}` does not exist", param="model", code="model_not_found")
        return body

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await self._read_body(request)
        if not isinstance(messages := body.get("messages"), list) or not messages:
            raise _openai_error(400, "'messages' must be a non-empty array", param="messages")
        words = self.answer(body)
        common = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": body["model"]}
        usage = _usage(sum(len(str(m).split()) for m in messages), len(words))
        if body.get("stream"):
            return await self._stream_chat(request, body, common, words, usage)
        async with self.turn(messages) as first_token:
            await self.think(first_token + self.pace.per_token * len(words))
        self.record_usage(request, usage)
        message = {"role": "assistant", "content": " ".join(words)}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        return web.json_response({**common, "object": "chat.completion", "choices": [choice], "usage": usage})

    async def _stream_chat(
        self,
        request: web.Request,
        body: dict[str, Any],
        common: dict[str, Any],
        words: Sequence[str],
        usage: dict[str, Any],
    ) -> web.StreamResponse:
        wants_usage = bool((body.get("stream_options") or {}).get("include_usage"))
        common = {**common, "object": "chat.completion.chunk"}
        if wants_usage:
            common["usage"] = None
        response = web.StreamResponse(headers={"content-type": "text/event-stream", "cache-control": "no-cache"})
        arrived, first = time.perf_counter(), None
        await response.prepare(request)

        async def delta(content: dict[str, Any], finish: str | None = None) -> None:
            choice = {"index": 0, "delta": content, "logprobs": None, "finish_reason": finish}
            await response.write(_event({**common, "choices": [choice]}))

        with suppress(ConnectionResetError):  # the client may leave at any moment
            # As real servers do: the first event names the role alone, before any token exists.
            await delta({"role": "assistant", "content": ""})
            async with self.turn(body["messages"]) as first_token:
                await self.think(first_token)
                for i, word in enumerate(words):
                    if i:
                        await self.think(self.pace.per_token)
                    else:
                        first = time.perf_counter() - arrived
                    await delta({"content": f" {word}" if i else word})
            await delta({}, "stop")
            if wants_usage:
                await response.write(_event({**common, "choices": [], "usage": usage}))
            self.record_usage(request, usage, first)
            await response.write(b"data: [DONE]\n\n")
            await response.write_eof()
        return response

    async def _completion(self, request: web.Request) -> web.Response:
        body = await self._read_body(request)
        words = self.answer(body)
        async with self.turn(body.get("prompt", "")) as first_token:
            await self.think(first_token + self.pace.per_token * len(words))
        choice = {"index": 0, "text": " ".join(words), "logprobs": None, "finish_reason": "stop"}
        common = {"id": f"cmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": body["model"]}
        usage = _usage(len(str(body.get("prompt", "")).split()), len(words))
        self.record_usage(request, usage)
        return web.json_response({**common, "object": "text_completion", "choices": [choice], "usage": usage})

    async def _embeddings(self, request: web.Request) -> web.Response:
        body = await self._read_body(request)
        given = body.get("input")
        if not given:
            raise _openai_error(400, "'input' is a required property", param="input")
        texts = given if isinstance(given, list) else [given]
        async with self.turn(texts) as first_token:
            await self.think(first_token)
        data = [
            {
                "object": "embedding",
                "index": i,
                "embedding": [round(math.sin(len(str(t)) + j), 6) for j in range(8)],
            }
            for i, t in enumerate(texts)
        ]
        tokens = sum(len(str(t).split()) for t in texts)
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        self.record_usage(request, usage)
        return web.json_response({"object": "list", "model": body["model"], "data": data, "usage": usage})

    async def _models(self, _: web.Request) -> web.Response:
        data = [{"id": m, "object": "model", "created": 0, "owned_by": "demo"} for m in self.models]
        return web.json_response({"object": "list", "data": data})


class OipServer(ModelServer):
    """The Open Inference Protocol v2: ``/v2/models/{model}[/versions/{version}]/infer``, metadata, health."""

    def routes(self) -> list[web.RouteDef]:
        """The protocol's routes."""
        found = [web.get(f"/v2/health/{probe}", self._healthy) for probe in ("live", "ready")]
        for model in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
            found += [web.get(model, self._metadata), web.post(f"{model}/infer", self._infer)]
            found.append(web.get(f"{model}/ready", self._metadata))
        return found

    async def _healthy(self, _: web.Request) -> web.Response:
        return web.json_response({"ready": True})

    def _model(self, request: web.Request) -> str:
        model = request.match_info["model"]
        if model not in self.models:
            raise _http_error(404, f"model '{model}' is not found")
        return model

    async def _metadata(self, request: web.Request) -> web.Response:
        return web.json_response(
            {
                "name": self._model(request),
                "versions": ["1"],
                "platform": "demo",
                "inputs": [{"name": "input-0", "datatype": "FP32", "shape": [-1, 4]}],
                "outputs": [{"name": "output-0", "datatype": "FP32", "shape": [-1]}],
            }
        )

    async def _infer(self, request: web.Request) -> web.Response:
        """Every row of the one input tensor comes back as a tenth of its sum."""
        self.record_request(request, request.match_info["model"])
        model = self._model(request)
        try:
            body = await request.json()
            tensor = body["inputs"][0]
            rows = np.asarray(tensor["data"], dtype=np.float64).reshape(tensor["shape"])
            sums = rows.sum(axis=-1).ravel() / 10
        except (ValueError, TypeError, LookupError) as error:
            raise _http_error(400, f"the request's tensors can't be read: {error}") from None
        await self.think(self.pace.first_token)
        output = {"name": "output-0", "datatype": "FP32", "shape": [len(sums)], "data": sums.tolist()}
        answer = {
            "model_name": model,
            "model_version": request.match_info.get("version", "1"),
            "id": body.get("id", ""),
            "outputs": [output],
        }
        return web.json_response(answer)


def _usage(prompt: int, completion: int) -> dict[str, Any]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _event(data: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(data, separators=(",", ":")).encode() + b"\n\n"


def _openai_error(status: int, message: str, param: str | None = None, code: str | None = None) -> web.HTTPException:
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
    return _http_error(status, error)


def _http_error(status: int, error: str | dict[str, Any]) -> web.HTTPException:
    kind = web.HTTPNotFound if status == 404 else web.HTTPBadRequest
    return kind(text=json.dumps({"error": error}), content_type="application/json")
