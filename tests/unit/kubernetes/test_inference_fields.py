"""Objects of the inference extension with missing or absurd fields: they count for nothing, and hurt no other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.kubernetes.api import Object
from extproc.kubernetes.inference_fields import flaw_of
from extproc.kubernetes.pools_as_policies import ACTIVE_PORTS, PoolObjects, with_pools
from tests.unit.kubernetes.inference_objects import objective, pod, pool, rewrite, rule

ABSURD: st.SearchStrategy[Any] = st.sampled_from([None, -1, 2**70, "", "x", True, 0.5, [], {}, [None], [[]], {"x": {}}])


def places(found: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    for key, value in found.items() if isinstance(found, dict) else enumerate(found) if isinstance(found, list) else ():
        yield from places(value, (*path, key))


def changed(found: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    copy = dict(found) if isinstance(found, dict) else list(found)
    copy[path[0]] = changed(found[path[0]], path[1:], value)
    return copy


@pytest.mark.parametrize("one", [pool(), objective("vip", 1), rewrite("r", rule("a", x=1), rule(y=None))])
def test_what_a_kind_has_can_be_read_and_without_a_spec_can_not(one: Object) -> None:
    assert flaw_of(one) == ""
    assert flaw_of({name: value for name, value in one.items() if name != "spec"}) == "Expected `object`, got `null`"
    assert flaw_of(one | {"spec": {}}).startswith("Object missing required field")


@given(data=st.data())
def test_one_object_with_absurd_fields_hurts_no_other(data: st.DataObject) -> None:
    wrong = data.draw(st.sampled_from([pool("wrong"), objective("o", 1), rewrite("r", rule("a", x=1), rule(y=1))]))
    place = data.draw(st.sampled_from(list(places(wrong["spec"]))))
    wrong = wrong | {"spec": changed(wrong["spec"], place, data.draw(ABSURD))}
    pools, others = ([wrong], []) if wrong["kind"] == "InferencePool" else ([], [wrong])
    objectives, rewrites = (
        [one for one in others if one["kind"] == kind] for kind in ("InferenceObjective", "InferenceModelRewrite")
    )
    filled, problems = with_pools((), PoolObjects([pool(age=9), *pools], objectives, rewrites, [pod(1)]))
    assert filled[0]["spec"]["versions"][0]["endpoints"] == ["10.0.0.1:8000"]
    assert not flaw_of(wrong) or [problem.path for problem in problems] == ["spec"]


def test_ports_that_no_pod_can_have_are_none() -> None:
    """More digits than Python makes a number of."""
    ranks = [pod(1), pod(2, annotations={ACTIVE_PORTS: "9" * 5000}), pod(3, annotations={ACTIVE_PORTS: ",8000 ,²"})]
    (made,), problems = with_pools((), PoolObjects([pool()], pods=ranks))
    assert (made["spec"]["versions"][0]["endpoints"], problems) == (["10.0.0.1:8000", "10.0.0.3:8000"], [])
