"""Gauges of targets and pools, of one process and of several."""

from __future__ import annotations

from extproc.telemetry.metrics import Metrics
from extproc.telemetry.serving_gauges import ServingGauges, collect


def samples(*processes: ServingGauges) -> dict[tuple[str, ...], float]:
    return {(s.name, *s.labels.values()): s.value for family in collect(processes) for s in family.samples}


ONE = ServingGauges({("p", "v1", ""): 1, ("p", "v2", "west"): 1}, {"west": {"free": 0.2, "waiting": 3.0}})
TWO = ServingGauges({("p", "v1", ""): 0}, {"west": {"free": 0.4}, "east": {"gpu": 0.9, "cache": 0.5}})


def test_a_target_is_up_where_all_reach_it_and_loads_are_averaged() -> None:
    assert samples(ONE, TWO) == {
        ("inference_target_up", "p", "v1", "none"): 0,
        ("inference_target_up", "p", "v2", "west"): 1,
        ("inference_pool_free", "west"): (0.2 + 0.4) / 2,
        ("inference_pool_waiting", "west"): 3.0,
        ("inference_pool_kv_cache_usage", "east"): 0.5,
        ("inference_pool_gpu_utilization", "east"): 0.9,
    }


def test_the_place_of_a_pool() -> None:
    one = ServingGauges(places={"west": ("us-west", "us-west1/a"), "east": ("", "")})
    assert samples(one, one) == {
        ("inference_pool_info", "west", "us-west", "us-west1/a"): 1,
        ("inference_pool_info", "east", "", ""): 1,
    }


def test_those_that_wait_are_added_up() -> None:
    one = ServingGauges(queued={("p", "v1", "west"): 3, ("q", "", ""): 1})
    two = ServingGauges(queued={("p", "v1", "west"): 2})
    assert samples(one, two) == {
        ("inference_queue_waiting", "p", "v1", "west"): 5,
        ("inference_queue_waiting", "q", "none", "none"): 1,
    }


def test_nothing_known_is_nothing_told() -> None:
    assert samples(ServingGauges()) == {}


def test_workers_tell_theirs() -> None:
    worker, total = Metrics(), Metrics()
    worker.serving = lambda: TWO
    total.add(worker.state())
    total.add(worker.state(), alive=False)
    found = {sample.name: sample.value for family in total.collect() for sample in family.samples}
    assert found["inference_pool_gpu_utilization"] == 0.9
