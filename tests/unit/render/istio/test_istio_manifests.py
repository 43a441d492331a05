"""All manifests together: their order, their provenance, names that would clash, notes for the user."""

from __future__ import annotations

import pytest

from extproc.errors import SetupError
from extproc.policy.gpu import Gpu
from extproc.policy.gpu_pool import GpuPool
from extproc.policy.picking import Picking
from extproc.policy.rollout_plan import RolloutPlan
from extproc.policy.snapshot import Policy, RetryBudget, Snapshot, Version
from extproc.render.istio.istio_options import IstioOptions
from extproc.render.istio.manifests import documents, manifests, notes
from extproc.render.istio.provenance import ANNOTATION, annotation
from tests import fast_yaml
from tests.unit.render.snapshots import CANARY, PLAIN, policy


def kinds(snapshot: Snapshot, options: IstioOptions) -> list[str]:
    return list(dict.fromkeys(one["kind"] for one in documents(snapshot, options)))


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (IstioOptions(), ["ServiceEntry", "DestinationRule", "VirtualService", "Telemetry", "EnvoyFilter"]),
        (
            IstioOptions(rules=True),
            ["ServiceEntry", "DestinationRule", "VirtualService", "Telemetry", "PrometheusRule", "EnvoyFilter"],
        ),
        (IstioOptions(routes_only=True, rules=True), ["VirtualService"]),
        (IstioOptions(proxies=("inbound",)), ["Telemetry"]),
        (IstioOptions(proxies=("inbound",), routes_only=True), []),
    ],
)
def test_the_order_in_which_they_are_applied(options: IstioOptions, found: list[str]) -> None:
    assert kinds(CANARY, options) == found


def test_nothing_for_no_policies() -> None:
    assert kinds(Snapshot(), IstioOptions(callers="web")) == []


def test_every_manifest_says_what_it_was_rendered_from() -> None:
    options = IstioOptions(rules=True)
    found = {one["metadata"]["annotations"][ANNOTATION] for one in documents(CANARY, options)}
    assert found == {annotation(CANARY, options)}


def test_yaml_says_the_same() -> None:
    odd = Snapshot((policy(models=("2e5", "n", "ünï")), *PLAIN.policies))
    assert list(fast_yaml.load_all(manifests(odd, IstioOptions()))) == documents(odd, IstioOptions())


def test_names_that_would_clash_are_an_error() -> None:
    both = Snapshot((policy(host="a-ai.example"), Policy("b", "ai", host="a.ai-example", models=("b",))))
    with pytest.raises(SetupError, match="two of the DestinationRules would be called ai/aimesh-a-ai-example; rename"):
        documents(both, IstioOptions())
    apart = Snapshot((policy(host="a-ai.example"), Policy("b", "ml", host="a.ai-example", models=("b",))))
    assert documents(apart, IstioOptions()), "in namespaces of their own they do not clash"


def test_contradictory_options_are_an_error() -> None:
    with pytest.raises(SetupError, match="NAMESPACE/NAME"):
        documents(CANARY, IstioOptions(gateway="public"))


ROLLED_OUT = Snapshot((policy(versions=(Version("v1"), Version("v2", 0)), rollout=RolloutPlan("v2", ())),))
WEST = GpuPool("west", Gpu("a100"), locality="us-west1")
EAST = GpuPool("east", Gpu("a100"), locality="us-east1")
SPREAD = Snapshot((policy(versions=(Version("v1", gpu_pools=("west", "east")),)),), (WEST, EAST))
BY_PLACE = (Version("v1", gpu_pools=("west",)), Version("v2", gpu_pools=("east",)))
APART = Snapshot((policy(versions=BY_PLACE),), (WEST, EAST))
PICKING = Snapshot((policy(picking=Picking()),))
BUDGETED = Snapshot((policy(retry_budget=RetryBudget(0.1, 1), selector=(("app", "a"),)),))


@pytest.mark.parametrize(
    ("snapshot", "options", "words"),
    [
        (CANARY, IstioOptions(), []),
        (BUDGETED, IstioOptions(), ["budgetInterval"]),
        (BUDGETED, IstioOptions(release="1.31"), []),
        (CANARY, IstioOptions(proxies=("inbound",)), ["policy chat has no selector"]),
        (BUDGETED, IstioOptions(proxies=("inbound", "sidecar"), release="1.31"), ["counted twice"]),
        (CANARY, IstioOptions(release="1.28"), ["formatter"]),
        (PICKING, IstioOptions(), []),
        (PICKING, IstioOptions(proxies=("waypoint",)), ["may stop to", "waypoints choose servers"]),
        (SPREAD, IstioOptions(), ["policy chat: its pools are in several places"]),
        (SPREAD, IstioOptions(proxies=("inbound",)), ["has no selector"]),
        (APART, IstioOptions(), []),
        (ROLLED_OUT, IstioOptions(), ["without the controller v2 gets nothing"]),
    ],
)
def test_what_a_user_should_know(snapshot: Snapshot, options: IstioOptions, words: list[str]) -> None:
    found = notes(snapshot, options)
    assert len(found) == len(words)
    assert all(word in note for word, note in zip(words, found, strict=True))
