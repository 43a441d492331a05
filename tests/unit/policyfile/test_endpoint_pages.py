"""``picking.metrics`` of a policy: what it means, and what is wrong with it."""

from __future__ import annotations

import pytest

from extproc.policy.picking import EndpointPages, EndpointPod
from extproc.policyfile import effective_policy
from tests.policy_documents import found, load_texts, policy, policy_of, said

TWO = "versions: [{name: v1, endpoints: ['10.0.0.1:80', '[::1]:80']}]\n"
PODS = "'10.0.0.1:80': {pod: ai/llama-0, hostIP: 192.168.0.7}, '[::1]:80': {pod: ai/llama-1, hostIP: 'fd00:0::7'}"
MANY = ", ".join(f"'a:{port}': {{pod: a/b, hostIP: 1.1.1.1}}" for port in range(2049))


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
        (
            f"{{gpuPort: 9400, pods: {{{PODS}}}}}",
            EndpointPages(
                gpu_port=9400,
                pods=(
                    EndpointPod("10.0.0.1:80", "ai/llama-0", "192.168.0.7"),
                    EndpointPod("[::1]:80", "ai/llama-1", "fd00::7"),
                ),
            ),
            {
                "interval": 0.1,
                "gpuPort": 9400,
                "pods": {
                    "10.0.0.1:80": {"pod": "ai/llama-0", "hostIP": "192.168.0.7"},
                    "[::1]:80": {"pod": "ai/llama-1", "hostIP": "fd00::7"},
                },
            },
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
        ("{gpuPort: 65536}", "spec.picking.metrics.gpuPort: 65536 is out of range"),
        (
            "{pods: {'a:1': {pod: a/b, hostIP: 1.1.1.1}}}",
            "spec.picking.metrics.pods: counts for nothing without gpuPort",
        ),
        ("{gpuPort: 1, pods: x}", "spec.picking.metrics.pods: is not a mapping"),
        ("{gpuPort: 1, pods: {a: {hostIP: 1.1.1.1}}}", "spec.picking.metrics.pods.a: has no pod"),
        ("{gpuPort: 1, pods: {a: {pod: a/b}}}", "spec.picking.metrics.pods.a: has no hostIP"),
        ("{gpuPort: 1, pods: {a: {pod: b, hostIP: 1.1.1.1}}}", 'spec.picking.metrics.pods.a.pod: "b" is not allowed'),
        ("{gpuPort: 1, pods: {a: {pod: a/b, hostIP: node-1}}}", '.hostIP: "node-1" is not an IP address'),
        ("{gpuPort: 1, pods: {a: {pod: a/b, hostIP: 'fe80::1%eth0'}}}", '"fe80::1%eth0" is not an IP address'),
        ("{gpuPort: 1, pods: {a: {pod: a/b, hostIP: '::1%]:80'}}}", '"::1%]:80" is not an IP address'),
        ("{gpuPort: 1, pods: {a: {pod: a/b, hostIP: {}}}}", ".hostIP: is a mapping"),
        (f"{{gpuPort: 1, pods: {{{MANY}}}}}", "spec.picking.metrics.pods: has 2049 endpoints"),
        ("{url: x}", "spec.picking.metrics.url: is not a known field"),
    ],
)
def test_what_is_refused(text: str, problem: str) -> None:
    (only,) = found(policy(f"{TWO}picking: {{metrics: {text}}}"))
    assert problem in said(only)
