"""The names of filters that extensions make."""

from __future__ import annotations

import pytest

from extproc.lint.extension_filters import extension_of, filters
from extproc.lint.mesh import read

TEXT = """\
kind: {kind}
metadata: {{name: auth, namespace: ingress}}
spec: {{phase: {phase}}}
"""


def names(kind: str, phase: str = "AUTHN") -> dict[str, str]:
    (resource,), _ = read([("f.yaml", TEXT.format(kind=kind, phase=phase))])
    found = list(filters(resource))
    assert {extension.of for extension in found} == {f"{kind} ingress.auth"}
    assert {extension.phase for extension in found} == {"" if phase == "UNSPECIFIED_PHASE" else phase}
    return {extension.filter_name: extension.releases for extension in found}


def test_a_wasm_plugin_has_another_name_in_every_third_release() -> None:
    assert names("WasmPlugin") == {
        "extenstions.istio.io/wasmplugin/ingress.auth": "Istio 1.25 and older",
        "extensions.istio.io/wasmplugin/ingress.auth": "Istio 1.26 to 1.29",
        "extensions.istio.io/trafficextension/ingress.auth~istio-translated-wasmplugin": "Istio 1.30 and newer",
    }


def test_a_traffic_extension_has_one() -> None:
    assert list(names("TrafficExtension", "UNSPECIFIED_PHASE")) == ["extensions.istio.io/trafficextension/ingress.auth"]


@pytest.mark.parametrize("kind", ["WasmPlugin", "TrafficExtension"])
def test_names_tell_their_extension(kind: str) -> None:
    assert {extension_of(name) for name in names(kind)} == {"ingress.auth"}


@pytest.mark.parametrize("name", ["", "envoy.filters.http.wasm", "extensions.istio.io/wasmplugin/", "a/b/c.d"])
def test_other_names_are_of_none(name: str) -> None:
    assert extension_of(name) == ""
