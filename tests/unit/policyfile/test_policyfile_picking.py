"""``picking`` of a policy: what it means, and what is wrong with it."""

from __future__ import annotations

import pytest

from extproc.policy.picking import EndpointPages, Picking, Saturation
from tests.policy_documents import file, found, policy, policy_of, pool, said

TWO = "versions: [{name: v1, endpoints: ['10.0.0.1:80', '[::1]:80']}]\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", Picking()),
        ("{by: least-loaded}", Picking("least-loaded")),
        ("{by: prefix, blockBytes: 512, indexBlocks: 4096}", Picking(block_bytes=512, index_blocks=4096)),
        ("{adapterWeight: 0.5}", Picking(adapter_weight=0.5)),
        ("{saturation: {waiting: 9, cache: 0.7, stale: true}}", Picking(saturation=Saturation(9, 0.7, True))),
        ("{saturation: {cache: 1}}", Picking(saturation=Saturation(5, 1))),
        ("{maxQueue: 100, metrics: {type: sglang}}", Picking(max_queue=100, metrics=EndpointPages("sglang"))),
        (
            "{priority: -2, objectives: {batch: -1, chat: 3}, metrics: {type: vllm}}",
            Picking(priority=-2, objectives=(("batch", -1), ("chat", 3)), metrics=EndpointPages("vllm")),
        ),
    ],
)
def test_what_can_be_said(text: str, expected: Picking) -> None:
    assert policy_of(f"{TWO}picking: {text}").picking == expected
    assert found(policy(f"{TWO}picking: {text}")) == []


def test_none_unless_it_is_asked_for() -> None:
    assert policy_of(TWO).picking is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("prefix", "spec.picking: is not a mapping"),
        (
            "{by: prefixes}",
            'spec.picking.by: "prefixes" is none of prefix, least-loaded, session, round-robin, random-two',
        ),
        ("{blockBytes: 8}", "spec.picking.blockBytes: 8 is out of range"),
        ("{indexBlocks: 5000000}", "spec.picking.indexBlocks: 5000000 is out of range"),
        ("{adapterWeight: -1}", "spec.picking.adapterWeight: -1 is out of range"),
        ("{saturation: {cache: 1.5}}", "spec.picking.saturation.cache: 1.5 is out of range"),
        ("{saturation: {queue: 5}}", "spec.picking.saturation.queue: is not a known field"),
        ("{maxQueue: -1}", "spec.picking.maxQueue: -1 is out of range"),
        ("{maxQueue: 1001}", "spec.picking.maxQueue: 1001 is out of range"),
        ("{priority: low}", 'spec.picking.priority: "low" is not a whole number'),
        ("{objectives: {batch: 1.5}}", 'spec.picking.objectives.batch: "1.5" is not a whole number'),
        ("{objectives: {'a b': 1}}", 'spec.picking.objectives["a b"]: "a b" is not allowed'),
    ],
)
def test_what_is_refused(text: str, problem: str) -> None:
    (only,) = found(policy(f"{TWO}picking: {text}"))
    assert problem in said(only)


def test_more_objectives_than_can_be_given() -> None:
    objectives = ", ".join(f"o{number}: 1" for number in range(65))
    (only,) = found(policy(f"{TWO}picking: {{objectives: {{{objectives}}}}}"))
    assert "are 65; give at most 64" in said(only)


@pytest.mark.parametrize(
    ("versions", "where"),
    [
        ("", "nothing is picked: a proxy can be told addresses, and chat:8080 is a name"),
        (
            "versions: [{name: v1}]\n",
            "nothing is picked for v1: a proxy can be told addresses, and chat:8080 is a name",
        ),
        (
            "versions: [{name: v1, endpoints: ['10.0.0.1:80', 'b:80']}]\n",
            "nothing is picked for v1: a proxy can be told",
        ),
        (
            "versions: [{name: v1, endpoints: ['10.0.0.1:80'], grpcEndpoints: ['b:90']}]\n",
            "addresses, and b:90 is a name",
        ),
    ],
)
def test_names_cannot_be_picked(versions: str, where: str) -> None:
    (only,) = found(policy(f"{versions}picking: {{}}"))
    assert only.warning
    assert where in said(only)
    assert "list the servers under endpoints by their IP addresses" in said(only)


def test_those_of_a_pool_count_and_mirrors_are_not_picked_from() -> None:
    spec = "gpuRequirements: {}\nversions: [{name: v1, weight: 1}, {name: m, mirror: 5}]\npicking: {}"
    with_address = pool("architecture: a100\nendpoints: ['10.0.0.1:80']", name="a")
    assert [said(one) for one in found(file(policy(spec), with_address))] == []


def test_a_session_without_a_key_is_doubted() -> None:
    (only,) = found(policy(f"{TWO}picking: {{by: session}}"))
    assert said(only).startswith("warning")
    assert "requests have no key here" in said(only)
    assert found(policy(f"{TWO}sticky: {{header: x-user}}\npicking: {{by: session}}")) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{maxQueue: 5}", "spec.picking.maxQueue: no page is read for v1, as nothing says of what type"),
        ("{priority: -1}", "spec.picking.priority: no page is read for v1"),
        ("{objectives: {batch: -1, chat: 3}}", "spec.picking.objectives: no page is read for v1"),
        ("{metrics: {port: 8002}}", "spec.picking.metrics: no page is read for v1"),
        ("{maxQueue: 5}", "none is ever saturated, so that this does nothing; write picking: {metrics: {type: vllm}}"),
        ("{maxQueue: 5, saturation: {stale: true}}", "they always are saturated, and such requests get 429"),
    ],
)
def test_fields_for_saturated_servers_that_tell_nothing(text: str, problem: str) -> None:
    (only,) = found(policy(f"{TWO}picking: {text}"))
    assert only.warning
    assert problem in said(only)


def test_the_type_of_a_pool_is_that_of_its_servers() -> None:
    spec = "gpuRequirements: {}\nversions: [{name: v1}]\npicking: {maxQueue: 5, metrics: {port: 8002}}"
    telling = pool("architecture: a100\nendpoints: ['10.0.0.1:80']\nmetrics: {type: vllm}", name="a")
    silent = pool("architecture: a100\nendpoints: ['10.0.0.2:80']", name="b")
    assert found(file(policy(spec), telling)) == []
    (only,) = found(file(policy(spec), telling, silent))
    assert "no page is read for v1/b" in said(only)


def test_servers_of_an_inference_pool_are_addresses_and_tell() -> None:
    """Whoever watches the pool knows them, and their type; that others do not is told of ``inferencePool`` itself."""
    (only,) = found(policy("versions: [{name: v1, inferencePool: {name: llama}}]\npicking: {maxQueue: 5}"))
    assert "spec.versions[0].inferencePool: is known to a processor that watches it" in said(only)


BUSY = "observability: {customMetrics: [{name: busy, type: GAUGE, source: gpuUtilization}]}\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "spec.observability.customMetrics[0].source: no servers are picked: it has no value; write picking:"),
        ("picking: {}", "[0].source: nothing tells how busy the servers' GPUs are: it has no value"),
        ("picking: {metrics: {type: vllm}}", "[0].source: nothing tells how busy"),
        ("picking: {metrics: {type: triton}}", ""),
        ("picking: {metrics: {gpuPort: 9400}}", ""),
    ],
)
def test_custom_metrics_of_gpus_that_nothing_tells_of(text: str, problem: str) -> None:
    told = [one for one in found(policy(f"{TWO}{BUSY}{text}")) if problem in said(one)]
    assert [one.warning for one in told] == ([True] if problem else [])


def test_the_type_of_a_pool_tells_whether_its_servers_know_gpus() -> None:
    spec = f"gpuRequirements: {{}}\nversions: [{{name: v1}}]\npicking: {{}}\n{BUSY}"
    servers = "architecture: a100\nendpoints: ['10.0.0.1:80']\nmetrics: {type: TYPE}"
    assert found(file(policy(spec), pool(servers.replace("TYPE", "triton"), name="a"))) == []
    (only,) = found(file(policy(spec), pool(servers.replace("TYPE", "vllm"), name="a")))
    assert "nothing tells how busy" in said(only)
