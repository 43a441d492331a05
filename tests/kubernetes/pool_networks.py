"""A pool's model servers in a network namespace of their own, as in another cluster: they can be killed and come back.

Run as a program it is the servers: ``python -m tests.kubernetes.pool_networks NAME ADDRESS…``.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from typing import Self

from aiohttp import web

from tests.house.tree import ROOT
from tests.waiting import until

PORT = 8080
PATIENCE = 60
_PAGE = 'vllm:num_requests_running{{model_name="chat"}} 0\nvllm:num_requests_waiting{{model_name="chat"}} {waiting}\n'


class PoolNetwork:
    """A namespace with a link to this one, and two servers in it; ends with the context."""

    def __init__(self, name: str, number: int) -> None:
        """``number``: of its network; one for each name."""
        self.name = name
        self.addresses = (f"10.78.{number}.1", f"10.78.{number}.2")
        self.endpoints = [f"{address}:{PORT}" for address in self.addresses]
        self._link, self._gateway = f"pool-{number}", f"10.78.{number}.254"
        self._servers: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        command = [_program("unshare"), "--net", "sh", "-c", "echo made; exec sleep infinity"]
        self._holder = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"made\n"
        peer = ("type", "veth", "peer", "name", "eth0", "netns", str(self._holder.pid))
        _ip("link", "add", self._link, *peer)
        _ip("address", "add", f"{self._gateway}/24", "dev", self._link)
        _ip("link", "set", self._link, "up")
        for address in self.addresses:
            self._inside("ip", "address", "add", f"{address}/24", "dev", "eth0")
        self._inside("ip", "link", "set", "eth0", "up")
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._holder.kill()
        self._holder.wait()
        assert self._holder.stdout is not None
        self._holder.stdout.close()

    def start(self) -> None:
        """Starts the servers; returns when they answer."""
        command = (*self._enter, sys.executable, "-m", "tests.kubernetes.pool_networks", self.name, *self.addresses)
        self._servers = subprocess.Popen(command, cwd=ROOT)
        for address in self.addresses:
            until(lambda address=address: _accepts(address), PATIENCE, pause=0.02)  # type: ignore[misc]

    def kill(self) -> None:
        """Kills them; returns when they are gone, and their connections closed."""
        if self._servers is not None:
            self._servers.kill()
            self._servers.wait()
            self._servers = None

    @property
    def _enter(self) -> tuple[str, ...]:
        return _program("nsenter"), "--net", f"--target={self._holder.pid}"

    def _inside(self, *command: str) -> None:
        subprocess.run([*self._enter, *command], check=True)


def _program(name: str) -> str:
    return shutil.which(name) or name


def _ip(*arguments: str) -> None:
    subprocess.run([_program("ip"), *arguments], check=True)


def _accepts(address: str) -> bool:
    try:
        socket.create_connection((address, PORT), timeout=5).close()
    except OSError:
        return False
    return True


def _serve(name: str, addresses: list[str]) -> None:
    """``POST /waiting/N`` has the metrics page say that so many requests wait."""
    waiting = 0

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(text=_PAGE.format(waiting=waiting))

    async def wait(request: web.Request) -> web.Response:
        nonlocal waiting
        waiting = int(request.match_info["count"])
        return web.Response()

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        said = {"choices": [{"message": {"role": "assistant", "content": "hi"}}]}
        usage = {"usage": {"prompt_tokens": 1, "completion_tokens": 1}}
        return web.json_response(said | usage, headers={"x-network": name})

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    app.router.add_post("/waiting/{count}", wait)
    app.router.add_route("*", "/{path:.*}", answer)
    web.run_app(app, host=addresses, port=PORT, access_log=None, print=lambda *_: None)


if __name__ == "__main__":
    _serve(sys.argv[1], sys.argv[2:])
