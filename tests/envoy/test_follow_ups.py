"""What follows a request goes where the request went: by the tag in a session's id, else by the sticky key.

Model servers keep what they made in their own memory and know nothing of each other, as vLLM and MCP servers do. Two
processors, one of which stops and is started anew, decide alike.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from itertools import count

import pytest

from extproc.policy.session_tag import CALL, MCP, session_tag
from extproc.policy.snapshot import Policy, Snapshot, Sticky, Version
from extproc.render.envoy.envoy_options import PROCESSOR
from tests.waiting import until

from .conftest import Gateway, Handler, ModelServer, Processor, Response

pytestmark = pytest.mark.envoy

Servers = Callable[..., list[ModelServer]]
Start = Callable[..., Gateway]
Process = Callable[..., Processor]
MADE = {
    "/v1/responses": {"model": "m", "input": "x"},
    "/v1/conversations": {},
    "/v1/files": {},
    "/v1/batches": {"input_file_id": "f"},
    "/v1/threads": {},
    "/v1/messages/batches": {"requests": []},
    "/async-invoke": {"modelId": "m"},
    "/v1/assistants": {"model": "m"},
}

PREFIXES = tuple(f"/tools/{number}" for number in range(5))
PATHS = ("/mcp", *(f"{prefix}/mcp" for prefix in PREFIXES))
KEYS = (b"k" * 32,)


class Keeper:
    """An answer for a model server that keeps objects and sessions: unknown ids are 404."""

    def __init__(self, server: ModelServer) -> None:
        self.name, self.kept, self._numbers = server.address, set[str](), count()
        server.then = self.answer

    def answer(self, request: Handler) -> None:
        path, headers = request.path.partition("?")[0], {k.lower(): v for k, v in request.headers.items()}
        if path in PATHS:
            self._session(request, headers.get("mcp-session-id"))
        elif path == "/v1/realtime/calls":
            self._say(request, 201, location=f"{path}/{self._new()}")
        elif path in MADE and request.command == "POST":
            self._say(request, 200, self._new())
        else:
            known = [part for part in path.split("/") if part in self.kept]
            self._say(request, 200 if known else 404)

    def _session(self, request: Handler, session: str | None) -> None:
        if session is None:
            self._say(request, 200, mcp_session_id=self._new())
        else:
            self._say(request, 200 if session in self.kept else 404, mcp_session_id=session)

    def _new(self) -> str:
        name = f"id-{self.name.rpartition(':')[2]}-{next(self._numbers)}"
        self.kept.add(name)
        return name

    def _say(self, request: Handler, status: int, made: str = "", **headers: str) -> None:
        text = json.dumps({"id": made, "server": self.name}).encode()
        request.send_response(status)
        for name, value in {**headers, "content_length": str(len(text))}.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        request.wfile.write(text)


def two_by_two(servers: Servers, sticky: Sticky | None = None, models: tuple[str, ...] = ("*",)) -> Snapshot:
    """Two versions of two servers each."""
    started = servers("a", "b", "c", "d")
    addresses = [Keeper(server).name for server in started]
    versions = Version("v1", 1, tuple(addresses[:2])), Version("v2", 1, tuple(addresses[2:]))
    policy = Policy("p", models=models, versions=versions, sticky=sticky, path_prefixes=PREFIXES)
    return Snapshot((policy,), session_keys=KEYS)


def call(gateway: Gateway, method: str, path: str, body: object = None, **headers: str) -> Response:
    connection = gateway.open()
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    text = None if body is None else json.dumps(body).encode()
    connection.request(method, path, text, {"content-type": "application/json", **names})
    response = connection.getresponse()
    found = Response(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
    connection.close()
    return found


def rpc(method: str, **params: object) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


def test_mcp_sessions_stay_at_their_server(servers: Servers, processor: Process, gateway: Start) -> None:
    """Whatever tool is called, also one that another policy owns; whichever processor decides, or one started anew."""
    snapshot = two_by_two(servers)
    (other,) = servers("other")
    tools = Policy("tools", models=("search",), versions=(Version("v1", 1, (other.address,)),))
    snapshot = Snapshot((*snapshot.policies, tools), session_keys=KEYS)
    first, second = processor(snapshot), processor(snapshot)
    envoy = gateway(snapshot, first.address, second.address, message_timeout=20.0)
    opened = {path: call(envoy, "POST", path, rpc("initialize")) for path in PATHS}
    sessions = [(path, answer.headers["mcp-session-id"]) for path, answer in opened.items()]
    homes = [json.loads(answer.body)["server"] for answer in opened.values()]

    def follow() -> list[tuple[int, str, bool]]:
        found = []
        for (path, session), home in zip(sessions, homes, strict=True):
            for method, body in (
                ("POST", rpc("tools/call", name="search")),
                ("POST", rpc("ping")),
                ("GET", None),
                ("DELETE", None),
            ):
                answer = call(envoy, method, path, body, mcp_session_id=session)
                assert answer.headers["mcp-session-id"] == session
                found.append((answer.status, home, json.loads(answer.body)["server"] == home))
        return found

    right = [(200, home, True) for home in homes for _ in range(4)]
    assert follow() == right
    address = first.address
    first.stop()
    assert follow() == right
    processor(snapshot, address)
    healthy = f"cluster.{PROCESSOR}.membership_healthy: 2".encode()
    until(lambda: healthy in envoy.envoy.ask("/stats?filter=membership_healthy")[1])
    second.stop()
    assert follow() == right
    assert len(set(homes)) > 1


def test_without_a_processor_ids_are_still_the_servers_own(
    servers: Servers, processor: Process, gateway: Start
) -> None:
    (only,) = servers("only")
    keeper = Keeper(only)
    snapshot = Snapshot((Policy("p", models=("m",), versions=(Version("v1", 1, (keeper.name,)),)),), session_keys=KEYS)
    started = processor(snapshot)
    envoy = gateway(snapshot, started.address)
    session = call(envoy, "POST", "/mcp", rpc("initialize")).headers["mcp-session-id"]
    started.stop()
    assert call(envoy, "GET", "/mcp", mcp_session_id=session).status == 200
    assert only.seen[-1].headers["mcp-session-id"] in keeper.kept
    assert session not in keeper.kept


def test_a_server_without_sessions_gets_none(servers: Servers, processor: Process, gateway: Start) -> None:
    (only,) = servers("only")
    snapshot = Snapshot((Policy("p", versions=(Version("v1", 1, (only.address,)),)),), session_keys=KEYS)
    envoy = gateway(snapshot, processor(snapshot).address)
    answer = call(envoy, "POST", "/mcp", rpc("initialize"))
    assert "mcp-session-id" not in answer.headers
    assert "mcp-session-id" not in only.seen[-1].headers
    call(envoy, "GET", "/mcp", mcp_session_id="their-own")
    assert only.seen[-1].headers["mcp-session-id"] == "their-own"


def test_realtime_calls_stay_at_their_server(servers: Servers, processor: Process, gateway: Start) -> None:
    snapshot = two_by_two(servers)
    envoy = gateway(snapshot, processor(snapshot).address, processor(snapshot).address)
    for _ in range(6):
        made = call(envoy, "POST", "/v1/realtime/calls?model=m", {})
        assert made.status == 201
        where = made.headers["location"]
        ended = call(envoy, "POST", f"{where}/hangup", {})
        assert (ended.status, json.loads(ended.body)["server"]) == (200, json.loads(made.body)["server"])


def test_what_is_kept_is_found_by_the_sticky_key(servers: Servers, processor: Process, gateway: Start) -> None:
    """Eight objects of each of eight users, also where no policy owns ``*``; on two processors, and on one."""
    snapshot = two_by_two(servers, Sticky(header="x-user-id"), ("m",))
    first, second = processor(snapshot), processor(snapshot)
    envoy = gateway(snapshot, first.address, second.address)
    users = [f"user-{number}" for number in range(8)]
    made = {
        (user, path): json.loads(call(envoy, "POST", path, body, x_user_id=user).body)["id"]
        for user in users
        for path, body in MADE.items()
    }

    def found() -> Counter[tuple[str, int]]:
        return Counter(
            (path, call(envoy, "GET", f"{path}/{name}", x_user_id=user).status) for (user, path), name in made.items()
        )

    right = Counter({(path, 200): 8 for path in MADE})
    assert found() == right
    first.stop()
    assert found() == right
    assert {
        call(envoy, "POST", f"/v1/responses/{made[user, '/v1/responses']}/cancel", {}, x_user_id=user).status
        for user in users
    } == {200}
    assert len({name.split("-")[1] for name in made.values()}) > 2  # users are spread over versions and servers


def test_a_tag_leads_nowhere_but_to_its_session(servers: Servers, processor: Process, gateway: Start) -> None:
    """With a tag that is right, one that is guessed, and one of a server whose version gets nothing any more."""
    one, two = servers("one", "two")
    versions = Version("v1", 1, (one.address,)), Version("v2", 0, (two.address,))
    snapshot = Snapshot((Policy("p", models=("m",), versions=versions, reject_unowned=True),), session_keys=KEYS)
    envoy = gateway(snapshot, processor(snapshot).address, message_timeout=20.0)
    target = snapshot.targets["p", "v2"][0]
    right, of_call = (session_tag(KEYS[0], kind, target, two.address) for kind in (MCP, CALL))
    guessed = session_tag(b"guess", MCP, target, two.address)

    def answered(path: str, body: object, *sessions: str, method: str = "POST") -> str:
        connection = envoy.open()
        connection.putrequest(method, path)
        text = json.dumps(body).encode()
        fields = [("content-type", "application/json"), ("content-length", str(len(text)))]
        for name, value in (*fields, *(("mcp-session-id", session) for session in sessions)):
            connection.putheader(name, value)
        connection.endheaders(text)
        response = connection.getresponse()
        return response.read().decode() if response.status == 200 else str(response.status)

    ping, response = rpc("ping"), MADE["/v1/responses"]
    assert answered("/mcp", ping, f"id~{right}") == "two"
    assert answered("/mcp", ping, f"id~{guessed}") == "one"
    assert answered("/mcp", ping, f"id~{of_call}") == "one"
    assert answered("/mcp", rpc("initialize"), f"id~{right}") == "one"
    assert answered("/mcp", rpc("tools/call", name="nobodys"), f"id~{right}") == "404"
    assert answered("/v1/responses", response, f"id~{right}") == "one"
    assert answered(f"/v1/responses?x=~{of_call}", response) == "one"
    assert answered("/admin/keys/1", {}, f"id~{right}", method="DELETE") == "one"
    assert answered(f"/v1/..~{of_call}/admin", {}) == "one"
    assert one.seen[-1].path == f"/v1/..~{of_call}/admin"
    assert answered("/mcp", ping, f"a~{right}", f"b~{right}") == "one"
    assert answered("/mcp", ping, f"a~{guessed}~{right}") == "one"
    assert [seen.headers["mcp-session-id"] for seen in one.seen[-2:]] == ["a,b", "a"]
    assert answered(f"/v1/realtime/calls/rtc~{of_call}/hangup", {}) == "two"
    assert two.seen[-1].path == "/v1/realtime/calls/rtc/hangup"


def test_without_a_key_there_are_no_tags(servers: Servers, processor: Process, gateway: Start) -> None:
    (only,) = servers("only")
    keeper = Keeper(only)
    snapshot = Snapshot((Policy("p", versions=(Version("v1", 1, (keeper.name,)),)),))
    envoy = gateway(snapshot, processor(snapshot).address)
    assert call(envoy, "POST", "/mcp", rpc("initialize")).headers["mcp-session-id"] in keeper.kept
