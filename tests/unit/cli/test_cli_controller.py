"""`extproc controller`: its flags, what it renders for each mesh, what it says where there is no cluster."""

from __future__ import annotations

from pathlib import Path

import pytest
from linkerd_adapter import manifests
from linkerd_adapter.gateway import Options
from linkerd_adapter.names import Service

from extproc.cli.controller import SETTLE, _meshes, _rollouts, processor_services
from extproc.cli.main import main
from extproc.cli.render_istio import istio_options
from extproc.errors import SetupError
from extproc.kubernetes import change_order
from extproc.kubernetes.ownership import Ownership
from extproc.policy.snapshot import Snapshot
from extproc.render.istio.istio_options import IstioOptions
from extproc.render.istio.manifests import documents
from tests.unit.cli.command_lines import arguments, help_of, refused
from tests.unit.render.snapshots import CANARY


def test_defaults_and_flags(capsys: pytest.CaptureFixture[str]) -> None:
    given = arguments("controller")
    assert (given.mesh, given.namespaces, given.lease) == ("istio", None, ("aimesh-system", "aimesh-controller"))
    assert given.settle == SETTLE == change_order.SETTLE
    assert istio_options(given) == IstioOptions()
    given = arguments("controller", "--for", "sidecar", "--processor", "dns:///a:1", "--namespace", "ai")
    assert istio_options(given) == IstioOptions(proxies=("sidecar",), processors=("dns:///a:1",))
    assert given.namespaces == ["ai"]
    assert "'a' is no place; write NAMESPACE/NAME" in refused(capsys, "controller", "--lease", "a")
    assert "extproc controller --mesh linkerd" in help_of(capsys, "controller")


@pytest.mark.parametrize(
    ("mesh", "names"), [("istio", ["istio"]), ("linkerd", ["linkerd"]), ("both", ["istio", "linkerd"])]
)
def test_it_renders_what_the_commands_render(mesh: str, names: list[str]) -> None:
    given = arguments("controller", "--mesh", mesh, "--image", "i:1")
    found = {writer.mesh: render for writer, render in _meshes(given, Ownership("ai/controller"))}
    assert list(found) == names
    if "istio" in found:
        assert found["istio"](CANARY, dict) == documents(CANARY, IstioOptions())
    if "linkerd" in found:
        options = Options(gateway=Service("aimesh-system", "inference-gateway"), image="i:1", replicas=None)
        texts = {"a.yaml": "x"}
        assert tuple(found["linkerd"](CANARY, lambda: texts)) == manifests.render(CANARY, texts, options).manifests
        assert found["linkerd"](Snapshot(), dict) == ()


@pytest.mark.parametrize(
    ("addresses", "services"),
    [
        (["aimesh-extproc.aimesh-system.svc.cluster.local:50051"], [("aimesh-system", "aimesh-extproc")]),
        (["dns:///a.b.svc:1", "dns:///c.d.svc.x:1", "unix:///p.sock"], [("b", "a"), ("d", "c")]),
        (["dns:///processor.example:1", "dns:///10.0.0.1:1"], []),
    ],
)
def test_the_processors_are_those_of_the_services_among_the_addresses(
    addresses: list[str], services: list[tuple[str, str]]
) -> None:
    assert processor_services(addresses) == services


@pytest.mark.parametrize(
    ("flags", "namespaces"),
    [
        ((), {"aimesh-system"}),
        (("--mesh", "linkerd", "--gateway-name", "edge/gateway"), {"edge"}),
        (("--mesh", "both", "--gateway-name", "edge/gateway"), {"aimesh-system", "edge"}),
        (("--processor", "unix:///p.sock"), None),
        (("--mesh", "both", "--processor", "unix:///p.sock"), None),
    ],
)
def test_rollouts_are_driven_where_processors_can_be_found(
    flags: tuple[str, ...], namespaces: set[str] | None, caplog: pytest.LogCaptureFixture
) -> None:
    found = _rollouts(arguments("controller", *flags), Ownership("ai/controller"))
    assert ({watch.namespace for watch in found.watches} if found else None) == namespaces
    assert ("rollouts are not driven" in caplog.text) == (found is None)


def test_a_prometheus_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SetupError, match="--prometheus is no base URL"):
        _rollouts(arguments("controller", "--prometheus", "prometheus:9090"), Ownership("ai/controller"))
    assert arguments("controller", "--prometheus", "http://a", "--prometheus", "http://b").prometheus == [
        "http://a",
        "http://b",
    ]


def test_no_cluster(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    assert main(["controller"]) != 0
    assert "set KUBECONFIG, or run as a pod with a ServiceAccount" in capsys.readouterr().err
