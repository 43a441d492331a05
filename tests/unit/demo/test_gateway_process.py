"""The demo's gateway process: how it is started, when it is ready, what is said when it dies, how it is stopped."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from extproc.demo import gateway_process
from extproc.demo.evidence import Counters
from extproc.demo.gateway_process import Gateway
from extproc.errors import SetupError
from tests.unit.cli.stub_servers import serving
from tests.unit.demo.scene import TARGETS, V1

POLICY = Path("policy.yaml")
STATS = {"stats": [{"name": f"cluster.{V1.cluster}.upstream_rq_completed", "value": 3}]}
PAGES = {
    "/readyz": "ok",
    "/ready": "LIVE",
    "/listeners": "aimesh::127.0.0.1:1",
    "/metrics": "",
    "/stats": json.dumps(STATS),
}


class Child:
    """In the place of a process."""

    def __init__(self, name: str, command: list[str], *, output: bool) -> None:
        assert (name, output) == ("the gateway", False)
        self.command = command
        self.alive = True
        self.ended: list[float] = []
        children.append(self)

    def exit_report(self) -> str:
        return "the gateway ended with exit status 1"

    def terminate(self, timeout: float) -> None:
        self.ended.append(timeout)


children: list[Child] = []


class Admin(BaseHTTPRequestHandler):
    """The admin ports of the processor and of Envoy."""

    pages: dict[str, str] = PAGES

    def do_GET(self) -> None:
        body = self.pages.get(self.path.partition("?")[0])
        self.send_response(503 if body is None else 200)
        self.send_header("content-length", str(len(body or "")))
        self.end_headers()
        self.wfile.write((body or "").encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(autouse=True)
def addresses(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Of clients, the processor's admin port and Envoy's, where ``Admin`` answers."""
    children.clear()
    monkeypatch.setattr(gateway_process, "ChildProcess", Child)
    monkeypatch.setattr(Admin, "pages", dict(PAGES))
    with ExitStack() as stack:
        found = ["127.0.0.1:1", *(stack.enter_context(serving(Admin)) for _ in range(2))]
        monkeypatch.setattr(gateway_process, "free_addresses", lambda count: found[:count])
        yield found


def within(action: Callable[[Gateway], object]) -> None:
    """Runs a gateway for as long as ``action`` takes; a coroutine is awaited."""

    async def main() -> None:
        async with Gateway.running(POLICY) as gateway:
            found = action(gateway)
            if asyncio.iscoroutine(found):
                await found

    asyncio.run(main())


def test_it_is_started_on_free_ports_and_stopped(addresses: list[str]) -> None:
    urls: list[str] = []
    within(lambda gateway: urls.extend((gateway.url, gateway.admin, gateway.envoy_admin)))
    assert urls == [f"http://{address}" for address in addresses]
    (child,) = children
    listen, admin, envoy_admin = addresses
    assert child.command[1:] == [
        *("-m", "extproc", "up", "-f", "policy.yaml"),
        *("--listen", listen, "--admin", admin, "--envoy-admin", envoy_admin),
    ]
    assert child.ended == [15.0]


def test_it_is_stopped_whatever_happens() -> None:
    def fail(_: Gateway) -> None:
        raise KeyError

    with pytest.raises(KeyError):
        within(fail)
    assert children[0].ended == [15.0]


@pytest.mark.parametrize("page", ["/readyz", "/ready", "/listeners"])
def test_it_is_ready_once_processor_envoy_and_listener_are(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway_process, "_START_TIMEOUT", 0.2)
    del Admin.pages[page]
    with pytest.raises(SetupError, match=r"the gateway was not ready within 0\.2 s"):
        within(lambda _: pytest.fail("it is not ready"))
    assert children[0].ended


def test_an_envoy_without_listeners_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway_process, "_START_TIMEOUT", 0.2)
    Admin.pages["/listeners"] = ""
    with pytest.raises(SetupError, match="not ready"):
        within(lambda _: pytest.fail("it is not ready"))


def test_a_gateway_that_dies_at_its_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    del Admin.pages["/readyz"]
    monkeypatch.setattr(Child, "alive", property(lambda _: False, lambda *_: None), raising=False)
    with pytest.raises(SetupError, match="the gateway ended with exit status 1"):
        within(lambda _: pytest.fail("it is not ready"))


def test_counters_are_those_of_envoy_and_processor() -> None:
    found: list[Counters] = []

    async def count(gateway: Gateway) -> None:
        found.append(await gateway.counters(TARGETS))

    within(count)
    assert found[0].envoy == {V1.cluster: 3}
    assert found[0].processor == {}


@pytest.mark.parametrize(
    ("alive", "said"), [(True, "the gateway does not tell what it counted"), (False, "ended with exit status 1")]
)
def test_counters_of_a_gateway_that_is_gone(alive: bool, said: str) -> None:
    async def count(gateway: Gateway) -> None:
        children[0].alive = alive
        del Admin.pages["/stats"]
        await gateway.counters(TARGETS)

    with pytest.raises(SetupError, match=said):
        within(count)
