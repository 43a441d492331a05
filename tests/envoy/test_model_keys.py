"""Keys of model servers: who gets them, and that nothing tells them."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from extproc.cli.main import main
from extproc.gateway.free_ports import free_addresses
from extproc.policy.snapshot import Policy, Snapshot, Version
from extproc.policy.upstream import Credentials, Upstream
from extproc.render.envoy.credentials import CLIENT_CREDENTIALS
from tests.otlp.receiver import Receiver, receiving
from tests.waiting import until

from .conftest import Gateway, ModelServer, Processor, say
from .test_up import POLICY, Up, up  # noqa: F401 - a fixture

pytestmark = pytest.mark.envoy

Servers = Callable[..., list[ModelServer]]
QUERIES = {
    "?alt=sse&key=K&z=1": "?alt=sse&z=1",
    "?key=K": "",
    "?KEY=K&%6bey=K&api%2Dkey=K&Api-Key=K&access_token=K": "",
    "?X-Amz-Credential=K&X-Amz-Signature=K&a": "?a",
    "?a=%26key%3DK%20x+%2B&keys=1&b=%0d%0aX:%20y&key=K&a=2": "?a=%26key%3DK%20x+%2B&keys=1&b=%0d%0aX:%20y&a=2",
    "?a=%zz%&&b?key=c": "?a=%zz%&b?key=c",
    "?": "",
}
"""What of a query reaches a server with a key of ours."""
ADMIN = ("/metrics", "/live", "/", "/nothing", "/rollouts", "/evidence", "/recent", "/healthz", "/readyz", "/explain")
ENVOYS_ADMIN = (
    *("/stats", "/stats/prometheus", "/clusters", "/clusters?format=json", "/certs", "/listeners", "/server_info"),
    *("/runtime", "/contention", "/memory", "/init_dump", "/stats/recentlookups", "/help"),
)
KEY, NEXT_KEY, CLIENTS = "sk-first-0123456789", "sk-second-987654321", "client-key-13579"


def test_only_the_server_that_it_is_for_gets_a_key(
    servers: Servers, processor: Callable[..., Processor], gateway: Callable[..., Gateway], tmp_path: Path
) -> None:
    """Each of three versions by itself, and a mirror; Envoy reads the file itself here, and drops the newline."""
    one, two, three, copy = servers("one", "two", "three", "copy")
    (tmp_path / "key").write_text(f"{KEY}\n")
    file = str(tmp_path / "key")
    versions = (
        Version("v1", 1, (one.address,), upstream=Upstream(credentials=Credentials(file, prefix="Bearer "))),
        Version("v2", 0, (two.address,), upstream=Upstream(credentials=Credentials(file, "x-api-key"))),
        Version("v3", 0, (three.address,)),
        Version("m", 0, (copy.address,), mirror=100),
    )
    snapshot = Snapshot((Policy("chat", models=("llama",), versions=versions, allow_pin=True),))
    running = gateway(snapshot, processor(snapshot).address)
    for version in ("v1", "v2", "v3"):
        headers = {"authorization": CLIENTS, "x_api_key": CLIENTS, "x_model_version": version}
        answer = running.post({"model": "llama"}, f"/v1/chat/completions?key={CLIENTS}", **headers)
        assert answer.headers["x-model-version"] == version
    keys = [
        {name: seen.headers.get(name) for name in ("authorization", "x-api-key")}
        for server in (one, two, three)
        for seen in server.seen
    ]
    assert keys == [
        {"authorization": f"Bearer {KEY}", "x-api-key": None},
        {"authorization": None, "x-api-key": KEY},
        {"authorization": CLIENTS, "x-api-key": CLIENTS},
    ]
    until(lambda: len(copy.seen) == 3)
    assert {seen.headers["authorization"] for seen in copy.seen} == {CLIENTS}
    assert [server.seen[-1].path.partition("?")[2] for server in (one, two, three, copy)] == [
        *("", ""),
        *(f"key={CLIENTS}", f"key={CLIENTS}"),
    ]


def test_clients_keys_and_other_paths_do_not_reach_a_server_with_a_key(
    servers: Servers, processor: Callable[..., Processor], gateway: Callable[..., Gateway], tmp_path: Path
) -> None:
    """Whatever the headers in which clients send theirs; known APIs reach it, anything else is refused."""
    (one,) = servers("one")
    key = tmp_path / "key"
    key.write_text(f"{KEY}\n")
    version = Version("v1", 1, (one.address,), upstream=Upstream(credentials=Credentials(str(key), prefix="Bearer ")))
    snapshot = Snapshot((Policy("chat", versions=(version,)),))
    running = gateway(snapshot, processor(snapshot).address, message_timeout=20.0)
    protocols = f"realtime, openai-insecure-api-key.{CLIENTS}, openai-beta.realtime-v1"
    headers = {name.replace("-", "_"): CLIENTS for name in CLIENT_CREDENTIALS}
    assert running.ask("llama", sec_websocket_protocol=protocols, **headers).status == 200
    assert CLIENTS not in str(one.seen[-1].headers)
    assert one.seen[-1].headers["authorization"] == f"Bearer {KEY}"
    assert one.seen[-1].headers["sec-websocket-protocol"] == "realtime"
    assert running.ask("llama", sec_websocket_protocol="realtime, other").status == 200
    assert one.seen[-1].headers["sec-websocket-protocol"] == "realtime, other"
    for query, left in QUERIES.items():
        assert running.post({"model": "llama"}, f"/v1/chat/completions{query}").status == 200
        assert one.seen[-1].path == f"/v1/chat/completions{left}", query
    seen = len(one.seen)
    anywhere = {"serve_multiplexed_model_id": "llama"}  # Ray Serve's: the path may be any
    for path, more in (("/v1/organization/admin_api_keys", {}), ("/metrics", {}), ("/anything", anywhere)):
        refused = running.post({}, path, **more)
        assert (refused.status, refused.error["code"]) == (404, "unknown_path")
    assert len(one.seen) == seen


def test_without_a_processor_nothing_reaches_a_server_with_a_key(
    servers: Servers, gateway: Callable[..., Gateway], tmp_path: Path
) -> None:
    """Whatever the path: nobody is there to refuse it. Other policies' servers get what they get without keys."""
    keyed, copy, plain = servers("keyed", "copy", "plain")
    (tmp_path / "key").write_text(f"{KEY}\n")
    upstream = Upstream(credentials=Credentials(str(tmp_path / "key"), prefix="Bearer "))
    mirror = Version("m", 0, (copy.address,), mirror=100, upstream=upstream)
    chat = Policy("chat", models=("llama",), versions=(Version("v1", 1, (keyed.address,), upstream=upstream),))
    mirrored = Policy("mirrored", models=("m",), versions=(Version("v1", 1, (plain.address,)), mirror))
    other = Policy("other", models=("o",), versions=(Version("v1", 1, (plain.address,)),))
    (nobody,) = free_addresses(1)
    for policies in ((chat, other), (mirrored, other)):
        closed = gateway(Snapshot(policies), nobody)
        for path in ("/v1/chat/completions", "/v1/organization/admin_api_keys"):
            refused = closed.post({"model": "llama"}, path)
            assert (refused.status, refused.error["code"]) == (503, "no_processor")
    assert not [*keyed.seen, *copy.seen, *plain.seen]
    assert gateway(Snapshot((other, chat)), nobody).ask("llama").text == "plain"


def test_a_request_with_a_body_asks_for_no_websocket(
    servers: Servers, processor: Callable[..., Processor], gateway: Callable[..., Gateway]
) -> None:
    """Its body would never end: Envoy answers at once, and nothing is held."""
    (one,) = servers("one")
    snapshot = Snapshot((Policy("chat", versions=(Version("v1", 1, (one.address,)),)),))
    started = processor(snapshot)
    for body in ("buffered", "streamed", "native"):
        running = gateway(snapshot, started.address, body=body)
        answer = running.ask("llama", connection="upgrade", upgrade="WebSocket")
        assert answer.status == 403
    assert not one.seen
    assert started.metrics.streams == 0


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


def tapped(address: str, running: Up) -> str:
    """What `/tap` says of a request."""
    connection = http.client.HTTPConnection(address, timeout=20)
    try:
        connection.request("GET", "/tap")
        response = connection.getresponse()
        running.ask()
        lines = [response.readline().decode()]
        while '"v1"' not in lines[-1]:
            lines.append(response.readline().decode())
        return "".join(lines)
    finally:
        connection.close()


def get(address: str, path: str) -> str:
    """Head and body of the answer."""
    connection = http.client.HTTPConnection(address, timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return f"{response.headers}\n{response.read().decode(errors='replace')}"
    finally:
        connection.close()


def said_by_commands(policy: Path, admin: str, envoy: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What every command prints of the policy, of the processor and of Envoy."""
    file, asks = ("-f", str(policy)), ("--path", "/v1/chat/completions", "--body", '{"model": "llama"}')
    commands = [
        *(("check", *file), ("check", *file, "--json"), ("explain", *file, *asks), ("render", "envoy", *file)),
        *(("render", "istio", *file), ("render", "rules", *file), ("render", "dashboard", *file)),
        *(
            (name, "--from", f"http://{admin}", *json)
            for name in ("stat", "edges", "pools")
            for json in ((), ("--json",))
        ),
        ("doctor", "--envoy-admin", f"http://{envoy}", "--from", f"http://{admin}", *file),
    ]
    found = []
    for command in commands:
        main(command)
        out, err = capsys.readouterr()
        assert out or err, command
        found.append(out + err)
    return found


def test_a_key_is_renewed_without_a_restart_and_told_nowhere(
    up: Callable[..., Up],  # noqa: F811
    servers: Servers,
    tmp_path: Path,
    receiver: Receiver,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (one,) = servers("one")
    key, log = tmp_path / "key", tmp_path / "access.json"
    key.write_text(f"{KEY}\n")
    version = f'{{name: v1, endpoints: ["{one.address}"], credentials: {{file: {key}}}}}'
    flags = ("--access-log", str(log), "--otlp", receiver.url)
    running = up(POLICY.format() + f"  - {version}\n", *flags)
    until(running.ready, 30)
    assert running.ask() == ("v1", "one")
    assert one.seen[-1].headers["authorization"] == f"Bearer {KEY}"
    before = running.children()
    key.write_text(f"{NEXT_KEY}\n")

    def asked() -> str:
        running.ask()
        return one.seen[-1].headers["authorization"]

    until(lambda: asked() == f"Bearer {NEXT_KEY}", 30)
    assert running.children() == before
    key.write_text("")
    until(lambda: running.has_said("does not hold a key"), 30)
    assert asked() == f"Bearer {NEXT_KEY}"
    until(lambda: log.exists() and log.read_text())
    (directory,) = running.scratch.iterdir()
    admin, envoy = f"127.0.0.1:{running.admin}", (directory / "admin.txt").read_text().strip()
    config = json.loads(get(admin, "/config").partition("\n\n")[2])
    assert config["policies"][0]["versions"][0]["credentials"] == {
        "header": "authorization",
        "prefix": "Bearer ",
        "file": str(key),
    }
    dump = get(envoy, "/config_dump?include_eds")
    assert "[redacted]" in dump
    assert '"v1"' in get(admin, "/live")
    pages = [dump, json.dumps(config), *(get(admin, path) for path in ADMIN)]
    pages += [get(envoy, path) for path in ENVOYS_ADMIN]
    commands = said_by_commands(tmp_path / "policy.yaml", admin, envoy, capsys)
    until(receiver.spans)
    one.then = say(b"no", 500)
    refused = http.client.HTTPConnection(f"127.0.0.1:{running.port}", timeout=10)
    refused.request("POST", "/v1/chat/completions", '{"model": "llama", "model": "llama"}')
    answer = refused.getresponse()
    assert answer.status == 400
    told = [
        *pages,
        *commands,
        f"{answer.headers} {answer.read().decode()}",
        tapped(admin, running),
        str(receiver.spans()),
        running.ask()[1],
        running.said(),
        log.read_text(),
    ]
    refused.close()
    assert not [text for text in told if KEY in text or NEXT_KEY in text]
    # Nor where whoever can read files finds it, but for the copy that Envoy reads, which is its user's alone.
    left = [path for path in running.scratch.rglob("*") if path.is_file() and NEXT_KEY.encode() in path.read_bytes()]
    assert left
    assert all(path.stat().st_mode & 0o077 == 0 or path.parent.stat().st_mode & 0o077 == 0 for path in left)
