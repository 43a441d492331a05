"""What `/config` shows: every field by the name that the policy file has for it, as JSON can hold it."""

from __future__ import annotations

import json
import re

from extproc.policy.snapshot import Snapshot
from extproc.policyfile.effective_policy import describe
from tests.house.tree import ROOT
from tests.policy_documents import load_texts, policy, pool, snapshot_of

SPEC = """
selector: {matchLabels: {app: model-inference}}
pathPrefixes: [/team-a]
models: [llama, "llama-*"]
default: v1
versions:
- name: v1
  weight: 3
  endpoints: ["https://10.0.0.1:8000", "https://10.0.0.2:8000"]
  tls: {caFile: /ca, certFile: /cert, keyFile: /key, serverName: a.example}
  pathRewrite: {prefix: /v1, replacement: /openai/v1}
  credentials: {file: /key}
  loadBalancer: {consistentHash: {header: x-user}}
- {name: v2, weight: 1, modelRewrite: llama-2, match: [{headers: {x-beta: "é"}}], gpuPools: [a100-west]}
- {name: v3, mirror: 5, endpoints: ["https://10.0.0.1:8000"]}
sticky: {body: /metadata/a~1b}
allowPin: true
loadBalancer: roundRobin
picking: {by: least-loaded, objectives: {batch: -1}}
gpuRequirements: {architecture: a100, minMemory: 8Gi}
trafficManagement: {timeout: 500ms, retryBudget: {}, circuitBreaker: {adaptive: true, fallback: {version: v1}}}
observability:
  customMetrics:
  - {name: hits, type: COUNTER, labels: [model_name], source: {header: x-hits}}
  - {name: ratio, type: GAUGE, source: {body: /a~1b}, per: inputTokens, window: 30s}
  - {name: sizes, type: HISTOGRAM, source: outputTokens, buckets: [1, 10]}
  slo: {availability: 99.9, timeToFirstToken: {under: 500ms, target: 95}}
"""
POOL = """
product: NVIDIA-A100-SXM4-80GB
endpoints: ["https://10.0.0.1:8000"]
metrics: {type: vllm, url: "http://10.0.0.1:8000/metrics"}
loadBalancer: random
"""
DEFAULTS = {"caFile": "", "certFile": "", "keyFile": "", "serverName": "", "insecureSkipVerify": False}
BARE = {"tls": DEFAULTS, "pathRewrite": None, "credentials": None}
HASH = {"consistentHash": {"header": "x-user"}}
ON_WEST = {"pool": "a100-west", "endpoints": ["10.0.0.1:8000"], "grpcEndpoints": []}
V1 = {
    "tls": DEFAULTS | {"caFile": "/ca", "certFile": "/cert", "keyFile": "/key", "serverName": "a.example"},
    "pathRewrite": {"prefix": "/v1", "replacement": "/openai/v1"},
    "credentials": {"header": "authorization", "prefix": "Bearer ", "file": "/key"},
}


def test_everything_is_shown() -> None:
    shown = describe(snapshot_of(policy(SPEC), pool(POOL)))
    assert json.loads(json.dumps(shown)) == shown
    assert shown == {
        "generation": 1,
        "locality": "",
        "policies": [
            {
                "name": "chat",
                "namespace": "",
                "selector": {"app": "model-inference"},
                "host": "model-inference",
                "port": 8080,
                "pathPrefixes": ["/team-a"],
                "models": ["llama", "llama-*"],
                "versions": [
                    {
                        "name": "v1",
                        "weight": 3,
                        "share": 0.75,
                        "endpoints": ["10.0.0.1:8000", "10.0.0.2:8000"],
                        "grpcEndpoints": [],
                        **V1,
                        "modelRewrite": "",
                        "match": [],
                        "mirror": None,
                        "gpuPools": None,
                        "loadBalancer": HASH,
                        "inferencePool": None,
                    },
                    {
                        "name": "v2",
                        "weight": 1,
                        "share": 0.25,
                        "endpoints": [],
                        "grpcEndpoints": [],
                        "tls": None,
                        "pathRewrite": None,
                        "credentials": None,
                        "modelRewrite": "llama-2",
                        "match": [{"headers": {"x-beta": "é"}}],
                        "mirror": None,
                        "gpuPools": ["a100-west"],
                        "loadBalancer": None,
                        "inferencePool": None,
                    },
                    {
                        "name": "v3",
                        "weight": 0,
                        "share": 0.0,
                        "endpoints": ["10.0.0.1:8000"],
                        "grpcEndpoints": [],
                        **BARE,
                        "modelRewrite": "",
                        "match": [],
                        "mirror": 5,
                        "gpuPools": None,
                        "loadBalancer": None,
                        "inferencePool": None,
                    },
                ],
                "default": "v1",
                "sticky": {"header": "", "cookie": "", "body": "/metadata/a~1b"},
                "allowPin": True,
                "onUnreadable": "pass",
                "onUnowned": "pass",
                "onVersionDown": "failover",
                "onNoGpu": "reject",
                "gpuRequirements": {"architecture": "a100", "minMemory": "8192Mi"},
                "trafficManagement": {
                    "timeout": 0.5,
                    "retryBudget": {"retryRatio": 0.2, "minRetriesPerSecond": 10},
                    "circuitBreaker": {
                        "adaptive": True,
                        "minConcurrency": 4,
                        "maxConcurrency": 1024,
                        "fallback": {"version": "v1"},
                    },
                },
                "observability": {
                    "customMetrics": [
                        {"name": "hits", "type": "COUNTER", "labels": ["model_name"], "source": {"header": "x-hits"}},
                        {
                            "name": "ratio",
                            "type": "GAUGE",
                            "labels": [],
                            "source": {"body": "/a~1b"},
                            "per": "inputTokens",
                            "window": 30.0,
                        },
                        {
                            "name": "sizes",
                            "type": "HISTOGRAM",
                            "labels": [],
                            "source": "outputTokens",
                            "buckets": [1.0, 10.0],
                        },
                    ],
                    "slo": {
                        "availability": 99.9,
                        "timeToFirstToken": {"under": 0.5, "target": 95.0},
                        "duration": None,
                        "window": "30d",
                    },
                    "observe": "adaptive",
                    "sampling": None,
                },
                "rollout": None,
                "weightsFrom": None,
                "limits": {"maxBody": 8 << 20},
                "loadBalancer": "roundRobin",
                "picking": {
                    "by": "least-loaded",
                    "blockBytes": 256,
                    "indexBlocks": 131_072,
                    "adapterWeight": 4.0,
                    "saturation": {"waiting": 5.0, "cache": 0.8, "stale": False},
                    "maxQueue": 0,
                    "priority": 0,
                    "objectives": {"batch": -1},
                    "metrics": {"interval": 0.1},
                },
                "targets": [
                    {"version": "v1", **ON_WEST, **V1, "loadBalancer": HASH},
                    {"version": "v2", **ON_WEST, **BARE, "loadBalancer": "random"},
                    {"version": "v3", **ON_WEST, **BARE, "loadBalancer": "random"},
                ],
            }
        ],
        "pools": [
            {
                "name": "a100-west",
                "product": "NVIDIA-A100-SXM4-80GB",
                "architecture": "a100",
                "family": "ampere",
                "capability": "8.0",
                "memory": "81920Mi",
                "locality": "",
                "cluster": "",
                "endpoints": ["10.0.0.1:8000"],
                "grpcEndpoints": [],
                **BARE,
                "nodeSelector": {},
                "namespace": "",
                "allowedNamespaces": [],
                "loadBalancer": "random",
                "metrics": {"type": "vllm", "url": "http://10.0.0.1:8000/metrics", "gpuUrl": None},
            }
        ],
        "models": [{"pattern": "llama", "policy": "chat"}, {"pattern": "llama-*", "policy": "chat"}],
    }


def test_a_view_of_nothing() -> None:
    assert describe(Snapshot(generation=3)) == {
        "generation": 3,
        "locality": "",
        "policies": [],
        "pools": [],
        "models": [],
    }


def test_the_example_of_the_reference_page_is_a_policy() -> None:
    page = (ROOT / "docs" / "policy.md").read_text()
    (example,) = re.findall(r"<!-- example -->\n```yaml\n(.*?)```", page, re.DOTALL)
    loaded = load_texts([("docs/policy.md", example)])
    assert loaded.warnings == ()
    assert [p.name for p in loaded.snapshot.policies] == ["chat"]
    reference = page.replace(example, "")
    fields = re.findall(r"(?:^ *(?:- )?|\{)([a-zA-Z]+):", example, re.MULTILINE)
    assert {f for f in fields if not re.search(rf"`[^`]*\b{f}\b[^`]*`", reference)} <= {"app"}
