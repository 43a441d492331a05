"""The replies that take working out; the conversations in test_stream.py use them all."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from extproc.bodies.request import BodyEdit
from extproc.envoy.actions import BodyEcho, BodyReply
from extproc.exchange.replies import ECHO_LIMIT, client_copies, echo, replaced
from extproc.headers import Headers


@given(st.integers(0, 3 * ECHO_LIMIT), st.booleans())
def test_an_echo_is_the_body_in_pieces_that_fit(size: int, end: bool) -> None:
    body = bytes(size)
    pieces = [a for a in echo(body, end_of_stream=end) if isinstance(a, BodyEcho)]
    assert b"".join(p.data for p in pieces) == body
    assert [p.end_of_stream for p in pieces] == [False] * (len(pieces) - 1) + [end]
    assert all(len(p.data) <= ECHO_LIMIT for p in pieces)


@given(st.lists(st.binary(max_size=5), max_size=8), st.data())
def test_replaced_pieces_make_the_spliced_body(chunks: list[bytes], data: st.DataObject) -> None:
    body = b"".join(chunks)
    start = data.draw(st.integers(0, len(body)))
    # A model name is never empty, so neither is what is replaced.
    end = data.draw(st.integers(start, len(body)))
    if start == end:
        return
    splice = BodyEdit(start, end, data.draw(st.binary(max_size=7)))
    replies = replaced([len(c) for c in chunks], body, splice)
    out = [c if r.body is None else r.body for c, r in zip(chunks, replies, strict=False) if isinstance(r, BodyReply)]
    assert b"".join([*out, *chunks[len(replies) :]]) == splice.apply(body)
    # No reply beyond the last piece that changes: Envoy passes on the rest by itself.
    assert sum(map(len, chunks[: len(replies) - 1])) < end


def test_client_copies_are_the_routing_headers_that_would_survive() -> None:
    headers = Headers.of([("X-Model-Version", "v9"), ("x-gpu-pool", "mine"), ("x-user-id", "ann")])
    assert client_copies(headers) == ("x-model-version", "x-gpu-pool")
    assert client_copies(headers, [("x-model-version", "v1")]) == ("x-gpu-pool",)
    assert client_copies(Headers()) == ()
