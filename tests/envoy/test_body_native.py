"""Envoy reads the model itself (``--body native``), and shows the body only where that does not suffice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from extproc.policy.snapshot import Policy, Snapshot, Sticky, Version

from .conftest import Gateway, ModelServer, Processor

pytestmark = pytest.mark.envoy


@pytest.fixture
def fronted(
    servers: Callable[..., list[ModelServer]], processor: Callable[..., Processor], gateway: Callable[..., Gateway]
) -> Callable[..., tuple[Gateway, Callable[[], int]]]:
    """A gateway with a policy of a server's name for each model, and how many bodies its processor was shown."""

    def start(**policy: Any) -> tuple[Gateway, Callable[[], int]]:
        names = ("llama", "mixtral")
        versions = [Version("v1", 1, (one.address,), policy.get("rewrite", "")) for one in servers(*names)]
        extra = {key: value for key, value in policy.items() if key != "rewrite"}
        snapshot = Snapshot(
            tuple(Policy(n, models=(n,), versions=(v,), **extra) for n, v in zip(names, versions, strict=True))
        )
        ours = processor(snapshot)
        envoy = gateway(snapshot, ours.address, body="native")

        def bodies() -> int:
            counted = [s for m in ours.metrics.collect() for s in m.samples if s.name.endswith("_seconds_count")]
            return sum(int(s.value) for s in counted if s.labels.get("phase") == "request_body")

        return envoy, bodies

    return start


def test_the_body_never_leaves_envoy(fronted: Callable[..., tuple[Gateway, Callable[[], int]]]) -> None:
    envoy, bodies = fronted()
    assert [envoy.ask(model).text for model in ("llama", "mixtral")] == ["llama", "mixtral"]
    assert envoy.post({"prompt": "x" * 3_000_000, "model": "mixtral"}).text == "mixtral"
    answer = envoy.post({"model": "mixtral"}, content_type="application/json; charset=utf-8", x_model_name="llama")
    assert (answer.text, answer.headers["x-model-name"]) == ("mixtral", "mixtral")
    assert bodies() == 0


@pytest.mark.parametrize("policy", [{"sticky": Sticky(body=("user",))}, {"rewrite": "other"}])
def test_a_body_that_is_needed_is_asked_for(
    policy: dict[str, Any], fronted: Callable[..., tuple[Gateway, Callable[[], int]]]
) -> None:
    envoy, bodies = fronted(**policy)
    assert envoy.ask("mixtral").text == "mixtral"
    assert bodies() == 1


def test_what_envoy_cannot_read_is_asked_for(fronted: Callable[..., tuple[Gateway, Callable[[], int]]]) -> None:
    envoy, bodies = fronted()
    assert envoy.post(b'{"model": "mixtral"}', content_type="text/plain").text == "mixtral"
    assert envoy.post(iter([b'{"model": ', b'"mixtral"}'])).text == "mixtral"  # no length: it may be over the limit
    assert envoy.post(b'{"model": ["mixtral"]}').headers.get("x-model-name") is None
    assert envoy.post(b'{"model": ').headers.get("x-model-name") is None
    assert bodies() == 4


def test_of_two_models_envoy_takes_the_last(fronted: Callable[..., tuple[Gateway, Callable[[], int]]]) -> None:
    """Why it is not the default: read by us, such a body is refused."""
    envoy, bodies = fronted()
    assert envoy.post(b'{"model": "llama", "model": "mixtral"}').text == "mixtral"
    assert bodies() == 0
