"""A real gRPC server of ours on a free port, and a real client of grpcio's."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

import grpc

from extproc.grpc_server import DEFAULTS, ENGINES, Engine, Factory, Name, Settings, create

ENGINE: Name = next(name for name in ENGINES if name == os.environ.get("EXTPROC_TEST_ENGINE", ENGINES[0]))
"""What the tests of whole processes and those with a real Envoy run on; `make test-engines` has the other."""


class Running:
    """An engine in a thread of its own."""

    def __init__(
        self,
        services: Mapping[str, Factory],
        address: str = "127.0.0.1:0",
        engine: Name = ENGINE,
        settings: Settings = DEFAULTS,
        channel: Callable[[str], grpc.Channel] | None = None,
    ) -> None:
        self.engine: Engine = create([address], services, settings, engine)
        self._started = Event()
        self.error: BaseException | None = None
        self.thread = Thread(target=self._run, daemon=True)
        self.thread.start()
        assert self._started.wait(10), "the engine did not start"
        if self.error is not None:
            raise self.error
        self.address = address if address.startswith("unix:") else f"127.0.0.1:{self.engine.ports[0]}"
        self.channel = (channel or insecure)(self.address)

    def _run(self) -> None:
        try:
            self.engine.run(self._started.set)
        except BaseException as error:
            self.error = error
            self._started.set()

    def open(self, path: str) -> Any:
        return self.channel.stream_stream(path)

    def close(self) -> None:
        self.channel.close()
        self.engine.stop(0)
        self.thread.join(10)
        assert not self.thread.is_alive(), "the engine did not stop"


def insecure(address: str) -> grpc.Channel:
    """A channel with a connection of its own."""
    return grpc.insecure_channel(
        address, options=[("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
    )


@contextmanager
def running(services: Mapping[str, Factory], *arguments: Any, **options: Any) -> Iterator[Running]:
    """As ``Running`` takes them."""
    server = Running(services, *arguments, **options)
    try:
        yield server
    finally:
        server.close()
