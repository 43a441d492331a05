"""What has been read of one answer so far."""

from __future__ import annotations

from extproc.answers.token_counts import CountsByPart


class AnswerState:
    """Written by the inspector of the answer's API, event by event."""

    __slots__ = ("client_error", "complete", "counts", "excess_fields", "failed", "output_events", "over", "refused")

    def __init__(self) -> None:
        self.output_events = 0
        """Events with output."""
        self.counts: CountsByPart = {}
        self.excess_fields = 0
        """Of a gRPC answer: protobuf fields beyond those that each of its messages may have."""
        self.refused = 0
        """Events that were no JSON."""
        self.complete = False
        """It has said that it is complete; output that follows can revoke it."""
        self.failed = False
        """It has said that it failed."""
        self.client_error = False
        """It has told of an error that is the client's: it has not failed."""
        self.over = False
        """Nothing that can follow is needed."""
