"""A running Envoy follows a changed policy, is drained, and leaves nothing behind."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from extproc.errors import SetupError
from extproc.gateway.discovery_files import DiscoveryFiles
from extproc.gateway.envoy_process import Envoy
from extproc.policy.snapshot import Policy, RetryBudget, Snapshot, Version
from extproc.render.envoy.bootstrap import EnvoyOptions, bootstrap
from tests.waiting import until

from .conftest import Gateway, Handler, ModelServer, Processor

pytestmark = pytest.mark.envoy

Servers = Callable[..., list[ModelServer]]
Process = Callable[..., Processor]


def policy(*servers: ModelServer, name: str = "p", model: str = "m", **extra: bool) -> Policy:
    """Everything goes to the last version."""
    last = len(servers) - 1
    versions = tuple(Version(f"v{n}", int(n == last), (s.address,)) for n, s in enumerate(servers))
    return Policy(name, models=(model,), versions=versions, **extra)  # type: ignore[arg-type]


class Live:
    """A watching Envoy and its processor."""

    def __init__(self, snapshot: Snapshot, processor: Processor, directory: Path) -> None:
        options = EnvoyOptions(
            listen="127.0.0.1:0",
            admin="127.0.0.1:0",
            processors=(processor.address,),
            access_log=str(directory / "access.log"),
        )
        self._processor = processor
        self._files = DiscoveryFiles(options, directory)
        self.envoy = Envoy(self._files.start(snapshot), directory)
        self.envoy.wait_ready()
        self.client = Gateway(self.envoy, directory / "access.log")

    def stop(self, drain: float) -> None:
        self._files.stop_listening(self.envoy)
        self.envoy.stop(drain)

    def change(self, snapshot: Snapshot) -> None:
        self._files.follow(self.envoy, snapshot)
        self._processor.snapshot = snapshot


@pytest.fixture
def live(processor: Process, tmp_path: Path) -> Iterator[Callable[[Snapshot], Live]]:
    started: list[Live] = []

    def start(snapshot: Snapshot) -> Live:
        started.append(Live(snapshot, processor(snapshot), tmp_path))
        return started[-1]

    yield start
    for one in started:
        one.client.opened.close()
        one.envoy.stop(0)


def test_routes_and_clusters_follow_the_policy(servers: Servers, live: Callable[[Snapshot], Live]) -> None:
    old, new, other = servers("old", "new", "other")
    running = live(Snapshot((policy(old),)))
    before = running.envoy.listen_address
    assert running.client.ask("m").text == "old"
    running.change(Snapshot((policy(old, new), policy(other, name="q", model="other", allow_pin=True))))
    assert running.client.ask("m").text == "new"
    assert running.client.ask("other").text == "other"
    running.change(Snapshot((policy(other, name="q", model="m"),)))
    assert running.client.ask("m").text == "other"
    assert running.envoy.listen_address == before
    clusters = running.envoy.ask("/clusters")[1].decode()
    assert "q/v0::" in clusters
    assert "p/v0::" not in clusters


def _longer_than(statuses: list[int], length: int) -> bool:
    return len(statuses) > length


def test_no_request_is_lost_while_policies_change(servers: Servers, live: Callable[[Snapshot], Live]) -> None:
    one, two = servers("one", "two")
    views = [Snapshot((policy(one),)), Snapshot((policy(two, name="q", model="m"),))]
    running = live(views[0])
    statuses: list[int] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            statuses.append(running.client.ask("m").status)

    client = threading.Thread(target=ask)
    client.start()
    for turn in range(10):
        running.change(views[(turn + 1) % 2])
        seen = len(statuses)
        until(partial(_longer_than, statuses, seen + 3))
    done.set()
    client.join()
    assert set(statuses) == {200}
    assert one.seen
    assert two.seen


def test_what_envoy_rejects_changes_nothing(servers: Servers, live: Callable[[Snapshot], Live]) -> None:
    (server,) = servers("v0")
    running = live(Snapshot((policy(server),)))
    bad = Snapshot((Policy("bad", host="127.0.0.1", models=("m",), retry_budget=RetryBudget(0.1, -1)),))
    with pytest.raises(SetupError, match=r"refuses the policy's clusters: .*min_retry_concurrency"):
        running.change(bad)
    assert running.client.ask("m").text == "v0"
    running.change(Snapshot((policy(server, name="good"),)))
    assert running.client.ask("m").text == "v0"


def test_open_requests_finish_and_new_ones_are_refused(servers: Servers, live: Callable[[Snapshot], Live]) -> None:
    (server,) = servers("v0")
    going, released = threading.Event(), threading.Event()

    def slow(request: Handler) -> None:
        going.set()
        released.wait(10)
        request.send_response(200)
        request.send_header("content-length", "4")
        request.end_headers()
        request.wfile.write(b"done")

    server.then = slow
    running = live(Snapshot((policy(server),)))
    host, _, port = running.envoy.listen_address.rpartition(":")
    answers: list[str] = []
    client = threading.Thread(target=lambda: answers.append(running.client.ask("m").text))
    client.start()
    assert going.wait(10)
    stopping = threading.Thread(target=running.stop, args=(10,))
    stopping.start()

    def refused() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((host, int(port))) != 0

    until(refused)
    assert running.envoy.child.alive
    released.set()
    client.join(10)
    stopping.join(10)
    assert answers == ["done"]
    assert not running.envoy.child.alive


def test_draining_has_an_end(servers: Servers, live: Callable[[Snapshot], Live]) -> None:
    (server,) = servers("v0")
    going, released = threading.Event(), threading.Event()

    def slow(_: Handler) -> None:
        going.set()
        released.wait(10)

    server.then = slow
    running = live(Snapshot((policy(server),)))
    errors: list[str] = []

    def ask() -> None:
        try:
            errors.append(str(running.client.ask("m").status))
        except OSError as error:
            errors.append(type(error).__name__)

    client = threading.Thread(target=ask)
    client.start()
    assert going.wait(10)
    running.stop(0.3)
    client.join(10)
    released.set()
    assert not running.envoy.child.alive
    assert len(errors) == 1


@pytest.mark.parametrize("path", ["/quitquitquit", "/drain_listeners", "/healthcheck/fail", "/logging?level=trace"])
def test_no_page_in_a_browser_changes_envoy(path: str, servers: Servers, live: Callable[[Snapshot], Live]) -> None:
    (server,) = servers("v0")
    running = live(Snapshot((policy(server),)))
    connection = http.client.HTTPConnection(running.envoy.admin_address, timeout=5)
    connection.request("POST", path, headers={"origin": "http://evil.example"})
    assert connection.getresponse().status == 403
    connection.close()
    assert running.client.ask("m").text == "v0"


def test_a_bad_document_is_told_with_envoys_own_words(tmp_path: Path) -> None:
    document = bootstrap(Snapshot(), EnvoyOptions(listen="127.0.0.1:0", admin="127.0.0.1:0")) | {"nonsense": 1}
    with Envoy(document, tmp_path) as envoy, pytest.raises(SetupError, match="nonsense"):
        envoy.wait_ready()


ORPHAN = """
import sys
from functools import partial
from pathlib import Path
from extproc.gateway.envoy_process import Envoy
from extproc.render.envoy.bootstrap import EnvoyOptions, bootstrap
from extproc.policy.snapshot import Snapshot
document = bootstrap(Snapshot(), EnvoyOptions(listen="127.0.0.1:0", admin="127.0.0.1:0", access_log=""))
envoy = Envoy(document, Path(sys.argv[1]))
envoy.wait_ready()
print(envoy.child.process.pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("setpriv", [True, False])
def test_envoy_dies_with_us_even_if_we_are_killed(setpriv: bool, tmp_path: Path) -> None:
    code = textwrap.dedent(ORPHAN)
    if not setpriv:
        code = "import shutil; shutil.which = lambda _: None\n" + code
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        os.kill(pid, 0)
        parent.kill()
        parent.wait()
    until(lambda: _gone(pid))


def _gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state in "ZX"  # dead, if nobody has buried it yet
