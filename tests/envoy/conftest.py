"""A real Envoy with a rendered configuration, the real processor, and model servers that remember what they got."""

from __future__ import annotations

import hashlib
import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import pytest

from extproc.envoy.access_log import STREAM
from extproc.envoy.codec import PROCESS
from extproc.exchange.breakers import Breakers
from extproc.exchange.notes import Observed, RequestAccount
from extproc.gateway.envoy_process import Envoy
from extproc.grpc_server import Factory, Sender, create
from extproc.headers import MODEL_NAME
from extproc.policy.pool_load import PoolLoads
from extproc.policy.snapshot import Snapshot
from extproc.render.envoy.bootstrap import EnvoyOptions, bootstrap
from extproc.render.envoy.envoy_options import typed
from extproc.serve.access_log_service import AccessLogService
from extproc.serve.endpoint_picks import EndpointPicks
from extproc.serve.grpc_health import Health
from extproc.serve.servicer import handler_factory
from extproc.telemetry.metrics import Metrics
from extproc.telemetry.tap import OpenTaps
from tests.grpc.running import ENGINE
from tests.said_loads import SaidLoads
from tests.waiting import until


@dataclass(frozen=True)
class Seen:
    """A request as a model server got it."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def sha(self) -> str:
        return hashlib.sha256(self.body).hexdigest()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: ModelServer

    def do_POST(self) -> None:
        self.server.answer(self)

    do_GET = do_DELETE = do_POST  # noqa: N815 - the base class wants these names

    def body(self) -> bytes:
        if length := self.headers.get("content-length"):
            return self.rfile.read(int(length))
        chunks = []
        if self.headers.get("transfer-encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
        return b"".join(chunks)

    def log_message(self, *_: object) -> None:
        pass


Answer = Callable[[Handler], None]


def say(text: bytes, status: int = 200, **headers: str) -> Answer:
    """An answer in one piece; underscores in header names stand for dashes."""

    def answer(request: Handler) -> None:
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        request.send_header("content-length", str(len(text)))
        request.end_headers()
        request.wfile.write(text)

    return answer


class ModelServer(ThreadingHTTPServer):
    """Remembers what it got; ``then`` makes the answer, its name by default."""

    daemon_threads = True
    request_queue_size = 128  # Python's own is 5: of sixty connections at once some were refused

    def __init__(self, name: str, port: int = 0, host: str = "127.0.0.1") -> None:
        super().__init__((host, port), Handler)
        self.seen: list[Seen] = []
        self.then: Answer = say(name.encode())
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)

    @property
    def address(self) -> str:
        return f"{self.server_address[0]!s}:{self.server_address[1]}"

    def answer(self, request: Handler) -> None:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.seen.append(Seen(request.path, headers, request.body()))
        self.then(request)

    def handle_error(self, *_: object) -> None:
        """A client that has gone away is no news."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


class Processor:
    """The real processor, in a thread. ``view`` may be changed."""

    def __init__(self, snapshot: Snapshot, address: str = "127.0.0.1:0", max_streams: int = 10_000) -> None:
        self.snapshot = snapshot
        self.metrics, self.loads = Metrics(), PoolLoads()
        health = Health()
        health.serving = True
        self.taps = OpenTaps()
        self.breakers = Breakers(time.perf_counter)

        def accounted(account: RequestAccount) -> None:
            self.breakers.account(self.snapshot, account)
            self.taps.account(account)

        self.board = SaidLoads()
        self.picks = picks = EndpointPicks(lambda: self.board, lambda: self.loads.unreachable, self.breakers)
        access_log = AccessLogService(lambda: self.snapshot, self.metrics, accounted, picks)

        def observed(_: Sender, found: Observed) -> None:
            access_log.note_observed(found)
            self.taps.note(found)

        services: dict[str, Factory] = {
            PROCESS: handler_factory(
                lambda: self.snapshot, self.metrics, max_streams, observed, self.loads, self.breakers, picks
            ),
            STREAM: access_log.open,
            **health.services(),
        }
        self._engine = create((address,), services, name=ENGINE)
        started = threading.Event()
        self._thread = threading.Thread(target=self._engine.run, args=(started.set,), daemon=True)
        self._thread.start()
        assert started.wait(10)
        self.address = address if address.startswith("unix:") else f"127.0.0.1:{self._engine.ports[0]}"

    def stop(self) -> None:
        self._engine.stop(0)
        self._thread.join(10)
        assert not self._thread.is_alive()


@dataclass(frozen=True)
class Response:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def error(self) -> dict[str, str]:
        assert self.headers["content-type"] == "application/json"
        error: dict[str, str] = json.loads(self.body)["error"]
        assert error.keys() == {"message", "type", "code"}
        return error


def write_out_logs(envoy: Envoy) -> None:
    """Makes an Envoy write what its logs have collected."""
    with closing(http.client.HTTPConnection(envoy.admin_address, timeout=5)) as admin:
        admin.request("POST", "/reopen_logs")
        assert admin.getresponse().read() == b"OK\n"


@dataclass
class Gateway:
    """A running Envoy, and a client for it."""

    envoy: Envoy
    log: Path
    opened: ExitStack = field(default_factory=ExitStack)

    def open(self, timeout: float = 20) -> http.client.HTTPConnection:
        host, _, port = self.envoy.listen_address.rpartition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=timeout)
        self.opened.callback(connection.close)
        return connection

    def post(self, body: Any, path: str = "/v1/chat/completions", **headers: str) -> Response:
        """``body``: bytes, an iterable of bytes (chunked), or what becomes JSON."""
        if isinstance(body, dict):
            body = json.dumps(body).encode()
        connection = self.open()
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        with suppress(ConnectionError):  # Envoy may answer and hang up before it has read everything
            connection.request("POST", path, body, {"content-type": "application/json", **names})
        response = connection.getresponse()
        found = Response(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        connection.close()
        return found

    def ask(self, model: str, **headers: str) -> Response:
        """A chat completion."""
        return self.post({"model": model, "messages": []}, **headers)

    def logged(self, number: int = 0) -> dict[str, Any]:
        """The line of the access log with this number, once Envoy has written it."""

        def lines() -> list[str]:
            write_out_logs(self.envoy)
            return self.log.read_text().splitlines() if self.log.exists() else []

        until(lambda: len(lines()) > number)
        line: dict[str, Any] = json.loads(lines()[number])
        return line


def aborting(document: dict[str, Any], statuses: dict[str, int], header: str = MODEL_NAME) -> None:
    """Makes the rendered Envoy itself refuse some of what is decided. ``statuses``: by the value of ``header``."""
    (listener,) = document["static_resources"]["listeners"]
    filters = listener["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"]
    for value, status in statuses.items():
        config = typed("envoy.filters.http.fault", "extensions.filters.http.fault.v3.HTTPFault")
        share = {"numerator": 100, "denominator": "HUNDRED"}
        config["typed_config"]["abort"] = {"http_status": status, "percentage": share}
        config["typed_config"]["headers"] = [{"name": header, "string_match": {"exact": value}}]
        filters.insert(-1, config | {"name": f"abort {value}"})


@pytest.fixture
def servers() -> Iterator[Callable[..., list[ModelServer]]]:
    """Model servers by their names."""
    with ExitStack() as stack:
        yield lambda *names: [stack.enter_context(ModelServer(name)) for name in names]


@pytest.fixture
def processor() -> Iterator[Callable[..., Processor]]:
    """Processors for a view."""
    with ExitStack() as stack:

        def start(snapshot: Snapshot, address: str = "127.0.0.1:0", max_streams: int = 10_000) -> Processor:
            started = Processor(snapshot, address, max_streams)
            stack.callback(started.stop)
            return started

        yield start


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Callable[..., Gateway]]:
    """Envoys with a static configuration, asked to listen where nobody does."""
    with ExitStack() as stack:

        def start(
            snapshot: Snapshot,
            *processors: str,
            alter: Callable[[dict[str, Any]], None] = lambda _: None,
            **options: Any,
        ) -> Gateway:
            directory = tmp_path / f"envoy-{len(list(tmp_path.iterdir()))}"
            directory.mkdir()
            log = directory / "access.log"
            options = {"message_timeout": 20.0} | options  # so that a busy machine does not have Envoy go on without us
            chosen = EnvoyOptions(
                listen="127.0.0.1:0", admin="127.0.0.1:0", processors=processors, access_log=str(log), **options
            )
            document = bootstrap(snapshot, chosen)
            alter(document)
            envoy = stack.enter_context(Envoy(document, directory))
            envoy.wait_ready()
            started = Gateway(envoy, log)
            stack.enter_context(started.opened)
            return started

        yield start
