"""Every row of the table of APIs through one real Envoy: each request gets to the policy that owns its model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from extproc.apis import TABLE
from extproc.apis.row import ANY_PATH, Row
from extproc.bodies.grpc_message import GrpcJsonReader, GrpcReader
from extproc.bodies.json_reader import JsonReader
from extproc.bodies.multipart import MultipartReader
from extproc.policy.snapshot import Policy, Snapshot, Version

from .conftest import Gateway, ModelServer, Processor
from .test_grpc import varint

pytestmark = pytest.mark.envoy

REST = "rest"
"""The policy of requests that name no model."""
LOST = [row for row in TABLE if "_" in row.header]
"""Envoy drops headers with an underscore at the edge: these requests pass on as those of no API."""


def name(number: int) -> str:
    return f"model-{number}"


def path(row: Row, model: str) -> str:
    if row.path == ANY_PATH:
        return "/some/application"
    filled = row.path.replace("{model}", model).replace("{version}", "1").replace("{*}", "any")
    return filled + (f"?{row.query}={model}" if row.query else "")


def body(row: Row, model: str) -> tuple[str, bytes]:
    """The content type and the smallest body that names the model where the row's reader looks."""
    match row.reader:
        case MultipartReader():
            return (
                "multipart/form-data; boundary=b",
                f'--b\r\ncontent-disposition: form-data; name="model"\r\n\r\n{model}\r\n--b--\r\n'.encode(),
            )
        case JsonReader(pointers=pointers):
            keys = [pointer.removeprefix("/") for pointer in pointers["model"]]
            return "application/json", json.dumps(dict.fromkeys(keys, model) | {"inputs": "Hello"}).encode()
        case None:
            return "application/json", b"{}"
        case _:
            call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": model}}
            return "application/json", json.dumps(call).encode()


def message(row: Row, model: str) -> bytes:
    """The smallest gRPC message that names the model where the row's reader looks."""
    assert isinstance(row.reader, GrpcReader)
    value = model.encode() if row.names else b""
    if isinstance(row.reader, GrpcJsonReader):
        value = json.dumps({"model": model}).encode()
    for number in reversed(row.reader._model or ()):
        value = varint(number << 3 | 2) + varint(len(value)) + value
    return value


class Rpc(grpc.GenericRpcHandler):  # type: ignore[misc]
    """A gRPC server that has every method."""

    def service(self, _: grpc.HandlerCallDetails) -> Any:
        return grpc.stream_stream_rpc_method_handler(self._echo)

    def _echo(self, messages: Iterator[bytes], _: grpc.ServicerContext) -> Iterator[bytes]:
        yield from messages


def expected(number: int) -> tuple[str, str, str]:
    """Policy, API and model as the access log has them."""
    row = TABLE[number]
    if row in LOST:
        return "-", "-", "-"
    return (f"row-{number}", row.api, name(number)) if row.names else (REST, row.api, "-")


def test_every_row_reaches_the_policy_that_owns_its_model(
    servers: Callable[..., list[ModelServer]], processor: Callable[..., Processor], gateway: Callable[..., Gateway]
) -> None:
    (server,) = servers("json")
    with ThreadPoolExecutor(4) as pool:
        rpc = grpc.server(pool, (Rpc(),), options=[("grpc.so_reuseport", 0)])
        address = f"127.0.0.1:{rpc.add_insecure_port('127.0.0.1:0')}"
        rpc.start()
        policies = [
            Policy(
                f"row-{number}",
                models=(name(number),),
                versions=(Version("v1", 1, (address if isinstance(row.reader, GrpcReader) else server.address,)),),
            )
            for number, row in enumerate(TABLE)
            if row.names
        ]
        policies.append(Policy(REST, versions=(Version("v1", 1, (server.address,)),)))
        snapshot = Snapshot(tuple(policies))

        def also_grpc(document: dict[str, Any]) -> None:
            clusters = {cluster["name"]: cluster for cluster in document["static_resources"]["clusters"]}
            grpc_row = next(n for n, row in enumerate(TABLE) if row.names and isinstance(row.reader, GrpcReader))
            endpoints = clusters[f"row-{grpc_row}/v1#grpc"]["load_assignment"]["endpoints"]
            clusters[f"{REST}/v1#grpc"]["load_assignment"]["endpoints"] = endpoints

        envoy = gateway(snapshot, processor(snapshot).address, alter=also_grpc)
        connection = envoy.open()
        with grpc.insecure_channel(envoy.envoy.listen_address) as channel:
            for number, row in enumerate(TABLE):
                if isinstance(row.reader, GrpcReader):
                    sent = message(row, name(number))
                    assert channel.unary_unary(row.path)(sent, timeout=10) == sent, row
                    continue
                kind, content = body(row, name(number))
                fields = {"content-type": kind} | ({row.header: name(number)} if row.header else {})
                connection.request(row.method, path(row, name(number)), content, fields)
                response = connection.getresponse()
                assert response.read() == b"json", row
                assert response.headers.get("x-model-name", "-") == expected(number)[2], row
        rpc.stop(0).wait()
    wanted = [expected(number) for number in range(len(TABLE))]
    envoy.logged(len(TABLE) - 1)
    lines = [json.loads(line) for line in envoy.log.read_text().splitlines()]
    found = [tuple(line[key] or "-" for key in ("policy", "api", "model")) for line in lines]
    wrong = [(row, got, want) for row, got, want in zip(TABLE, found, wanted, strict=True) if got != want]
    assert wrong == []
    assert {line["cluster"].split("/")[0] for line in lines} == {policy for policy, *_ in wanted} - {"-"}
    assert {seen.headers.get("x-model-name", "-") for seen in server.seen} == {
        model for row, (_, _, model) in zip(TABLE, wanted, strict=True) if not isinstance(row.reader, GrpcReader)
    }
