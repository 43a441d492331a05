"""Patches: what is in an ``Any``, which parts of requests a filter sees, what overwrites what."""

from __future__ import annotations

import pytest

from extproc.lint.envoy_filter_patches import EXT_PROC, WITH_MATCHER, mode, sees_requests, typed
from extproc.lint.manifest import Value
from extproc.lint.mesh import Mesh, read

URL = "type.googleapis.com/"
STRUCT = f'{{"@type": {URL}xds.type.v3.TypedStruct, typeUrl: {URL}{EXT_PROC}, value: {{a: 1}}}}'


def spec(text: str) -> Value:
    (resource,), _ = read([("f.yaml", f"kind: A\nspec: {text}")])
    return resource.spec


@pytest.mark.parametrize(
    "text",
    [
        f'{{"@type": {URL}{EXT_PROC}, a: 1}}',
        f'{{"@type": {URL}udpa.type.v1.TypedStruct, type_url: {URL}{EXT_PROC}, value: {{a: 1}}}}',
        STRUCT,
        f'{{"@type": {URL}{WITH_MATCHER}, extension_config: {{typed_config: {{"@type": {URL}{EXT_PROC}, a: 1}}}}}}',
        f'{{"@type": {URL}{WITH_MATCHER}, extension_config: {{typed_config: {STRUCT}}}}}',
    ],
)
def test_what_an_any_holds(text: str) -> None:
    found = typed(spec(text))
    assert (found.name, found.config.at("a").text) == (EXT_PROC, "1")


def test_an_any_without_a_type_holds_nothing() -> None:
    assert typed(spec("{a: 1}")).name == ""
    assert typed(spec(f'{{"@type": {URL}xds.type.v3.TypedStruct}}')).name == ""


@pytest.mark.parametrize(
    ("modes", "sees"),
    [
        ("{}", True),
        ("{request_header_mode: SKIP}", False),
        ("{requestHeaderMode: SKIP, response_body_mode: BUFFERED}", False),
        ("{request_header_mode: SKIP, request_body_mode: BUFFERED}", True),
        ("{request_header_mode: DEFAULT}", True),
        ("{request_header_mode: SKIP, request_trailer_mode: SEND}", True),
    ],
)
def test_whether_requests_are_seen(modes: str, sees: bool) -> None:
    assert sees_requests(spec(modes)) is sees


def test_modes_that_are_not_written() -> None:
    assert [mode(spec("{}"), f"request_{part}_mode") for part in ("header", "body", "trailer")] == [
        *("SEND", "NONE", "SKIP")
    ]


def test_settings_of_routes_are_found_by_the_filters_name() -> None:
    per_route = f'{{"@type": {URL}envoy.extensions.filters.http.ext_proc.v3.ExtProcPerRoute, overrides: {{a: NUMBER}}}}'
    switch = f'{{"@type": {URL}envoy.config.route.v3.FilterConfig, config: {per_route.replace("NUMBER", "2")}}}'
    text = f"""
kind: EnvoyFilter
spec:
  configPatches:
  - applyTo: VIRTUAL_HOST
    patch:
      value:
        typed_per_filter_config: {{one: {per_route.replace("NUMBER", "1")}}}
        routes: [{{typed_per_filter_config: {{one: {switch}, other: {{"@type": {URL}a.B, overrides: {{}}}}}}}}]
"""
    found = Mesh(read([("f.yaml", text)])[0]).overrides
    assert {name: [own.at("a").text for own in settings] for name, settings in found.items()} == {"one": ["1", "2"]}
