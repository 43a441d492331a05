"""What is compared: the same Envoy and the same requests, with different filters and processors."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import msgspec

from benchmarks import ours
from benchmarks.mesh.load import Workload
from extproc.policy.snapshot import Snapshot
from extproc.policyfile.loader import PolicyTexts, build
from extproc.render.envoy.bootstrap import bootstrap
from extproc.render.envoy.envoy_options import Body, EnvoyOptions, typed

Doc = dict[str, Any]

GO = Path(__file__).parents[1] / "peers" / "go-extproc"

POLICY = """\
apiVersion: ai.istio.io/v1alpha1
kind: ModelInferencePolicy
metadata: {name: bench}
spec:
  host: llama
  models: [llama-3-8b]
  versions:
  - {name: v1, weight: 90, endpoints: ["UPSTREAM"]}
  - {name: v2, weight: 10, endpoints: ["UPSTREAM"]}
  sticky: {header: x-user-id}
"""


PICKED = 16
"""Servers of a version where one is picked."""


def example_snapshot(upstream: str, observability: str = "", *, picking: bool = False) -> Snapshot:
    """The policy above, for rendering."""
    return build(PolicyTexts((("bench.yaml", _policy(upstream, observability, picking=picking)),))).snapshot


def _policy(upstream: str, observability: str, *, picking: bool) -> str:
    found = POLICY.replace("UPSTREAM", upstream)
    if picking:
        port = upstream.rpartition(":")[2]
        servers = '", "'.join(f"127.0.0.{number}:{port}" for number in range(1, PICKED + 1))
        found = f"{POLICY.replace('UPSTREAM', servers)}  picking: {{by: prefix}}\n"
    return f"{found}  observability: {observability}\n" if observability else found


class Scenario(msgspec.Struct, frozen=True):
    """One way to run Envoy. ``processor`` gives the command for an address; None: nothing but Envoy."""

    name: str
    processor: Callable[[Path, str], list[str]] | None = None
    processors: int = 1
    body: Body = "streamed"
    observe: bool = False
    account: bool = False
    """Envoy's access log tells the processor of every request."""
    observability: str = ""
    """The policy's, as YAML; empty: its default."""
    filters: Callable[[list[Doc]], list[Doc]] | None = None
    """What to make of the rendered HTTP filters."""
    edit: Callable[[Doc], None] | None = None
    """Changes the whole bootstrap."""
    decides: bool = True
    """Its processor sets ``x-model-version``, and the answer tells it."""
    listens: Literal["socket", "port"] = "socket"
    """Where its processors listen."""
    only: str = ""
    """``body`` or ``path``: the workloads for which it makes sense; empty: all."""
    streams: bool = True
    """Whether it is asked for streams: not where it looks at no answer, and streams only cost more to measure."""
    picking: bool = False
    """One of ``PICKED`` servers of a version is picked, which are one by several addresses."""
    policies: int = 1
    """How many the processor has: all but one own models that nobody asks for."""

    def does(self, workload: Workload) -> bool:
        """Whether it makes sense with this workload."""
        answers = self.streams or workload.answer != "streamed"
        return answers and self.only in ("", "body" if workload.body else "path")

    def policy(self, upstream: str) -> str:
        """The policy file of its processors."""
        mine = _policy(upstream, self.observability, picking=self.picking)
        others = (mine.replace("bench", f"other-{n}").replace("3-8b", f"other-{n}") for n in range(1, self.policies))
        return "---\n".join([*others, mine])

    def document(self, options: EnvoyOptions, upstream: str) -> Doc:
        """The bootstrap of its Envoy."""
        snapshot = example_snapshot(upstream, self.observability, picking=self.picking)
        found = bootstrap(snapshot, msgspec.structs.replace(options, body=self.body, observe=self.observe))
        manager = found["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
        if not self.account:
            del manager["access_log"]
        if self.filters is not None:
            manager["http_filters"] = self.filters(manager["http_filters"])
        if self.edit is not None:
            self.edit(found)
        return found


def serve(*options: str, written: bool = False, root: Path = ours.ROOT) -> Callable[[Path, str], list[str]]:
    """The command that starts our processor with these options, for a policy file and an address."""

    def command(policy: Path, listen: str) -> list[str]:
        serve = [*ours.command(written=written, root=root), "serve", "-f", str(policy), "--listen", listen]
        return [*serve, "--admin", "127.0.0.1:0", "--drain", "0", *options]

    return command


def peer(binary: Path, *options: str) -> Callable[[Path, str], list[str]]:
    """The same for the Go peer."""
    return lambda _, listen: [str(binary), "-listen", listen.removeprefix("unix://"), *options]


def router_only(filters: list[Doc]) -> list[Doc]:
    """No filters but the last."""
    return filters[-1:]


def native(filters: list[Doc]) -> list[Doc]:
    """Envoy reads the model from the body and sets the header itself; no version, no canary, no re-routing."""
    value = {"metadata_namespace": "bench", "key": "model"}
    rule = {"selectors": [{"key": "model"}], "on_present": value}
    read = typed(
        "envoy.filters.http.json_to_metadata",
        "extensions.filters.http.json_to_metadata.v3.JsonToMetadata",
        request_rules={"rules": [rule]},
    )
    header = {"header": {"key": "x-model-name", "value": "%DYNAMIC_METADATA(bench:model)%"}}
    write = typed(
        "envoy.filters.http.header_mutation",
        "extensions.filters.http.header_mutation.v3.HeaderMutation",
        mutations={"request_mutations": [{"append": {**header, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}}]},
    )
    return [read, write, *filters[-1:]]


def native_path(filters: list[Doc]) -> list[Doc]:
    """The same where the path names the model."""
    pattern = {"pattern": {"regex": "^/v2/models/([^/]+)/.*"}, "substitution": "\\1"}
    value = {"metadata_namespace": "bench", "key": "model", "regex_value_rewrite": pattern}
    read = typed(
        "envoy.filters.http.header_to_metadata",
        "extensions.filters.http.header_to_metadata.v3.Config",
        request_rules=[{"header": ":path", "on_header_present": value}],
    )
    return [read, *native(filters)[1:]]


_LUA = """
function envoy_on_request(handle)
  local model = handle:headers():get(':path'):match('^/v2/models/([^/]+)/')
  if not model then
    local body = handle:body()
    model = body and body:getBytes(0, body:length()):match('"model"%s*:%s*"([^"]*)"')
  end
  if model then
    handle:headers():replace("x-model-name", model)
    handle:headers():replace("x-model-version", "v1")
    handle:clearRouteCache()
  end
end
"""


def lua(filters: list[Doc]) -> list[Doc]:
    """The same in Lua, which also picks a route; no version, no canary."""
    source = {"inline_string": _LUA}
    script = typed("envoy.filters.http.lua", "extensions.filters.http.lua.v3.Lua", default_source_code=source)
    return [script, *filters[-1:]]


OURS = "ours, streamed"
WRITTEN = "ours, streamed, not compiled"
AIO = "ours on grpc.aio"
GO_PEER = "Go, streamed"
GO_REPLY = "Go, streamed, with our reply"
ACCOUNTED = "ours, streamed + account"
SAMPLED = "ours, streamed + observe + account"
BUFFERED = "ours, buffered"
GO_BUFFERED = "Go, buffered"
BASELINE = "no filter"


def build_go(directory: Path) -> Path | str:
    """The Go peer's binary, or why there is none."""
    go = shutil.which("go")
    if go is None:
        return "no go on this machine"
    binary = directory / "go-extproc"
    built = subprocess.run([go, "build", "-o", str(binary), "."], cwd=GO, capture_output=True, text=True, check=False)
    return binary if built.returncode == 0 else f"go build failed: {built.stderr.strip()[-500:]}"


def scenarios(go: Path | None) -> list[Scenario]:
    """Everything that is compared, the baseline first."""
    found = [
        Scenario(BASELINE, filters=router_only),
        Scenario("Envoy json_to_metadata", filters=native, only="body"),
        Scenario("Envoy Lua", filters=lua),
        Scenario(OURS, serve()),
        Scenario(WRITTEN, serve(written=True)),
        Scenario(BUFFERED, serve(), body="buffered", only="body"),
        Scenario("ours, native", serve(), body="native", only="body"),
        Scenario(ACCOUNTED, serve(), account=True),
        Scenario("ours, streamed + observe", serve(), observe=True),
        Scenario(SAMPLED, serve(), observe=True, account=True),
        Scenario("ours, two processors", serve(), processors=2),
        Scenario(AIO, serve("--engine", "aio")),
    ]
    if go is not None:
        found.append(Scenario(GO_PEER, peer(go)))
        found.append(Scenario(GO_REPLY, peer(go, "-metadata")))
        found.append(Scenario(GO_BUFFERED, peer(go), body="buffered", only="body"))
    return found
