"""For which hosts and routes a processor is switched on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from extproc.lint import envoy_filter_hosts
from tests.lint import corpus
from tests.lint.istio_objects import PER_ROUTE, URL, envoy_filter, ext_proc, host_patch, http_filter


@corpus.bad(envoy_filter_hosts)
def test_bad_manifests_of_the_corpus(path: Path) -> None:
    assert corpus.found(envoy_filter_hosts, path) == corpus.expected(envoy_filter_hosts, path)


def test_good_manifests_of_the_corpus() -> None:
    assert corpus.found_in_good(envoy_filter_hosts) == []


def codes(text: str) -> list[str]:
    return corpus.found_codes(envoy_filter_hosts, text)


SWITCH = {"@type": PER_ROUTE, "overrides": {}}
CONFIG = f"{URL}envoy.config.route.v3.FilterConfig"


def patched(settings: dict[str, Any] | None, context: str = "GATEWAY", **value: Any) -> list[str]:
    processor = http_filter(ext_proc(), context=context, **value)
    return codes(envoy_filter(processor, *([host_patch(settings)] if settings is not None else [])))


@pytest.mark.parametrize(
    ("settings", "value", "found"),
    [
        (None, {}, ["AIM161"]),
        (None, {"disabled": True}, ["AIM162"]),
        (None, {"disabled": False}, ["AIM161"]),
        ({"models.route": SWITCH}, {"disabled": True}, []),
        ({"models.route": SWITCH}, {}, []),
        ({"models.rout": SWITCH}, {"disabled": True}, ["AIM163", "AIM162"]),
        ({"envoy.filters.http.cors": {}, "models.route": SWITCH}, {}, []),
        ({"envoy.filters.http.ext_proc": SWITCH, "models.route": SWITCH}, {}, ["AIM163"]),
        ({"models.route": {"@type": PER_ROUTE, "disabled": False}}, {}, ["AIM164"]),
        ({"models.route": {"@type": PER_ROUTE, "disabled": True}}, {}, []),
        ({"models.route": {"@type": CONFIG, "config": {}}}, {}, ["AIM165"]),
        ({"models.route": {"@type": CONFIG, "config": SWITCH}}, {}, []),
        ({"models.route": {"@type": CONFIG, "disabled": True}}, {}, []),
        ({"models.route": {"@type": CONFIG, "config": {"@type": PER_ROUTE, "disabled": False}}}, {}, ["AIM164"]),
    ],
)
def test_switches(settings: dict[str, Any] | None, value: dict[str, Any], found: list[str]) -> None:
    assert sorted(patched(settings, **value)) == sorted(found)


def test_settings_of_a_route_within_a_host_count() -> None:
    route = {"name": "chat", "typed_per_filter_config": {"models.route": SWITCH}}
    text = envoy_filter(http_filter(ext_proc(), disabled=True), host_patch(routes=[route]))
    assert codes(text) == []


def test_every_host_is_of_no_interest_where_it_does_not_wait_or_has_no_hosts() -> None:
    assert patched(None, context="SIDECAR_INBOUND") == []
    assert codes(envoy_filter(http_filter(ext_proc(observability_mode=True)))) == []
    assert codes(envoy_filter(http_filter(ext_proc()), workloadSelector=None, targetRefs=[{"name": "waypoint"}])) == []


def test_any_filter_may_be_switched_off_for_good() -> None:
    lua = {"@type": f"{URL}envoy.extensions.filters.http.lua.v3.Lua"}
    assert codes(envoy_filter(http_filter(lua, disabled=True))) == ["AIM162"]
    assert codes(envoy_filter(http_filter(lua))) == []
