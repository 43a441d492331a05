"""One address for the processors, as a Service has it: a broken connection is no reason to ask nobody."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from tests.envoy.conftest import Gateway
from tests.envoy.test_processor import Traffic, healthy, models, open_gateway, policy, serve
from tests.grpc.served import Served
from tests.waiting import until

__all__ = ["models", "open_gateway", "policy", "serve"]  # fixtures
pytestmark = pytest.mark.envoy


class Address:
    """Passes each connection on to the next processor that takes one."""

    def __init__(self, processors: list[str]) -> None:
        self._processors = [(host, int(port)) for host, _, port in (one.rpartition(":") for one in processors)]
        self._server = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.address = f"127.0.0.1:{self._server.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._run, daemon=True)]
        self._threads[0].start()

    def _run(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self._server.accept()
                self._pass_on(client)

    def _pass_on(self, client: socket.socket) -> None:
        for _ in self._processors:
            self._processors.append(self._processors.pop(0))
            with suppress(OSError):
                server = socket.create_connection(self._processors[0])
                self._open += [client, server]
                for one, other in ((client, server), (server, client)):
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self._threads.append(threading.Thread(target=self._pump, args=(one, other), daemon=True))
                    self._threads[-1].start()
                return
        client.close()

    def _pump(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
        for each in (one, other):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        """Breaks all connections."""
        for one in self._open:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Takes no more, and breaks those that there are."""
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._threads[0].join(10)
        self.cut()
        for thread in self._threads[1:]:
            thread.join(10)
        for one in (self._server, *self._open):
            one.close()


@contextmanager
def one_address(*processors: Served) -> Iterator[Address]:
    found = Address([one.address for one in processors])
    yield found
    found.close()


def test_a_connection_that_breaks_takes_the_only_address_from_nobody(
    serve: Callable[..., Served], open_gateway: Callable[..., Gateway]
) -> None:
    with one_address(serve()) as only:
        gateway = open_gateway(only.address, fail_open=False)
        until(lambda: healthy(gateway) == 1)
        with Traffic(gateway) as traffic:
            for _ in range(2):
                traffic.answer(100)
                only.cut()
                traffic.answer(300)
    assert len(traffic.failures) <= 2 * traffic.clients, "those that were under way"


def test_one_of_two_behind_an_address_dies(serve: Callable[..., Served], open_gateway: Callable[..., Gateway]) -> None:
    first, second = serve(), serve()
    with one_address(first, second) as both:
        gateway = open_gateway(both.address, fail_open=False)
        until(lambda: healthy(gateway) == 1)
        with Traffic(gateway) as traffic:
            traffic.answer(100)
            first.process.kill()
            traffic.answer(500)
    assert len(traffic.failures) <= traffic.clients, "those that were under way"
