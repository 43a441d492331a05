"""The corpus of the fuzzer, replayed: every family and every trap that was ever found."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc import apis
from extproc.headers import Headers
from tests.fuzz.mutations import mutated
from tests.fuzz.target import CORPUS, check, request

FILES = sorted(CORPUS.iterdir())


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_what_must_hold_holds(file: pytest.File) -> None:
    check(file.read_bytes())  # type: ignore[attr-defined]


@given(st.sampled_from(FILES), st.binary(max_size=12))
def test_near_the_corpus_too(file: pytest.File, how: bytes) -> None:
    check(mutated(file.read_bytes(), how))  # type: ignore[attr-defined]


def test_every_family_that_reads_bodies_is_in_the_corpus() -> None:
    seen = set()
    for file in FILES:
        pairs, _ = request(file.read_bytes())
        headers = Headers.of(pairs)
        found = apis.classify(headers.text(":method"), headers.text(":path"), headers)
        seen |= {found.api} if found else set()
    assert {row.api for row in apis.TABLE if row.reader is not None} <= seen
