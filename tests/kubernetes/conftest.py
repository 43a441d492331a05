"""A real control plane for all tests of this folder. They run by `make test-kubernetes` only."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from itertools import count

import pytest
import yaml

from tests.house.tree import ROOT
from tests.kubernetes.binaries import cache, missing
from tests.kubernetes.control_plane import ControlPlane

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
