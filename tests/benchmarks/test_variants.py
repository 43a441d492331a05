"""Each variant changes what Envoy is told, and is compared with its neighbour in the round."""

from __future__ import annotations

import pytest

from benchmarks.mesh.bench import Turn
from benchmarks.mesh.scenarios import Scenario
from benchmarks.mesh.variants import AS_RENDERED, BASE, compare, variants
from extproc.render.envoy.envoy_options import EnvoyOptions

OPTIONS = EnvoyOptions(access_log="")


@pytest.mark.parametrize("variant", variants()[1:], ids=lambda variant: variant.name)
def test_a_variant_differs_from_what_is_rendered(variant: Scenario) -> None:
    assert variant.document(OPTIONS, "127.0.0.1:9") != BASE.document(OPTIONS, "127.0.0.1:9")


def test_ratios_are_those_of_one_round() -> None:
    def turns(*cpus: tuple[float, float]) -> list[Turn]:
        return [Turn(n, server, envoy, 0, 0, 0, 1) for n, (server, envoy) in enumerate(cpus)]

    found = compare(
        {
            (AS_RENDERED, "chat"): turns((100, 100), (100, 200), (100, 400)),
            ("less", "chat"): turns((100, 50), (0, 200), (100, 300)),
        }
    )["less"]["chat"]
    assert (found.envoy, found.envoy_quartiles) == (0.75, (0.625, 0.875))
    assert (found.together, found.errors) == (0.75, 3)
