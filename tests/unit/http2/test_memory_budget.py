"""What connections may buffer for their clients."""

from __future__ import annotations

import pytest

from extproc.http2 import memory_budget
from extproc.http2.memory_budget import MemoryBudget
from tests.http2.served import Noted, Served
from tests.http2.wire import (
    HELLO,
    REQUEST,
    Answers,
    data,
    errors,
    headers,
    message,
    reset,
    settings,
)


@pytest.mark.parametrize("way", ["messages without their end", "answers that wait"])
def test_what_one_connection_holds_is_bounded_and_the_newest_is_refused(way: str) -> None:
    budget = MemoryBudget(per_connection=1_000_000, per_process=10_000_000)
    served, statuses = Served(budget), dict[int, str]()
    served.say(HELLO + settings({4: 0}))
    piece = {"messages without their end": message(bytes(400_000))[:300_000], "answers that wait": message(b"much")}[
        way
    ]
    for n in range(1, 21, 2):
        said = b"".join(data(n, piece[at : at + 16_384]) for at in range(0, len(piece), 16_384))
        answers = Answers().read(served.say(headers(n) + said))
        statuses |= {number: answers.status(number)[0] for number in answers.ended}
        assert budget.buffered <= 1_000_000
        served.check()
    assert statuses == dict.fromkeys(range(7, 21, 2), "8")  # three have room
    served.say(reset(1) + reset(3) + reset(5))
    assert budget.buffered == 0
    answers = Answers().read(served.say(settings({4: 1 << 20}) + headers(21) + data(21, message(b"end:"))))
    assert answers.status(21) == ("0", "")


def test_what_a_process_holds_is_bounded_and_small_messages_still_find_room() -> None:
    budget = MemoryBudget(per_connection=1_000_000, per_process=2_000_000)
    greedy = [Served(budget) for _ in range(5)]
    for served in greedy:
        half = b"".join(data(1, (bytes((0, 0, 0x20, 0, 0)) if n == 0 else b"") + bytes(16_000)) for n in range(60))
        served.say(HELLO + headers(1) + half)
    assert budget.buffered <= 2_000_000
    assert [len(served.connection.streams) for served in greedy] == [1, 1, 0, 0, 0]
    small = Served(budget)
    first, rest = message(bytes(20_000))[:16_000], message(bytes(20_000))[16_000:]
    assert errors(small.say(HELLO + headers(1) + data(1, first) + data(1, rest))) == []
    assert small.handlers[0].heard == [bytes(20_000)]
    for served in (*greedy, small):
        served.connection.terminate()
    assert budget.buffered == budget.cached_headers == 0


def test_remembered_blocks_are_bounded_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("extproc.http2.request_headers.CACHED_HEADER_BYTES", 600_000)
    budget = MemoryBudget()
    connections = [Served(budget) for _ in range(20)]
    for served in connections:
        served.say(HELLO)
        for n in range(1, 100, 2):
            fields = [*REQUEST, ("x", str(n)), *((f"y{m}", "v" * 100) for m in range(10))]
            served.say(headers(n, fields) + data(n, message(b"end:")))
            assert served.connection._header_reader._cached_bytes <= 1 << 17
    assert 500_000 < budget.cached_headers <= 600_000
    served = connections[-1]  # it may remember nothing, and is served
    answers = Answers().read(served.say(headers(101) + data(101, message(b"end:"))))
    assert answers.status(101) == ("0", "")
    for served in connections:
        served.connection.terminate()
    assert budget.cached_headers == 0


def test_handlers_see_no_message_after_a_refusal() -> None:
    budget = MemoryBudget(per_connection=10, per_process=100)
    served = Served(budget)
    served.say(HELLO + headers(1) + data(1, message(bytes(100))[:50]) + data(1, bytes(60)))
    (handler,) = served.handlers
    assert isinstance(handler, Noted)
    assert handler.heard == []
    assert handler.closed == 1


@pytest.mark.parametrize(
    ("own", "all_together", "exceeded"),
    [
        (1_000, 1_000, False),
        (1_001, 1_001, True),
        (300_000, 2_000, True),
        (0, 1 << 40, False),
    ],
)
def test_a_connections_bound(own: int, all_together: int, exceeded: bool) -> None:
    budget = MemoryBudget(per_connection=1_000, per_process=2_000)
    budget.buffered = all_together
    assert budget.exceeded(own) == exceeded


@pytest.mark.parametrize(
    ("own", "all_together", "exceeded"),
    [(1 << 18, 2_001, False), ((1 << 18) + 1, 2_000, False), ((1 << 18) + 1, 2_001, True)],
)
def test_a_process_bound_spares_small_connections(own: int, all_together: int, exceeded: bool) -> None:
    budget = MemoryBudget(per_connection=1 << 30, per_process=2_000)
    budget.buffered = all_together
    assert budget.exceeded(own) == exceeded


def test_bounds_in_bytes() -> None:
    budget = MemoryBudget()
    assert (budget.per_connection, budget.per_process) == ((64 << 20) + 5, 256 << 20)
    assert (budget.buffered, budget.cached_headers) == (0, 0)
    assert memory_budget.CACHED_HEADER_BYTES == 16 << 20
