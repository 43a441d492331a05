"""The table of error shapes has what the families declare, for operations that there are."""

from __future__ import annotations

from extproc.apis import FAMILIES, TABLE
from extproc.apis.error_table import DEFAULT, SHAPES, error_shape

WITHOUT_OWN = {"ray", "torchserve_grpc", "vllm_grpc"}
"""Those whose servers answer with anything, and those that share an API's name or speak gRPC only."""


def test_the_table_has_what_the_families_declare() -> None:
    for family in FAMILIES:
        api, name = family.ROWS[0].api, family.__name__.rpartition(".")[2]
        assert hasattr(family, "ERRORS") != (name in WITHOUT_OWN), name
        for operation, shape in vars(family).get("ERRORS", {}).items():
            assert SHAPES[api, operation] is shape
    known = {(row.api, row.operation) for row in TABLE}
    assert {key for key in SHAPES if key[1]} <= known


def test_an_operation_without_its_own_has_that_of_its_api() -> None:
    assert error_shape("gemini", "generateContent") is SHAPES["gemini", ""]
    assert error_shape("gemini", "embeddings") is DEFAULT
    assert error_shape("nothing", "known") is DEFAULT
