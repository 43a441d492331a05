"""Whatever the policies and the request: the HTTPRoutes lead to where the processor's headers say."""

from __future__ import annotations

from itertools import islice

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from linkerd_adapter import plan, route_selection
from linkerd_adapter.names import Service
from linkerd_adapter.policy_controller import Cluster
from linkerd_adapter.routes import http_routes

from extproc.bodies.request import InferenceRequest
from extproc.errors import Rejected
from extproc.headers import Headers
from extproc.policy.decision import decide
from extproc.policy.gpu import Requirement, describe
from extproc.policy.snapshot import GpuPool, Policy, Snapshot, Version

POOLS = (
    GpuPool("a100", describe("NVIDIA-A100-SXM4-80GB")),
    GpuPool("h100", describe("NVIDIA-H100-80GB-HBM3"), ("10.0.0.1:80",)),
)
PATTERNS = ["a", "ab", "a*", "*b", "a*b", "*", "a.b", "a|b", "[ab]*", "(a", "ä*", "%61", "A", "a b"]
MODELS = st.sampled_from(["a", "ab", "aab", "a.b", "axb", "a|b", "[ab]", "(a", "ä", "%61", "A", "a b", "b", "none"])
VERSIONS = st.builds(
    Version,
    st.sampled_from(["v1", "v2", "V2", "v.1"]),
    st.integers(1, 3),
    st.sampled_from([(), ("10.0.0.2:80",), ("10.0.0.1:80", "other.ns.svc:80")]),
    gpu_pools=st.none() | st.just(("h100",)),
)
POLICIES = st.builds(
    Policy,
    st.sampled_from(["p", "q", "r", "s"]),
    st.just("ai"),
    st.just((("app", "x"),)),
    st.sampled_from(["one", "one", "one", "two"]),
    versions=st.lists(VERSIONS, max_size=2, unique_by=lambda v: v.name).map(tuple),
    gpu=st.none() | st.just(Requirement()),
    allow_pin=st.booleans(),
)


@st.composite
def views(draw: st.DrawFn) -> Snapshot:
    """Each pattern has one owner."""
    policies = draw(st.lists(POLICIES, min_size=1, max_size=4, unique_by=lambda p: p.name))
    patterns = iter(draw(st.permutations(PATTERNS)))
    owned = [tuple(islice(patterns, draw(st.integers(1, 3)))) for _ in policies]
    pairs = zip(policies, owned, strict=True)
    return Snapshot(tuple(msgspec.structs.replace(policy, models=models) for policy, models in pairs), POOLS)


@given(views(), MODELS, st.sampled_from(["", "v1", "V2", "7"]), st.binary(max_size=4))
def test_routes_follow_the_decision(snapshot: Snapshot, model: str, version: str, entropy: bytes) -> None:
    """``version``: as the request's path may name it. Where nobody owns the model, the weights of some policy."""
    try:
        decision = decide(InferenceRequest("oip", "infer", model, version), Headers(), snapshot, entropy)
    except Rejected:
        return
    made = plan.make(snapshot, "ai")
    apexes = [made.apex_of(decision.policy)] if decision.policy else made.apexes
    for apex in apexes:
        cluster = Cluster(http_routes(snapshot, made, apex), live=False)
        routes, ignored = cluster.routes(apex.service, apex.port, "ai")
        assert not ignored
        found = route_selection.select(routes, route_selection.Request("POST", "/", Headers.of(decision.headers())))
        if decision.policy is None:
            continue
        assert found is not None
        chosen = decision.version if decision.policy.versions else ""
        wanted = {
            (backend.service, backend.port)
            for place in made.places[decision.policy.name]
            if (place.target.version, place.target.pool) == (chosen, decision.pool)
            for backend in place.backends
        }
        reached = {(Service(b.namespace, b.name), b.port) for b in found.rule.backends}
        assert wanted
        assert reached == wanted
