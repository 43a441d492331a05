"""Documents that are right alone and wrong together."""

from __future__ import annotations

import pytest

from extproc.policyfile.loader import PolicyTexts, build
from tests.policy_documents import file, found, policy, pool, said

A100 = pool("product: NVIDIA-A100-SXM4-80GB\nendpoints: ['10.0.0.1:8000']", "a100-west")
L4 = pool("product: NVIDIA-L4", "l4-east")


def test_two_policies_of_one_name() -> None:
    (problem,) = found(policy("models: [a]"), policy("models: [b]"))
    assert problem.file == "1.yaml"
    assert said(problem) == (
        "3 metadata.name: the policy chat is declared already, at 0.yaml:3; "
        "choose another name (namespaces do not tell them apart), or remove one of the two"
    )


@pytest.mark.parametrize(
    ("locality", "text"),
    [
        ("us-west1/b", ""),
        ("", ""),
        ("us-wst1", 'no GPU pool is in the region us-wst1: none is nearer than others; did you mean "us-west1/a"?'),
        ("mars/a", "no GPU pool is in the region mars: none is nearer than others; use one of: us-west1/a, eu"),
    ],
)
def test_proxies_that_are_near_no_pool(locality: str, text: str) -> None:
    pools = [
        pool(f"product: NVIDIA-L4\nlocality: {place}\nendpoints: ['10.0.0.1:80']", place[:2])
        for place in ("us-west1/a", "eu")
    ]
    warnings = build(
        PolicyTexts((("policy.yaml", file(policy("gpuRequirements: {}"), *pools)),)), locality=locality
    ).warnings
    assert [str(one) for one in warnings] == ([f"--locality {locality}: warning: {text}"] if text else [])


def test_a_place_and_pools_that_tell_none() -> None:
    (problem,) = build(
        PolicyTexts((("policy.yaml", file(policy("gpuRequirements: {}"), A100)),)), locality="eu"
    ).warnings
    assert problem.message == "no GPU pool has a locality: none is nearer than others"
    assert problem.warning


def test_two_pools_of_one_name() -> None:
    (problem,) = found(file(policy("gpuRequirements: {}"), A100, A100))
    assert said(problem).startswith("16 metadata.name: the pool a100-west is declared already, at 0.yaml:9")


@pytest.mark.parametrize(
    ("first", "second", "said_of_it"),
    [
        (
            "models: [a, b]",
            "port: 1\nmodels: [c, b]",
            '6 spec.models[1]: the models "b" are the policy chat\'s already, at 0.yaml:5; give each policy models',
        ),
        (
            "{}",
            "{}",
            '5 spec.models: the models "*" (what a policy without models owns) are the policy chat\'s already',
        ),
        ("models: ['*']", "{}", '5 spec.models: the models "*" (what'),
        ("{}", "models: [a, '*']", '5 spec.models[1]: the models "*" are the policy chat\'s already, at 0.yaml:5'),
    ],
)
def test_two_owners_of_one_model(first: str, second: str, said_of_it: str) -> None:
    (problem,) = found(policy(first), policy(second, "second"))
    assert problem.file == "1.yaml"
    assert said(problem).startswith(said_of_it)


def test_globs_may_overlap() -> None:
    assert found(policy("models: [llama-3-8b]"), policy("models: ['llama-*']", "b"), policy("{}", "c")) == []


@pytest.mark.parametrize("name", ["onUnreadable", "onUnowned"])
@pytest.mark.parametrize(("first", "second"), [("pass", "reject"), ("reject", "pass")])
def test_what_requests_of_nobody_get_is_one_thing(first: str, second: str, name: str) -> None:
    one, two = f"models: [a]\n{name}: {first}", f"models: [b]\n{name}: {second}"
    (problem,) = found(policy(one), policy(two, "b"))
    assert problem.file == "1.yaml"
    assert said(problem) == (
        f"6 spec.{name}: the policy chat has another, at 0.yaml:6, and whose such a request is, is not known; "
        "write the same in both, or in one of them only: it holds for all"
    )
    assert found(policy(one), policy(one.replace("[a]", "[b]"), "b"), policy("models: [c]", "c")) == []


def test_to_reject_what_is_unowned_where_nothing_is() -> None:
    (problem,) = found(policy("models: [a]\nonUnowned: reject"), policy("{}", "rest"))
    assert problem.warning
    assert "nothing is unowned: the policy rest owns every model" in said(problem)
    assert found(policy("models: [a]\nonUnowned: reject"), policy("models: ['b*']", "rest")) == []


def test_models_that_cannot_be_read_clash_with_nobody() -> None:
    assert [said(p) for p in found(policy("{}"), policy("models: []", "b"))] == [
        "5 spec.models: is an empty list; give an item, or remove the field"
    ]


@pytest.mark.parametrize(
    ("metric", "problems"),
    [
        ("{name: hits, type: GAUGE, source: outputTokens, labels: [code, api]}", 0),
        ("{name: hits, type: COUNTER, source: outputTokens, labels: [api, code]}", 1),
        ("{name: hits, type: GAUGE, source: outputTokens, labels: [api]}", 1),
        ("{name: hits, type: GAUGE, source: inputTokens, labels: [api, code]}", 1),
        ("{name: hits, type: GAUGE, source: outputTokens, labels: [api, code], window: 5s}", 1),
    ],
)
def test_a_metric_is_the_same_in_every_policy(metric: str, problems: int) -> None:
    first = "observability: {customMetrics: [{name: hits, type: GAUGE, source: outputTokens, labels: [api, code]}]}"
    second = f"models: [b]\nobservability: {{customMetrics: [{metric}]}}"
    assert [said(p) for p in found(policy(first), policy(second, "b"))] == [
        (
            "6 spec.observability.customMetrics[0]: the metric hits is another one at 0.yaml:5; "
            "make the two the same, or choose another name"
        )
    ] * problems


def test_two_metrics_that_prometheus_would_mix_up() -> None:
    counter = "{name: hits, type: COUNTER, source: requests}"
    text = f"observability:\n  customMetrics: [{counter}, {{name: hits_total, type: GAUGE, source: outputTokens}}]"
    (problem,) = found(policy(text))
    assert said(problem).startswith(
        "6 spec.observability.customMetrics[1]: Prometheus would mix up hits_total and hits, at 0.yaml:6; "
    )


def versions(pools: str, more: str = "") -> str:
    return policy(f"versions:\n- {{name: v1, weight: 1, gpuPools: {pools}{more}}}")


@pytest.mark.parametrize(
    ("text", "start"),
    [
        (
            versions("[a100-wset]"),
            '6 spec.versions[0].gpuPools[0]: no pool named "a100-wset" is declared; did you mean "a1',
        ),
        (
            versions("[a100-west, x]"),
            '6 spec.versions[0].gpuPools[1]: no pool named "x" is declared; use one of: a100-west',
        ),
        (versions("[a100-west, a100-west]"), "6 spec.versions[0].gpuPools[1]: the same pool as on line 6"),
        (
            versions("[a100-west]", ", endpoints: ['10.0.0.2:8000', '10.0.0.3:8000']"),
            (
                "6 spec.versions[0].gpuPools[0]: the version v1 has none of the endpoints of the pool a100-west; "
                "give the version one of 10.0.0.1:8000, or leave its endpoints out"
            ),
        ),
        (
            versions("[a100-west]") + "  gpuRequirements: {architecture: h100}\n",
            (
                "6 spec.versions[0].gpuPools[0]: the pool a100-west does not meet gpuRequirements: "
                "it is a100 (ampere, 8.0), not h100; name another pool, or change spec.gpuRequirements"
            ),
        ),
        (
            versions("[a100-west]") + "  gpuRequirements: {minMemory: 100Gi}\n",
            (
                "6 spec.versions[0].gpuPools[0]: the pool a100-west does not meet gpuRequirements: "
                "it has 81920 MiB, and 102400 MiB are required"
            ),
        ),
    ],
)
def test_pools_that_a_version_names(text: str, start: str) -> None:
    (problem,) = found(file(text, A100))
    assert said(problem).startswith(start)


def test_a_version_that_names_a_pool_where_none_is_declared() -> None:
    (problem,) = found(versions("[a100-west]"))
    assert said(problem) == (
        '6 spec.versions[0].gpuPools[0]: no pool named "a100-west" is declared; declare it: a document of kind GpuPool'
    )


def in_namespace(text: str, namespace: str) -> str:
    return text.replace("}\nspec", f", namespace: {namespace}}}\nspec")


OPEN = A100 + "  allowedNamespaces: [shop]\n"


@pytest.mark.parametrize("text", [A100, in_namespace(A100, "shop"), in_namespace(OPEN, "ai")])
def test_a_pool_of_no_namespace_of_the_same_or_open_to_the_policys(text: str) -> None:
    assert found(file(in_namespace(versions("[a100-west]"), "shop"), text)) == []


@pytest.mark.parametrize("text", [in_namespace(A100, "ai"), in_namespace(OPEN.replace("[shop]", "[team]"), "ai")])
def test_a_pool_that_is_not_open_to_the_policy(text: str) -> None:
    (problem,) = found(file(in_namespace(versions("[a100-west]"), "shop"), text))
    assert said(problem) == (
        "6 spec.versions[0].gpuPools[0]: the pool a100-west is of the namespace ai, and is not open to this one; "
        "add shop to its spec.allowedNamespaces, or name another pool"
    )


def test_a_pool_that_is_not_open_is_as_if_it_were_not_there() -> None:
    requiring = in_namespace(policy("gpuRequirements: {architecture: a100}"), "shop")
    (problem,) = found(file(requiring, in_namespace(A100, "ai")))
    assert problem.message == "no policy uses the pool a100-west"


def test_names_of_pools_are_checked_though_the_version_is_wrong_elsewhere() -> None:
    problems = found(file(versions("[x]", ", endpoints: []"), A100))
    assert [p.path for p in problems] == ["spec.versions[0].gpuPools[0]", "spec.versions[0].endpoints"]


def test_a_pool_whose_name_cannot_be_read_makes_no_name_unknown() -> None:
    problems = found(file(versions("[a100-west]"), A100.replace("a100-west", "a b")))
    assert [p.path for p in problems] == ["metadata.name"]


@pytest.mark.parametrize("onno", ["reject", "ignore"])
def test_no_pool_fits_and_the_figures_say_why(onno: str) -> None:
    spec = f"onNoGpu: {onno}\ngpuRequirements: {{minMemory: 24Gi, architecture: '8.0+'}}"
    (problem,) = found(file(policy(spec), L4, pool("product: Tesla-V100-SXM2-32GB", "v100")))
    fate = "gets a 503" if onno == "reject" else "goes on without a GPU pool"
    assert said(problem) == (
        f"warning 6 spec.gpuRequirements: no pool meets it, so every request {fate}: "
        "l4-east has 23034 MiB, and 24576 MiB are required; v100 is v100 (volta, 7.0), not 8.0+; "
        "change what is required, or declare a pool that meets it"
    )


def test_a_pool_of_unknown_memory_meets_no_minimum() -> None:
    problems = found(file(policy("gpuRequirements: {minMemory: 1Gi}"), pool("architecture: ampere", "a")))
    assert said(problems[0]).startswith(
        "warning 5 spec.gpuRequirements: no pool meets it, so every request gets a 503: "
        "a is of a size that is not known, and 1024 MiB are required"
    )


def test_the_pools_that_fit_have_none_of_the_versions_endpoints() -> None:
    spec = "gpuRequirements: {}\nversions:\n- {name: v1, weight: 1, endpoints: ['10.0.0.2:8000']}"
    (problem,) = found(file(policy(spec), A100))
    assert said(problem) == (
        "warning 7 spec.versions[0].endpoints: none of them is in a pool that meets gpuRequirements (a100-west), "
        "so every request gets a 503; list them in a pool, or leave them out of the version"
    )
    others = "\n- {name: v2, weight: 1}"
    (problem,) = found(file(policy(spec + others), A100))
    assert ", so others answer its requests, or they get a 503; " in said(problem)
    (problem,) = found(file(policy(spec + others + "\nonVersionDown: fail"), A100))
    assert ", so every request gets a 503; " in said(problem)


def test_a_pool_without_endpoints_takes_the_versions() -> None:
    spec = "gpuRequirements: {}\nversions:\n- {name: v1, weight: 1, endpoints: ['10.0.0.2:8000']}"
    assert found(file(policy(spec), L4)) == []


def test_requirements_without_any_pool_are_no_problem() -> None:
    assert found(policy("gpuRequirements: {architecture: a100, minMemory: 8Gi}")) == []


@pytest.mark.parametrize("pools", [[], [A100]])
def test_an_architecture_that_nobody_knows(pools: list[str]) -> None:
    first = found(file(policy("gpuRequirements: {architecture: a1000}"), *pools))[-1]
    assert said(first) == (
        'warning 5 spec.gpuRequirements.architecture: "a1000" cannot mean any GPU that is known; '
        "give a product (a100), a family (ampere) or a compute capability (8.0, or 8.0+ for at least)"
    )


def test_an_architecture_that_a_pool_declares_needs_no_fame() -> None:
    problems = found(
        file(policy("gpuRequirements: {architecture: tpu-v5}"), pool("architecture: tpu-v5\nmemory: 16Gi"))
    )
    assert [said(p)[:50] for p in problems] == ["warning 11 spec.architecture: is no GPU that is kn"]


def test_a_pool_that_nothing_uses() -> None:
    (problem,) = found(file(policy(), A100))
    assert said(problem) == (
        "warning 9 metadata.name: no policy uses the pool a100-west; "
        "name it in a version's gpuPools, or give a policy gpuRequirements ({} takes any pool)"
    )
    assert found(file(policy("gpuRequirements: {}"), A100)) == []
    assert found(file(policy("gpuRequirements: {architecture: a100}"), A100, L4))[0].path == "metadata.name"


def test_a_pool_that_is_wrong_is_not_judged_twice() -> None:
    problems = found(file(policy("gpuRequirements: {minMemory: 80Gi}"), pool("product: a100\nmemory: 80GB")))
    assert [p.path for p in problems] == ["spec.memory"]
