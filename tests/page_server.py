"""A little server of metrics pages, which keeps its connections."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from types import TracebackType
from typing import Self


def page_of(waiting: float, running: float = 1, cache: float = 0.5) -> bytes:
    """What a vLLM tells, as an answer."""
    names = "vllm:num_requests_waiting", "vllm:num_requests_running", "vllm:kv_cache_usage_perc"
    lines = (f"{name} {number}\n" for name, number in zip(names, (waiting, running, cache), strict=True))
    return answer("".join(lines).encode())


def answer(body: bytes, status: str = "200 OK") -> bytes:
    """An answer with a length."""
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


class PageServer:
    """Answers the n-th request on a connection with what it is told for n; ends the connection where that is empty."""

    def __init__(self, answers: Callable[[int], bytes], port: int = 0) -> None:
        self.answers = answers
        self._listening = socket.create_server(("127.0.0.1", port))
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self.url = f"http://{self.address}/metrics"
        self.asked: list[int] = []
        """By connection, the requests."""
        self._open: set[socket.socket] = set()
        self._threads: list[Thread] = []

    def __enter__(self) -> Self:
        self._begin(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._threads[0].join()
        for connection in list(self._open):
            with suppress(OSError):  # its client has ended it
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads[1:]:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:  # closed
                return
            self._open.add(connection)
            self.asked.append(0)
            self._begin(self._serve, connection, len(self.asked) - 1)

    def _begin(self, target: Callable[..., None], *arguments: object) -> None:
        thread = Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        try:
            while connection.recv(65536):
                self.asked[number] += 1
                if not (found := self.answers(self.asked[number])):
                    break
                connection.sendall(found)
        except OSError:
            pass
        finally:
            self._open.discard(connection)
            connection.close()
