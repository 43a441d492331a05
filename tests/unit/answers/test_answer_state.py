"""What is known of an answer of which nothing has been read."""

from __future__ import annotations

from extproc.answers.answer_state import AnswerState
from extproc.answers.token_counts import PartCounts


def test_nothing_is_known_at_first_and_nothing_is_shared() -> None:
    first, second = AnswerState(), AnswerState()
    first.counts[0, 0] = PartCounts()
    first.output_events += 1
    first.complete = first.failed = first.over = True
    assert (second.counts, second.output_events, second.excess_fields) == ({}, 0, 0)
    assert (second.complete, second.failed, second.over) == (False, False, False)
