"""The CRDs of our own kinds: they take what `extproc check` takes, and refuse what it refuses in one object."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from extproc.errors import PolicyProblems
from extproc.policy import custom_metric
from extproc.policyfile import custom_metrics, gpu_pool, loader
from tests import fast_yaml
from tests.house.tree import ROOT
from tests.manifests import core, schema
from tests.policy_documents import load_texts

CRDS = {crd["spec"]["names"]["kind"]: crd for crd in fast_yaml.load_all((ROOT / "istio" / "crds.yaml").read_text())}
COLUMNS = [
    (kind, column)
    for kind, crd in CRDS.items()
    for version in crd["spec"]["versions"]
    for column in version["additionalPrinterColumns"]
]
POLICIES = (
    ROOT / "istio" / "policy.yaml",
    ROOT / "istio" / "rendered" / "multi-cluster.policy.yaml",
    ROOT / "istio" / "rendered" / "inference-pool.policy.yaml",
    ROOT / "istio" / "examples" / "model-inference-policy.yaml",
    ROOT / "extproc" / "demo" / "policy.yaml",
)

GOOD = """
{}
---
{models: ["llama*", "a b"], host: chat.ai, port: 1}
---
{selector: {matchLabels: {app: chat, empty: ""}}, host: "[::1]", pathPrefixes: [/a, /b/c]}
---
{versions: [{name: v1}], default: v1, allowPin: true, onNoGpu: ignore, onUnreadable: reject, onUnowned: reject}
---
{versions: [{name: v1}], onVersionDown: fail}
---
{versions: [{name: v1, weight: 0}, {name: v2, weight: 1, endpoints: ["a:1", "[::1]:2"]}], sticky: {body: /a~1b}}
---
{versions: [{name: v1, weight: 3}, {name: m, mirror: 5}], sticky: {cookie: who}}
---
{versions: [{name: v1, modelRewrite: x, match: [{headers: {x-beta: "true", y: ""}}], gpuPools: [west]}]}
---
{versions: [{name: v1, endpoints: ["https://a", "https://[::1]:2"], pathRewrite: {prefix: /v1, replacement: /p/v1}}]}
---
{versions: [{name: v1, endpoints: ["https://a"], tls: {caFile: /a, certFile: /b, keyFile: /c, serverName: b.example}}]}
---
{versions: [{name: v1, endpoints: ["a:8000"], grpcEndpoints: ["a:8001"]}, {name: v2, grpcEndpoints: ["b:8001"]}]}
---
{versions: [{name: v1, endpoints: ["https://a"], grpcEndpoints: ["https://a:8001"], tls: {caFile: /a}}]}
---
{versions: [{name: v1, credentials: {file: /a}}, {name: v2, credentials: {header: x-api-key, prefix: "", file: /a}}]}
---
{gpuRequirements: {}, trafficManagement: {timeout: 1m30s, retryBudget: {retryRatio: 0.5, minRetriesPerSecond: 0}}}
---
{gpuRequirements: {architecture: "8.0+", minMemory: 1.5Gi}, limits: {maxBody: 1048576}, sticky: {header: x-user}}
---
{observability: {sampling: 0.5, slo: {availability: 99.9, duration: {under: 10s, target: 95}, window: 7d}}}
---
{observability: {observe: full, customMetrics: [{name: inference_throughput, type: GAUGE, labels: [model_version]}]}}
---
{observability: {customMetrics: [{name: a, type: HISTOGRAM, source: {header: x-a}, buckets: [1, 2]}]}}
"""
BAD = """
[]
---
{hots: a}
---
{port: 0}
---
{port: "80"}
---
{host: "http://a"}
---
{models: []}
---
{models: [a, a]}
---
{models: [" a"]}
---
{models: [7]}
---
{pathPrefixes: [a]}
---
{pathPrefixes: [/a/]}
---
{allowPin: "yes"}
---
{onNoGpu: fail}
---
{onUnreadable: ignore}
---
{onUnowned: ignore}
---
{onVersionDown: pass}
---
{selector: {}}
---
{selector: {matchLabels: {app: "a b"}}}
---
{versions: []}
---
{versions: [{weight: 1}]}
---
{versions: [{name: a_}]}
---
{versions: [{name: a}, {name: a}]}
---
{versions: [{name: a, weight: -1}]}
---
{versions: [{name: a, weight: 0}]}
---
{versions: [{name: a, weight: 1}, {name: b}]}
---
{versions: [{name: a, mirror: 5}]}
---
{versions: [{name: a}, {name: b, mirror: 0}]}
---
{versions: [{name: a, weight: 1}, {name: b, mirror: 5, weight: 1}]}
---
{versions: [{name: a, endpoints: [a]}]}
---
{versions: [{name: a, endpoints: ["http://a:1"]}]}
---
{versions: [{name: a, endpoints: []}]}
---
{versions: [{name: a, grpcEndpoints: []}]}
---
{versions: [{name: a, endpoints: ["a:1"], grpcEndpoints: ["https://a"]}]}
---
{versions: [{name: a, grpcEndpoints: ["https://a"]}]}
---
{versions: [{name: a, endpoints: ["https://a"], grpcEndpoints: ["https://a:1", "b:1"]}]}
---
{versions: [{name: a, modelRewrite: "a*"}]}
---
{versions: [{name: a, match: [{headers: {}}]}]}
---
{versions: [{name: a, match: [{header: {a: b}}]}]}
---
{versions: [{name: a, match: [{headers: {X-Model-Version: b}}]}]}
---
{versions: [{name: a, gpuPools: []}]}
---
{versions: [{name: a}], default: b}
---
{default: b}
---
{versions: [{name: a}, {name: b, mirror: 1}], default: b}
---
{sticky: {}}
---
{sticky: {header: a, cookie: b}}
---
{sticky: {header: x-gpu-pool}}
---
{sticky: {header: "a b"}}
---
{sticky: {body: user}}
---
{gpuRequirements: {minMemory: lots}}
---
{gpuRequirements: {memory: 8Gi}}
---
{trafficManagement: {timeout: 60}}
---
{trafficManagement: {timeout: 1 s}}
---
{trafficManagement: {retryBudget: {retryRatio: 2}}}
---
{trafficManagement: {retryBudget: {ratio: 0.2}}}
---
{observability: {sampling: 2}}
---
{observability: {observe: all}}
---
{observability: {observe: full, sampling: 0.5}}
---
{observability: {slo: {}}}
---
{observability: {slo: {availability: 100}}}
---
{observability: {slo: {duration: {under: 10s}}}}
---
{observability: {slo: {availability: 99, window: 6d}}}
---
{observability: {customMetrics: [{name: a}]}}
---
{observability: {customMetrics: [{name: 1a, type: GAUGE, source: request}]}}
---
{observability: {customMetrics: [{name: a, type: COUNTER, source: output_tokens, window: 10s}]}}
---
{observability: {customMetrics: [{name: a, type: HISTOGRAM, source: {header: x-a}}]}}
---
{versions: [{name: v1, credentials: {}}]}
---
{versions: [{name: v1, credentials: {file: key}}]}
---
{versions: [{name: v1, credentials: {file: /a, header: x-model-name}}]}
---
{versions: [{name: v1, credentials: {file: /a, header: Host}}]}
---
{versions: [{name: v1, credentials: {file: /a, header: "a b"}}]}
---
{versions: [{name: v1, credentials: {file: /a, prefix: "é"}}]}
---
{versions: [{name: v1, credentials: {file: /a, key: b}}]}
---
{versions: [{name: v1, endpoints: ["https://a", "b:1"]}]}
---
{versions: [{name: v1, endpoints: ["https://a/b"]}]}
---
{versions: [{name: v1, endpoints: ["http://a"]}]}
---
{versions: [{name: v1, endpoints: ["a:1"], tls: {}}]}
---
{versions: [{name: v1, tls: {}}]}
---
{versions: [{name: v1, endpoints: ["https://a"], tls: {caFile: a}}]}
---
{versions: [{name: v1, endpoints: ["https://a"], tls: {certFile: /a}}]}
---
{versions: [{name: v1, endpoints: ["https://a"], tls: {caFile: /a, insecureSkipVerify: true}}]}
---
{versions: [{name: v1, endpoints: ["https://a"], tls: {serverName: "a:1"}}]}
---
{versions: [{name: v1, pathRewrite: {}}]}
---
{versions: [{name: v1, pathRewrite: {prefix: /a, replacement: /a}}]}
---
{versions: [{name: v1, pathRewrite: {prefix: a}}]}
---
{versions: [{name: v1}, {name: m, mirror: 5, pathRewrite: {prefix: /a}}]}
---
{limits: {maxBody: big}}
---
{limits: {body: 1Mi}}
"""
GOOD_POOLS = """
{product: NVIDIA-A100-SXM4-80GB, locality: us-west1/a, endpoints: ["10.0.0.1:8000"]}
---
{architecture: h100, memory: 80Gi, endpoints: ["https://a"], tls: {serverName: b}, pathRewrite: {replacement: /p}}
---
{architecture: h100, metrics: {type: vllm}}
---
{architecture: h100, memory: 80Gi, metrics: {type: vllm, url: "http://10.0.0.1:8000/metrics"}}
---
{nodeSelector: {nvidia.com/gpu.product: NVIDIA-A100-SXM4-80GB, pool: ""}}
---
{architecture: h100, memory: 80Gi, allowedNamespaces: [ai, "*"]}
"""
BAD_POOLS = """
{}
---
{memory: 80Gi}
---
{product: ""}
---
{architecture: h100, memory: 80Gigs}
---
{architecture: h100, endpoints: [a]}
---
{architecture: h100, endpoints: ["https://a", "b:1"]}
---
{architecture: h100, tls: {}}
---
{architecture: h100, metrics: {type: sglang}}
---
{architecture: h100, metrics: {type: other, url: "http://a"}}
---
{architecture: h100, metrics: {type: vllm, url: "ftp://a"}}
---
{architecture: h100, gpus: 8}
---
{nodeSelector: {}}
---
{nodeSelector: {pool: "not a label"}}
---
{architecture: h100, allowedNamespaces: []}
---
{architecture: h100, allowedNamespaces: [ai, ai]}
---
{architecture: h100, allowedNamespaces: [AI]}
---
{architecture: h100, allowedNamespaces: ["a*"]}
"""


def documents(kind: str, specs: str) -> list[dict[str, Any]]:
    head = {"apiVersion": "ai.istio.io/v1alpha1", "kind": kind, "metadata": {"name": "a"}}
    return [{**head, "spec": spec} for spec in fast_yaml.load_all(specs)]


def refused(document: dict[str, Any]) -> list[str]:
    """What the API server would say against an object."""
    (version,) = CRDS[document["kind"]]["spec"]["versions"]
    whole = version["schema"]["openAPIV3Schema"]
    return list(schema.problems(whole, schema.defaulted(whole, document) | {"metadata": {}}, "$"))


def checked(document: dict[str, Any]) -> str:
    """What `extproc check` says against it alone; of a pool, in the company of a policy."""
    texts = [("a.yaml", fast_yaml.dump(document))]
    if document["kind"] == "GpuPool":
        (policy,) = documents("ModelInferencePolicy", "{gpuRequirements: {}}")
        texts.append(("b.yaml", fast_yaml.dump(policy)))
    else:
        texts.append(("b.yaml", fast_yaml.dump({**documents("GpuPool", "{architecture: a100}")[0], **POOL})))
    try:
        load_texts(texts)
    except PolicyProblems as problems:
        return str(problems)
    return ""


POOL = {"metadata": {"name": "west"}, "spec": {"product": "NVIDIA-A100-SXM4-80GB"}}


@pytest.mark.parametrize(
    "document", documents("ModelInferencePolicy", GOOD) + documents("GpuPool", GOOD_POOLS), ids=str
)
def test_what_check_takes_is_taken(document: dict[str, Any]) -> None:
    assert checked(document) == ""
    assert refused(document) == []


@pytest.mark.parametrize("document", documents("ModelInferencePolicy", BAD) + documents("GpuPool", BAD_POOLS), ids=str)
def test_what_check_refuses_is_refused(document: dict[str, Any]) -> None:
    assert checked(document) != ""
    assert refused(document) != []


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.name)
def test_every_policy_of_ours_is_taken(path: Path) -> None:
    found = [d for d in fast_yaml.load_all(path.read_text()) if d]
    assert loader.load([path]).snapshot.policies
    assert [refused(document) for document in found] == [[]] * len(found)


def test_the_policies_of_the_docs_are_taken() -> None:
    text = (ROOT / "docs" / "policy.md").read_text()
    (example,) = re.findall(r"<!-- example -->\n```yaml\n(.*?)```", text, re.DOTALL)
    found = list(fast_yaml.load_all(example))
    assert len(found) > 2
    assert [refused(document) for document in found] == [[]] * len(found)


def test_the_crds_have_every_field_that_check_knows() -> None:
    """A field that is new in policy files is refused by a CRD that does not have it."""
    text = (ROOT / "docs" / "policy.md").read_text()
    named = set(re.findall(r"^\| `([a-zA-Z.]+)` \|", text, re.MULTILINE))
    specs = [crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"] for crd in CRDS.values()]
    paths = [path for spec in specs for path in _paths(spec, "")]
    within = ("versions.", "versions.tls.", "versions.credentials.", "observability.customMetrics.", "picking.")
    known = {path.removeprefix(prefix) for path in paths for prefix in ("", *within)}
    assert named - known <= {"apiVersion", "kind", "metadata.name", "metadata.namespace", "spec"}
    assert len(named & known) > 25


def test_the_crds_know_the_same_words() -> None:
    policy, pool = (
        CRDS[kind]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
        for kind in ("ModelInferencePolicy", "GpuPool")
    )
    metric = policy["observability"]["properties"]["customMetrics"]["items"]["properties"]
    assert metric["labels"]["items"]["enum"] == list(custom_metric.LABELS)
    assert metric["type"]["enum"] == list(custom_metrics.TYPES)
    assert sorted(pool["metrics"]["properties"]["type"]["enum"]) == sorted(gpu_pool.SERVER_TYPES)


def _paths(part: dict[str, Any], prefix: str) -> list[str]:
    found = []
    for name, inner in part.get("properties", {}).items():
        found += [prefix + name, *_paths(inner, f"{prefix}{name}.")]
    return found + (_paths(part["items"], prefix) if "items" in part else [])


@pytest.mark.parametrize("crd", CRDS.values(), ids=CRDS)
def test_the_crds_are_crds(crd: dict[str, Any]) -> None:
    assert core.problems(crd) == []
    assert crd["metadata"]["name"] == f"{crd['spec']['names']['plural']}.{crd['spec']['group']}"


@pytest.mark.parametrize(("kind", "column"), COLUMNS, ids=[f"{kind}.{column['name']}" for kind, column in COLUMNS])
def test_a_column_has_all_that_is_there(kind: str, column: dict[str, Any]) -> None:
    """Of several values that a path finds, the API server prints the first; a list in one value it prints as JSON."""
    one = r"(\.[a-zA-Z]+|\[\?\(@\.type==\"[a-zA-Z]+\"\)\])+"
    assert re.fullmatch(one, column["jsonPath"]), f"{kind}: more than one value"
