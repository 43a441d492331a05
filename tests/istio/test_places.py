"""Names that policies may have, and what becomes of them in the mesh: DNS labels that never meet."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from extproc.policy.gpu import Gpu, Requirement
from extproc.policy.snapshot import GpuPool, Policy, Snapshot, Version
from extproc.render.istio.istio_options import slug
from extproc.render.istio.manifests import IstioOptions, documents
from extproc.render.istio.places import places

NAMES = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", fullmatch=True)
ALIKE = st.text("aA-._b", min_size=1, max_size=4).filter(lambda name: name[0] not in "-._" and name[-1] not in "-._")
LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@given(st.lists(NAMES, min_size=1, max_size=3))
def test_any_names_make_a_label(names: list[str]) -> None:
    assert LABEL.fullmatch(f"aimesh-{slug(*names)}")
    assert slug(*names) == slug(*names)


@given(
    st.lists(ALIKE, min_size=1, max_size=3, unique=True),
    st.lists(ALIKE, min_size=1, max_size=4, unique=True),
    st.lists(ALIKE, max_size=3, unique=True),
    st.booleans(),
)
def test_different_targets_are_different_places(
    policies: list[str], versions: list[str], pools: list[str], listed: bool
) -> None:
    """Names that a careless join would make the same: a-b and c, a and b-c, A and a."""
    served = tuple(Version(name, 1, (f"10.0.0.{i}:1",) if listed else ()) for i, name in enumerate(versions, 1))
    snapshot = Snapshot(
        tuple(
            Policy(name, "ai", host="one", models=(name,), versions=served, gpu=Requirement() if pools else None)
            for name in policies
        ),
        tuple(GpuPool(name, Gpu()) for name in pools),
    )
    found = places(snapshot, IstioOptions())
    assert len({(place.host, place.subset) for place in found.values()}) == len(found)
    assert all(LABEL.fullmatch(place.subset) for place in found.values())
    names = [
        (d["kind"], d["metadata"]["namespace"], d["metadata"]["name"]) for d in documents(snapshot, IstioOptions())
    ]
    assert len(set(names)) == len(names)
