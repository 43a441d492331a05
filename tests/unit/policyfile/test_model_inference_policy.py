"""A ModelInferencePolicy: what it means when it is right, and every way in which it is wrong."""

from __future__ import annotations

import pytest

from extproc.policy.custom_metric import OUTPUT_TOKENS, SECONDS, CustomMetric
from extproc.policy.gpu import Requirement
from extproc.policy.snapshot import Policy, RetryBudget, Sticky
from tests.policy_documents import found, policy, policy_of, said


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
        reject_unowned=False,
        fails_over=True,
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
    onUnowned: reject
    onVersionDown: fail
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
        reject_unowned=True,
        fails_over=False,
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


@pytest.mark.parametrize(
    ("spec", "start"),
    [
        (
            "circuitBreaker: {adaptive: true}",
            "5 spec.circuitBreaker: is not a known field; write it below traffic",
        ),
        ("endpoints: [a:1]", "5 spec.endpoints: is not a known field; write it below versions, in its version"),
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
            "versions: [{name: v1}]\nsticky: x-user-id",
            "6 spec.sticky: is not a mapping; write {header: x-user-id}, or name a cookie or a place in the body",
        ),
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
            '5 spec.trafficManagement.timeout: "60" is not a duration; add a unit: 60ms or 60s',
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
        ("observability: {observe: all}", '5 spec.observability.observe: "all" is none of adaptive, full'),
        ("observability: {observe: full, sampling: 1}", "5 spec.observability: has observe and sampling; give one"),
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
