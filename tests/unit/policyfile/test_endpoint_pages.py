"""``picking.metrics`` of a policy: what it means, and what is wrong with it."""

from __future__ import annotations

import pytest

from extproc.policy.picking import EndpointPages
from extproc.policyfile import effective_policy
from tests.policy_documents import found, load_texts, policy, policy_of, said

TWO = "versions: [{name: v1, endpoints: ['10.0.0.1:80', '[::1]:80']}]\n"


@pytest.mark.parametrize(
    ("text", "expected", "shown"),
    [
        ("{}", EndpointPages(), {"interval": 0.1}),
        ("{type: nim, interval: 50ms}", EndpointPages("nim", interval=0.05), {"type": "nim", "interval": 0.05}),
        (
            "{type: vllm, port: 9, path: '/m?a=b', interval: 1s}",
            EndpointPages("vllm", 9, "/m?a=b", 1.0),
            {"type": "vllm", "port": 9, "path": "/m?a=b", "interval": 1.0},
        ),
    ],
)
def test_what_can_be_said(text: str, expected: EndpointPages, shown: dict[str, object]) -> None:
    document = f"{TWO}picking: {{metrics: {text}}}"
    picking = policy_of(document).picking
    assert picking is not None
    assert picking.metrics == expected
    snapshot = load_texts([("policy.yaml", policy(document))]).snapshot
    assert effective_policy.describe(snapshot)["policies"][0]["picking"]["metrics"] == shown


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("vllm", "spec.picking.metrics: is not a mapping"),
        ("{type: llama}", 'spec.picking.metrics.type: "llama" is none of vllm, sglang, tgi, triton, trtllm, nim'),
        ("{port: 0}", "spec.picking.metrics.port: 0 is out of range"),
        ("{path: metrics}", 'spec.picking.metrics.path: "metrics" is not a path'),
        ("{path: '/a b'}", "is not a path"),
        ("{path: '/a#b'}", "is not a path"),
        (f"{{path: /{'a' * 256}}}", "is not a path"),
        ("{interval: 10ms}", "spec.picking.metrics.interval: is out of range"),
        ("{interval: 2s}", "spec.picking.metrics.interval: is out of range"),
        ("{interval: 5}", "is not a duration"),
        ("{url: x}", "spec.picking.metrics.url: is not a known field"),
    ],
)
def test_what_is_refused(text: str, problem: str) -> None:
    (only,) = found(policy(f"{TWO}picking: {{metrics: {text}}}"))
    assert problem in said(only)
