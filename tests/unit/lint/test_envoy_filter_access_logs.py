"""Access logs to the processor, and the observers beside them."""

from __future__ import annotations

from pathlib import Path

from extproc.lint import envoy_filter_access_logs
from tests.lint import corpus


@corpus.bad(envoy_filter_access_logs)
def test_bad_manifests_of_the_corpus(path: Path) -> None:
    assert corpus.found(envoy_filter_access_logs, path) == corpus.expected(envoy_filter_access_logs, path)


def test_good_manifests_of_the_corpus() -> None:
    assert corpus.found_in_good(envoy_filter_access_logs) == []


ACCOUNTED = (Path(__file__).parents[2] / "lint" / "istio" / "good" / "accounted.yaml").read_text()
MANAGER = "      listener: {filterChain: {filter: {name: envoy.filters.network.http_connection_manager}}}"


def test_a_log_of_another_listener_is_none() -> None:
    """On another port than the observer's, for other proxies, in another namespace."""
    assert MANAGER in ACCOUNTED
    port = MANAGER.replace("{filterChain", "{portNumber: 81, filterChain")
    assert corpus.found_codes(envoy_filter_access_logs, ACCOUNTED.replace(MANAGER, port)) == []
    observer = "      listener:\n        filterChain:\n          filter:\n            name: envoy.filters.network"
    on_80 = observer.replace("listener:\n", "listener:\n        portNumber: 80\n")
    ported = ACCOUNTED.replace(MANAGER, port).replace(observer, on_80)
    assert corpus.found_codes(envoy_filter_access_logs, ported) == ["AIM182"]
    inbound = ACCOUNTED.replace("context: GATEWAY\n      listener: {", "context: SIDECAR_INBOUND\n      listener: {")
    assert corpus.found_codes(envoy_filter_access_logs, inbound) == ["AIM182"]


def test_an_observer_of_somebody_else_may_take_any_log() -> None:
    said = "            initial_metadata: [{key: x-aimesh-account, value: access-log}]\n"
    assert said in ACCOUNTED
    assert corpus.found_codes(envoy_filter_access_logs, ACCOUNTED.replace(said, "")) == []
