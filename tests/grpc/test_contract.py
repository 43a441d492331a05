"""What the engine `queue` takes for granted of grpcio's inner parts, so that a new release that differs is seen here.

When one of these fails, read what has changed in grpcio, adapt `extproc/engine`, and move the range in pyproject.toml;
until then `serve --engine aio` rests on grpcio's public API alone.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from grpc._cython import cygrpc

from extproc.engine import create
from extproc.engine.contract import Settings
from extproc.engine.queue import NEEDED, check
from extproc.errors import SetupError
from tests.grpc.running import insecure

CHANGED = f"grpcio {grpc.__version__} does otherwise: see the first lines of this file"
TAG = object()


class Rig:
    """A server of one completion queue, and a client's stream to it."""

    def __init__(self) -> None:
        self.queue = cygrpc.CompletionQueue()
        self.server = cygrpc.Server(Settings().channel_arguments(), False)
        self.server.register_completion_queue(self.queue)
        self.port = self.server.add_http2_port(b"127.0.0.1:0", None)
        self.server.start()
        self.channel = insecure(f"127.0.0.1:{self.port}")
        self.done = threading.Event()

    def poll(self, seconds: float = 10) -> Any:
        event = self.queue.poll(time.time() + seconds)
        assert event.completion_type != cygrpc.CompletionType.queue_timeout, CHANGED
        return event

    def call(self, *messages: bytes, half_close: bool = False) -> tuple[Any, Any]:
        """The client's end and the server's."""

        def requests() -> Iterator[bytes]:
            yield from messages
            if not half_close:
                self.done.wait()

        assert self.server.request_call(self.queue, self.queue, TAG) in (0, None), CHANGED
        client = self.channel.stream_stream("/some.Service/Method")(requests())
        event = self.poll()
        assert event.tag is TAG, CHANGED
        assert event.success, CHANGED
        assert event.call_details.method == b"/some.Service/Method", CHANGED
        return client, event.call

    def batch(self, call: Any, *operations: Any) -> Any:
        """Starts and awaits it."""
        assert call.start_server_batch(operations, TAG) == 0, CHANGED
        event = self.poll()
        assert event.tag is TAG, CHANGED
        return event

    def close(self) -> None:
        self.done.set()
        self.channel.close()
        self.server.shutdown(self.queue, TAG)
        self.server.cancel_all_calls()
        while self.queue.poll(time.time() + 10).tag is not TAG:
            pass
        self.queue.shutdown()
        while self.poll().completion_type != cygrpc.CompletionType.queue_shutdown:
            pass


@pytest.fixture
def rig() -> Iterator[Rig]:
    started = Rig()
    yield started
    started.close()


def ok(*before: Any) -> tuple[Any, ...]:
    return (*before, cygrpc.SendStatusFromServerOperation(None, 0, b"", 0), cygrpc.ReceiveCloseOnServerOperation(0))


HEADERS = (None, 0)


def test_every_name_is_there() -> None:
    check(cygrpc)


def test_a_missing_name_is_told_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    server = SimpleNamespace(**{name: None for name in dir(cygrpc.Server) if name != "request_call"})
    names = {name: getattr(cygrpc, name) for name in dir(cygrpc) if not name.startswith("__")}
    partial = SimpleNamespace(**{**names, "Server": server})
    monkeypatch.setattr("extproc.engine.queue.cygrpc", partial)
    with pytest.raises(SetupError, match=r"no .*Server\.request_call.*--engine aio"):
        create(["127.0.0.1:0"], {})
    create(["127.0.0.1:0"], {}, name="aio")


def test_what_is_used_is_what_is_checked() -> None:
    from pathlib import Path

    from extproc import engine

    text = "".join(path.read_text() for path in Path(engine.__file__).parent.glob("*.py"))
    used = {word.split("(")[0].split(".")[0].rstrip(",)") for word in text.split("cygrpc.")[1:]}
    used = {"".join(c for c in word.split()[0] if c.isalnum()) for word in used if word.strip()}
    assert {name for name in used if name[:1].isupper()} <= {name.split(".")[0] for name in NEEDED}


def test_a_new_call_tells_its_metadata(rig: Rig) -> None:
    rig.server.request_call(rig.queue, rig.queue, TAG)
    metadata = (("traceparent", "00-1"), ("x-bin", b"\x00"))
    client = rig.channel.stream_stream("/some.Service/Method")(iter([b"one"]), metadata=metadata)
    event = rig.poll()
    found = [(key, value) for key, value in event.invocation_metadata if key in ("traceparent", "x-bin")]
    assert found == list(metadata), CHANGED
    rig.batch(event.call, cygrpc.SendInitialMetadataOperation(*HEADERS), *ok())
    assert list(client) == [], CHANGED


def test_a_batch_may_send_headers_a_message_and_receive(rig: Rig) -> None:
    client, call = rig.call(b"one", b"two")
    receive = cygrpc.ReceiveMessageOperation(0)
    rig.batch(call, receive)
    assert receive.message() == b"one", CHANGED
    receive = cygrpc.ReceiveMessageOperation(0)
    rig.batch(call, cygrpc.SendInitialMetadataOperation(*HEADERS), cygrpc.SendMessageOperation(b"reply", 0), receive)
    assert receive.message() == b"two", CHANGED
    assert next(client) == b"reply", CHANGED
    rig.done.set()
    assert rig.batch(call, *ok()).success, CHANGED


def test_everything_to_the_end_in_one_batch(rig: Rig) -> None:
    client, call = rig.call(b"one")
    operations = ok(cygrpc.SendInitialMetadataOperation(*HEADERS), cygrpc.SendMessageOperation(b"last", 0))
    assert call.start_server_batch(operations, TAG) == 0, CHANGED
    assert list(client) == [b"last"], CHANGED
    assert client.code() is grpc.StatusCode.OK, CHANGED
    rig.poll()


@pytest.mark.parametrize("leave", ["half-close", "cancel"])
def test_no_message_means_half_close_or_cancel(rig: Rig, leave: str) -> None:
    client, call = rig.call(half_close=leave == "half-close")
    if leave == "cancel":
        client.cancel()
    receive = cygrpc.ReceiveMessageOperation(0)
    rig.batch(call, receive)
    assert receive.message() is None, CHANGED
    rig.batch(call, cygrpc.SendInitialMetadataOperation(*HEADERS), *ok())


def test_one_send_at_a_time(rig: Rig) -> None:
    client, call = rig.call()
    headers = cygrpc.SendInitialMetadataOperation(*HEADERS)
    big = b"x" * (8 << 20)  # more than the client's window: it stays under way
    assert call.start_server_batch((headers, cygrpc.SendMessageOperation(big, 0)), "first") == 0, CHANGED
    assert call.start_server_batch((cygrpc.SendMessageOperation(b"y", 0),), "second") != 0, CHANGED
    assert next(client) == big
    assert rig.poll().tag == "first", CHANGED
    client.cancel()
    rig.batch(call, *ok())


def test_an_empty_batch_wakes_the_loop_from_another_thread(rig: Rig) -> None:
    client, call = rig.call()
    other = threading.Thread(target=call.start_server_batch, args=((), ("wake", 1)))
    other.start()
    assert rig.poll().tag == ("wake", 1), CHANGED
    other.join()
    client.cancel()
    rig.batch(call, cygrpc.SendInitialMetadataOperation(*HEADERS), *ok())


def test_shutdown_fails_the_requests_for_calls_and_waits_for_those_that_are_open(rig: Rig) -> None:
    client, call = rig.call()
    rig.server.request_call(rig.queue, rig.queue, "armed")
    rig.server.shutdown(rig.queue, "down")
    event = rig.poll()
    assert (event.tag, event.success) == ("armed", False), CHANGED
    assert rig.queue.poll(time.time() + 0.2).completion_type == cygrpc.CompletionType.queue_timeout, CHANGED
    client.cancel()
    operations = (cygrpc.SendInitialMetadataOperation(*HEADERS), *ok())
    assert call.start_server_batch(operations, "end") == 0, CHANGED
    del event, call
    assert {rig.poll().tag, rig.poll().tag} == {"end", "down"}, CHANGED
    rig.close = rig.queue.shutdown  # type: ignore[method-assign]
    rig.channel.close()


SIGNALLED = """
import os, signal, threading, time
from extproc.engine import create

engine = create(["127.0.0.1:0"], {})
times = []

def handler(*_):
    times.append(time.monotonic())
    engine.stop(0)

def send():
    times.append(time.monotonic())
    os.kill(os.getpid(), signal.SIGUSR1)

signal.signal(signal.SIGUSR1, handler)
engine.run(threading.Timer(0.3, send).start)
print(times[1] - times[0])
"""


def test_signal_handlers_run_while_the_loop_waits() -> None:
    found = subprocess.run([sys.executable, "-c", SIGNALLED], capture_output=True, text=True, timeout=20, check=True)
    assert float(found.stdout) < 1, CHANGED


def test_grpcio_is_told_before_it_is_imported() -> None:
    """It reads its environment once; nothing of ours may import it before `engine.contract` has set that."""
    code = (
        "import sys, extproc.server, os; "
        "assert os.environ['GRPC_EXPERIMENTS'] == '-event_engine_callback_cq,-event_engine_listener'; "
        "assert os.environ['GRPC_ENABLE_FORK_SUPPORT'] == '0'; "
        "from grpc._cython import cygrpc; assert not cygrpc.is_fork_support_enabled()"
    )
    subprocess.run([sys.executable, "-c", code], timeout=20, check=True)
