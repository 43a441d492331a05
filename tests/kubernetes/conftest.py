"""A real control plane for all tests of this folder. They run by `make test-kubernetes` only."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
import yaml

from tests.house.tree import ROOT
from tests.kubernetes.binaries import cache, missing
from tests.kubernetes.control_plane import ISTIOD, ControlPlane
from tests.kubernetes.live_mesh import LiveMesh
from tests.kubernetes.mesh_cluster import ADDRESSES, fill
from tests.kubernetes.mesh_envoys import add_addresses, capture
from tests.manifests import crds

_NUMBERS = count(1)


def _why_not() -> str:
    """Why these tests can't run; empty where they can."""
    if "EXTPROC_TEST_KUBERNETES" not in os.environ:
        return "they need namespaces of their own: make test-kubernetes"
    if absent := missing():
        return f"{', '.join(absent)} not in {cache()}: make test-kubernetes builds them where Go is there"
    if not shutil.which("ip") or not shutil.which("kubectl"):
        return "ip or kubectl is not there: apt-get install iproute2 kubernetes-client"
    return ""


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """etcd and kube-apiserver with our CRDs; one for all tests."""
    if why := _why_not():
        pytest.skip(why)
    with ControlPlane(tmp_path_factory.mktemp("control-plane")) as made:
        made.apply(*yaml.safe_load_all((ROOT / "istio" / "crds.yaml").read_text()))
        made.kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd", "--all")
        yield made


@pytest.fixture
def namespace(control_plane: ControlPlane) -> Iterator[str]:
    """A namespace of the test's own; its policies and pools go with it."""
    name = f"test-{next(_NUMBERS)}"
    control_plane.kubectl("create", "namespace", name)
    yield name
    control_plane.kubectl("delete", "mip,gpupools", "--all", "-n", name, "--wait=false")


@pytest.fixture(scope="session")
def istiod(control_plane: ControlPlane) -> ControlPlane:
    """With Istio's CRDs and a real istiod, which gives proxies no certificates and asks them for none."""
    if not (crds.FOLDER / "istio-1.30.3.yaml").exists():
        pytest.skip("no CRDs in ../shared/crds beside the checkout")
    control_plane.apply(*yaml.safe_load_all((crds.FOLDER / "istio-1.30.3.yaml").read_text()))
    control_plane.kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")
    control_plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "istio-system"}})
    values = yaml.safe_load((ROOT / "istio" / "mesh-values.yaml").read_text())["meshConfig"]
    more = {"rootNamespace": "istio-system", "trustDomain": "cluster.local", "enableAutoMtls": False}
    control_plane.start_istiod(values | more | {"defaultConfig": {"discoveryAddress": f"{ISTIOD}:15012"}})
    return control_plane


@pytest.fixture(scope="session")
def mesh_cluster(istiod: ControlPlane) -> ControlPlane:
    """With Services, pods and endpoints that are served by ``mesh``."""
    if not shutil.which("iptables"):
        pytest.skip("iptables is not there: apt-get install iptables")
    add_addresses(*ADDRESSES)
    capture()
    fill(istiod)
    return istiod


@pytest.fixture
def mesh(mesh_cluster: ControlPlane, tmp_path: Path) -> Iterator[LiveMesh]:
    """Two Envoys by ADS, two processors, model servers and clients."""
    with LiveMesh(mesh_cluster, tmp_path) as made:
        yield made
