"""Two controllers that both believe they lead a rollout, in any order of what may happen to them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from extproc.kubernetes.api import ApiFailure
from tests.unit.kubernetes.rolled_out import Cluster, Leader, rollout

COMMANDS = ("pause", "resume", "promote", "abort", "resume/2", "nonsense")


class TwoLeaders(RuleBasedStateMachine):
    """Two controllers that both believe they lead, each with a view that may be old, while everything changes.

    ``WatchedApi`` holds after each write that its state follows from the one before it.
    """

    @initialize()
    def begin(self) -> None:
        self.cluster = Cluster()
        self.leaders = [Leader(self.cluster), Leader(self.cluster)]

    def _led(self, which: int, work: Callable[[Leader], object]) -> None:
        with suppress(ApiFailure):  # the other one was faster
            work(self.leaders[which])

    @rule(which=st.integers(0, 1))
    def hears(self, which: int) -> None:
        self.leaders[which].sync()

    @rule(which=st.integers(0, 1))
    def makes_a_pass(self, which: int) -> None:
        self._led(which, Leader.make_pass)

    @rule(which=st.integers(0, 1), requests=st.sampled_from((0, 60)), failing=st.sampled_from((0, 0, 0, 1)))
    def looks(self, which: int, requests: int, failing: int) -> None:
        self.cluster.processors.count(requests, requests * failing)
        self._led(which, Leader.tick)

    @rule(which=st.integers(0, 1))
    def hears_and_looks(self, which: int) -> None:
        self._led(which, lambda leader: leader.go_on(60))

    @rule(which=st.integers(0, 1))
    def is_killed(self, which: int) -> None:
        self.leaders[which] = Leader(self.cluster)

    @rule(command=st.sampled_from((None, *COMMANDS)))
    def commands(self, command: str | None) -> None:
        self.cluster.annotate(command)

    @rule(steps=st.sampled_from(([1, 50, 100], [2, 4, 100])), to=st.sampled_from(("v2", "v2", "v3", None)))
    def changes_the_spec(self, steps: list[int], to: str | None) -> None:
        self.cluster.apply(**({} if to is None else {"rollout": rollout(to, steps=steps)}))

    @rule(served=st.sampled_from((("v1",), ("v1", "v2"), ("v1", "v2", "v3"))))
    def pods_come_and_go(self, served: tuple[str, ...]) -> None:
        self.cluster.served = served
