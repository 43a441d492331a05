"""A real gRPC server of ours on a free port, and a real client of grpcio's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

import grpc

from extproc.engine import Engine, Factory


class Running:
    """An engine in a thread of its own."""

    def __init__(self, services: Mapping[str, Factory], address: str) -> None:
        self.engine = Engine([address], services)
        self._started = Event()
        self.error: BaseException | None = None
        self.thread = Thread(target=self._run, daemon=True)
        self.thread.start()
        assert self._started.wait(10), "the engine did not start"
        if self.error is not None:
            raise self.error
        self.address = address if address.startswith("unix:") else f"127.0.0.1:{self.engine.ports[0]}"
        self.channel = grpc.insecure_channel(
            self.address, options=[("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
        )

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


@contextmanager
def running(services: Mapping[str, Factory], address: str = "127.0.0.1:0") -> Iterator[Running]:
    server = Running(services, address)
    try:
        yield server
    finally:
        server.close()
