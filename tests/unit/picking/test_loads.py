"""Tables of loads."""

from __future__ import annotations

import numpy as np
import pytest

from extproc.picking import loads
from extproc.picking.loads import EndpointLoads, unknown, unknown_table


def test_each_row_by_its_name() -> None:
    table = np.arange(16.0).reshape(8, 2)
    found = EndpointLoads(table)
    for number, name in enumerate(loads.ROWS):
        assert getattr(found, name).tolist() == table[number].tolist()
    assert len(found) == 2


def test_nothing_is_known_and_nothing_was_sent() -> None:
    found = unknown(3)
    assert np.isnan([found.waiting, found.running, found.cache, found.block_size, found.gpu]).all()
    assert np.isinf(found.age).all()
    assert not found.in_flight.any()
    assert not found.sent_since.any()
    with pytest.raises(ValueError, match="read-only"):
        found.table[0, 0] = 1


@pytest.mark.parametrize("shape", [(7, 3), (8,), (8, 3, 1)])
def test_a_table_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="8 rows"):
        EndpointLoads(np.zeros(shape))


def test_adapters_are_of_each_endpoint_or_of_none() -> None:
    with pytest.raises(ValueError, match="adapters of 1 endpoints, loads of 2"):
        EndpointLoads(unknown_table(2), (frozenset(),))
