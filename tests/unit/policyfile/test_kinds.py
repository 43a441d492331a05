"""Each kind of document on its own: what it means when it is right, and every way in which it is wrong."""

from __future__ import annotations

import pytest

from extproc.policy.custom_metric import OUTPUT_TOKENS, SECONDS, CustomMetric
from extproc.policy.gpu import Gpu, Requirement
from extproc.policy.snapshot import GpuPool, Policy, RetryBudget, Sticky
from tests.policy_documents import file, found, policy, policy_of, pool, pool_of, said

API = "apiVersion: ai.istio.io/v1alpha1\n"


def test_a_policy_that_says_nothing_has_the_defaults() -> None:
    assert policy_of("{}") == Policy(
        name="chat",
        host="chat",
        port=8080,
        models=("*",),
        versions=(),
        sticky=None,
        allow_pin=False,
        reject_without_gpu=True,
        reject_unreadable=False,
        gpu=None,
        timeout=None,
        retry_budget=None,
        custom_metrics=(),
        body_limit=8 << 20,
        path_prefixes=(),
        default="",
    )


def test_a_policy_that_says_everything_but_versions() -> None:
    spec = """
    selector: {matchLabels: {app: model-inference, example.com/tier: gold}}
    host: Apex.ai.svc.cluster.local
    port: 80
    models: [llama-3-8b, "llama-3-8b-*"]
    onNoGpu: ignore
    onUnreadable: reject
    gpuRequirements: {minMemory: 8Gi, architecture: a100}
    trafficManagement: {timeout: 1m30s, retryBudget: {minRetriesPerSecond: 5, retryRatio: 0.25}}
    observability:
      customMetrics:
      - {name: inference_throughput, type: GAUGE, labels: [model_version, gpu_type]}
      - {name: hits, type: COUNTER, source: requests}
      sampling: 0.25
    limits: {maxBody: 16Mi}
    pathPrefixes: [/team-a, "/openai"]
    """
    assert policy_of(spec) == Policy(
        name="chat",
        selector=(("app", "model-inference"), ("example.com/tier", "gold")),
        host="apex.ai.svc.cluster.local",
        port=80,
        models=("llama-3-8b", "llama-3-8b-*"),
        reject_without_gpu=False,
        reject_unreadable=True,
        gpu=Requirement("a100", 8192),
        timeout=90.0,
        retry_budget=RetryBudget(0.25, 5),
        custom_metrics=(
            CustomMetric("inference_throughput", "GAUGE", ("model_version", "gpu_type"), OUTPUT_TOKENS, SECONDS),
            CustomMetric("hits", "COUNTER"),
        ),
        body_limit=16 << 20,
        path_prefixes=("/team-a", "/openai"),
        sampling=0.25,
    )


def test_a_default_may_be_a_version_that_nothing_else_chooses() -> None:
    spec = "versions: [{name: v1, weight: 1}, {name: v2, weight: 0}]\nsticky: {header: a}\ndefault: v2"
    assert policy_of(spec).default == "v2"


@pytest.mark.parametrize(
    ("selector", "host"),
    [
        ("{matchLabels: {app: model-inference}}", "model-inference"),
        ("{matchLabels: {tier: gold}}", "chat"),
        ("{matchLabels: {app: ''}}", "chat"),
        ("{matchLabels: {}}", "chat"),
    ],
)
def test_the_host_is_the_app_label_or_else_the_name(selector: str, host: str) -> None:
    assert policy_of(f"selector: {selector}").host == host


@pytest.mark.parametrize(
    ("text", "architecture"),
    [("8.0", "8.0"), ("80", "80"), ("a100", "a100"), ('"8.0+"', "8.0+"), ("Hopper", "Hopper")],
)
def test_an_architecture_needs_no_quotes(text: str, architecture: str) -> None:
    assert policy_of(f"gpuRequirements: {{architecture: {text}}}").gpu == Requirement(architecture)


def test_a_retry_budget_has_linkerds_defaults() -> None:
    assert policy_of("trafficManagement: {retryBudget: {}}").retry_budget == RetryBudget(0.2, 10)


@pytest.mark.parametrize(
    ("text", "sticky"),
    [
        ("{header: X-User-Id}", Sticky(header="x-user-id")),
        ("{cookie: session}", Sticky(cookie="session")),
        ("{body: /metadata/user~1id}", Sticky(body=("metadata", "user/id"))),
    ],
)
def test_where_the_sticky_key_is(text: str, sticky: Sticky) -> None:
    assert policy_of(f"versions: [{{name: v1}}]\nsticky: {text}").sticky == sticky


def test_a_pool_that_says_everything() -> None:
    spec = """
    product: NVIDIA-A100-SXM4-80GB
    memory: 79Gi
    locality: us-west1/a
    endpoints: ["10.0.0.1:8000", "[::1]:8000"]
    metrics: {type: vllm, url: "http://10.0.0.1:8000/metrics"}
    """
    assert pool_of(spec) == GpuPool(
        "a100-west",
        Gpu("NVIDIA-A100-SXM4-80GB", "a100", "ampere", "8.0", 79 * 1024),
        ("10.0.0.1:8000", "[::1]:8000"),
        "us-west1/a",
        "vllm",
        "http://10.0.0.1:8000/metrics",
    )


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("a\n", "1 : is not a mapping; write fields below it"),
        ("- a\n", "1 : is not a mapping; write fields below it"),
        (policy().replace("v1alpha1", "v1"), '1 apiVersion: "ai.istio.io/v1" is none of ai.istio.io/v1alpha1; did'),
        (policy().replace("ModelInf", "ModleInf"), '2 kind: "ModleInferencePolicy" is none of ModelInferencePolicy,'),
    ],
)
def test_a_document_of_another_kind(text: str, start: str) -> None:
    (problem,) = found(text)
    assert said(problem).startswith(start)


def test_another_kind_says_which_are_known() -> None:
    (problem,) = found(file(policy(), API + "kind: VirtualService\nmetadata: {name: a}\nspec: {}\n"))
    assert said(problem) == (
        '8 kind: "VirtualService" is none of ModelInferencePolicy, GpuPool; use one of: ModelInferencePolicy, GpuPool'
    )


def test_everything_that_a_document_lacks_is_said() -> None:
    assert [said(p) for p in found(file(policy(), "a: 1\n"))] == [
        "7 a: is not a known field; use one of: apiVersion, kind, metadata, spec",
        "7 : has no apiVersion; write apiVersion: ai.istio.io/v1alpha1",
        "7 : has no kind; write kind: ModelInferencePolicy or kind: GpuPool",
        "7 : has no metadata; write metadata: {name: my-name}",
        "7 : has no spec; write spec: with the fields below it",
    ]


@pytest.mark.parametrize(
    ("metadata", "start"),
    [
        ("{}", "3 metadata: has no name; give it a name"),
        ("{name: a b}", '3 metadata.name: "a b" is not allowed; give 1 to 63 letters'),
        ("{name: chat, namespace: A}", '3 metadata.namespace: "A" is not allowed'),
        ("{name: chat, label: {}}", '3 metadata.label: is not a known field; did you mean "labels"?'),
        ("{name: chat, labels: [a]}", "3 metadata.labels: is not a mapping"),
        ("chat", "3 metadata: is not a mapping"),
    ],
)
def test_metadata(metadata: str, start: str) -> None:
    (problem,) = found(policy().replace("{name: chat}", metadata))
    assert said(problem).startswith(start)


def test_labels_and_annotations_are_ignored() -> None:
    metadata = "{name: chat, namespace: ai, labels: {a/b: 1, c: [x]}, annotations: {d: ''}}"
    assert found(policy().replace("{name: chat}", metadata)) == []


@pytest.mark.parametrize(
    ("spec", "start"),
    [
        ("modles: [a]", '5 spec.modles: is not a known field; did you mean "models"?'),
        ("selector: {matchLabels: {'a b': c}}", '5 spec.selector.matchLabels["a b"]: "a b" is not the name of a label'),
        ("selector: {matchLabels: {app: 5}}", "5 spec.selector.matchLabels.app: 5 is a number in YAML"),
        ("selector: {matchLabels: [app]}", "5 spec.selector.matchLabels: is not a mapping"),
        ("port: 80\nhost: a:80", '6 spec.host: "a:80" is not a host; the port goes into spec.port'),
        ("port: 0", "5 spec.port: 0 is out of range; give a number from 1 to 65535"),
        ("port: '80'", '5 spec.port: "80" is not a whole number'),
        ("pathPrefixes: []", "5 spec.pathPrefixes: is an empty list"),
        ("pathPrefixes: [/a, /a]", "5 spec.pathPrefixes[1]: the same prefix as on line 5"),
        ("pathPrefixes: [/a/]", '5 spec.pathPrefixes[0]: "/a/" is not a path\'s beginning; leave out the / at its end'),
        ("default: v1", "5 spec.default: there are no versions; declare versions, or remove default"),
        (
            "versions: [{name: v1}]\ndefault: v2",
            '6 spec.default: no version named "v2" is declared; use one of: v1',
        ),
        (
            "versions: [{name: v1}, {name: v2, mirror: 5}]\ndefault: v2",
            "6 spec.default: the version v2 is a mirror: it answers nobody; name a version that answers",
        ),
        ("versions: [{name: v1}]\ndefault: 1", "6 spec.default: 1 is a number in YAML, not a text"),
        (
            "versions: [{name: v1}]\nsticky: {header: User_Id}",
            "warning 6 spec.sticky.header: the rendered Envoy drops user_id, as it does every header with an under",
        ),
        (
            "versions: [{name: v1, match: [{headers: {x_beta: a}}]}]",
            "warning 5 spec.versions[0].match[0].headers.x_beta: the rendered Envoy drops x_beta",
        ),
        ("models: []", "5 spec.models: is an empty list"),
        ("models: llama", "5 spec.models: is not a list"),
        ("models:\n- a\n- a", "7 spec.models[1]: the same model as on line 6; remove one of the two"),
        ("models: [a, '']", "5 spec.models[1]: is empty"),
        ("models:", "5 spec.models: is not a list"),
        ("versions: [{name: v1}]\nsticky: {}", "6 spec.sticky: names nothing; give exactly one"),
        (
            "versions: [{name: v1}]\nsticky: {header: a, cookie: b}",
            "6 spec.sticky: has header and cookie; give exactly",
        ),
        ("versions: [{name: v1}]\nsticky: {header: x-gpu-pool}", "6 spec.sticky.header: x-gpu-pool is set by the"),
        ("versions: [{name: v1}]\nsticky: {body: user}", '6 spec.sticky.body: "user" is not a JSON Pointer'),
        ("allowPin: 'true'", '5 spec.allowPin: "true" is not a truth value'),
        ("allowPin: true", "warning 5 spec.allowPin: there are no versions to pin; declare versions, or"),
        ("sticky: {header: a}", "warning 5 spec.sticky: there are no versions to stay on; declare versions, or"),
        ("onNoGpu: rejct", '5 spec.onNoGpu: "rejct" is none of reject, ignore; did you mean "reject"?'),
        (
            "gpuRequirements: {architecure: a}",
            '5 spec.gpuRequirements.architecure: is not a known field; did you mean "arch',
        ),
        ("gpuRequirements: {minMemory: 24}", "5 spec.gpuRequirements.minMemory: 24 bytes is no size"),
        ("gpuRequirements: {architecture: [a]}", "5 spec.gpuRequirements.architecture: is a list"),
        ("trafficManagement: {timeout: 0s}", "5 spec.trafficManagement.timeout: 0s is out of range"),
        (
            "trafficManagement: {timeout: 60}",
            '5 spec.trafficManagement.timeout: "60" is not a duration; add a unit: 60s',
        ),
        ("trafficManagement: {retries: 3}", "5 spec.trafficManagement.retries: is not a known field"),
        (
            "trafficManagement: {retryBudget: {retryRatio: 1.1}}",
            "5 spec.trafficManagement.retryBudget.retryRatio: 1.1 is",
        ),
        (
            "trafficManagement: {retryBudget: {minRetriesPerSecond: -1}}",
            "5 spec.trafficManagement.retryBudget.minRetriesPerSecond: -1 is out of range",
        ),
        ("limits: {maxBody: 1}", "5 spec.limits.maxBody: 1 bytes is out of range; give 1Ki to 1Gi"),
        ("limits: {maxbody: 1Mi}", '5 spec.limits.maxbody: is not a known field; did you mean "maxBody"?'),
        ("limits: {maxBody: {}}", "5 spec.limits.maxBody: is a mapping; give a quantity such as 8Mi"),
        ("observability: {sampling: 2}", "5 spec.observability.sampling: 2 is out of range"),
        ("observability: {metrics: []}", "5 spec.observability.metrics: is not a known field"),
    ],
)
def test_what_can_be_wrong_in_a_policy(spec: str, start: str) -> None:
    (problem,) = found(policy(spec))
    assert said(problem).startswith(start)


def test_a_misspelt_field_is_both_unknown_and_missing() -> None:
    assert [said(p) for p in found(policy("selector: {matchLabel: {}}"))] == [
        "5 spec.selector: has no matchLabels; write matchLabels: {app: my-app}",
        '5 spec.selector.matchLabel: is not a known field; did you mean "matchLabels"?',
    ]


USER = policy("gpuRequirements: {}")
"""A policy that takes any pool; with it a pool begins on line 7, its spec on line 11."""


@pytest.mark.parametrize(
    ("spec", "start"),
    [
        ("memory: 80Gi", "11 spec: names neither product nor architecture; give product (the node label"),
        ("product: ''", "11 spec.product: is empty"),
        ("product: a100\nmemory: 80", "12 spec.memory: 80 bytes is no size of a GPU's memory"),
        ("product: a100\nmemroy: 80Gi", '12 spec.memroy: is not a known field; did you mean "memory"?'),
        ("product: a100\nendpoints: []", "12 spec.endpoints: is an empty list"),
        ("product: a100\nendpoints: [a:1, A:1]", "12 spec.endpoints[1]: the same endpoint as on line 12"),
        ("product: a100\nlocality: [a]", "12 spec.locality: is a list; give a region"),
        ("product: a100\nmetrics: {url: 'http://a/'}", "12 spec.metrics: has no type; give one of vllm"),
        ("product: a100\nmetrics: {type: sglang}", "12 spec.metrics: has no url"),
        ("product: a100\nmetrics: {type: vlm, url: 'http://a/'}", '12 spec.metrics.type: "vlm" is none of'),
        ("product: a100\nmetrics: {type: vllm, url: a}", '12 spec.metrics.url: "a" is not allowed'),
        (
            "product: NVIDIA-A100-SXM4-80GB\narchitecture: h100",
            "12 spec.architecture: contradicts the product, which is a100 (ampere, 8.0), not h100; remove one",
        ),
        ("product: NVIDIA-A100-SXM4-80GB\narchitecture: hopper", "12 spec.architecture: contradicts the product"),
        (
            "product: NVIDIA-X1\nmemory: 8Gi",
            "warning 11 spec.product: is no GPU that is known: nothing follows from it",
        ),
        ("architecture: foo\nmemory: 8Gi", "warning 11 spec.architecture: is no GPU that is known"),
        ("architecture: ampere", "warning 11 spec: the memory of this GPU is not known: it meets no minMemory"),
    ],
)
def test_what_can_be_wrong_in_a_pool(spec: str, start: str) -> None:
    (problem,) = found(file(USER, pool(spec)))
    assert said(problem).startswith(start)


@pytest.mark.parametrize("architecture", ["a100", "ampere", "8.0", "A100-80GB"])
def test_product_and_architecture_may_say_the_same(architecture: str) -> None:
    assert found(file(USER, pool(f"product: NVIDIA-A100-SXM4-80GB\narchitecture: {architecture}"))) == []


def test_a_pool_named_none_is_doubted() -> None:
    (problem,) = found(file(USER, pool(name="none")))
    assert said(problem).startswith("warning 11 spec: a pool named none looks in metrics like no pool")
