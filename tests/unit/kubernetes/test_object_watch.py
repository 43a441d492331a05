"""A kind of objects followed at a fake API server: changes, watches that break, and what is missed meanwhile."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from math import inf
from threading import Thread
from typing import Any

import pytest

from extproc.kubernetes import object_watch
from extproc.kubernetes.api import POOLS, Listed, WatchEvent
from extproc.kubernetes.object_watch import LONGEST_PAUSE, ObjectWatch
from tests.unit.kubernetes.fake_api import FakeApi, made
from tests.waiting import until


class Following:
    """An ``ObjectWatch`` that runs in a thread."""

    def __init__(self, namespace: str = "", **more: Any) -> None:
        self.changes = 0
        self.watch = ObjectWatch(POOLS, namespace, self._on_change, **more)
        self._loop = asyncio.new_event_loop()
        self._task = self._loop.create_task(self.watch.run())
        self._thread = Thread(target=self._run)
        self._thread.start()

    def _on_change(self) -> None:
        self.changes += 1

    def _run(self) -> None:
        with pytest.raises(asyncio.CancelledError):
            self._loop.run_until_complete(self._task)
        self._loop.close()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join()

    @property
    def names(self) -> set[str]:
        return {f"{namespace}/{name}" for namespace, name in list(self.watch.objects)}


@pytest.fixture
def following(fake_api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> Iterator[Following]:
    monkeypatch.setattr(object_watch, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(object_watch, "LONGEST_PAUSE", 0.02)
    fake_api.put(made("GpuPool", "west", {}))
    found = Following()
    until(lambda: fake_api.watches)
    yield found
    found.stop()


def test_what_is_known_already_is_no_change(fake_api: FakeApi, following: Following) -> None:
    """The answer to a write of one's own, put into ``objects``: its event comes afterwards."""
    (known,) = following.watch.objects.values()
    known["metadata"]["resourceVersion"] = "9"
    fake_api.tell("GpuPool", {"type": "MODIFIED", "object": made("GpuPool", "west", {}, resourceVersion="9")})
    fake_api.tell(
        "GpuPool", {"type": "MODIFIED", "object": made("GpuPool", "west", {"memory": "1Gi"}, resourceVersion="10")}
    )
    until(lambda: following.watch.objects["ai", "west"]["spec"])
    assert following.changes == 2, "the list, and the second event"


def test_a_list_and_what_changes_after_it(fake_api: FakeApi, following: Following) -> None:
    watch = following.watch
    assert (following.names, watch.listed, watch.failure, following.changes) == ({"ai/west"}, True, "", 1)
    assert watch.outage.rest(time.monotonic()) == 0
    assert watch.objects["ai", "west"]["kind"] == "GpuPool"
    fake_api.put(made("GpuPool", "east", {}))
    fake_api.put(made("GpuPool", "east", {"product": "a100"}))
    until(lambda: following.changes == 3)
    assert watch.objects["ai", "east"]["spec"] == {"product": "a100"}
    fake_api.remove(made("GpuPool", "west", {}))
    until(lambda: following.names == {"ai/east"})
    fake_api.tell("GpuPool", {"type": "DELETED", "object": made("GpuPool", "never-seen", {})})
    until(lambda: following.changes == 5)


def test_a_watch_that_ends_goes_on_where_it_was(fake_api: FakeApi, following: Following) -> None:
    fake_api.tell("GpuPool", {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "70"}}})
    fake_api.end_watches()
    until(lambda: fake_api.watches)
    asked = [parameters.get("resourceVersion") for _, parameters in fake_api.requests]
    assert asked == [None, "2", "70"]
    assert following.changes == 1


def test_now_and_then_all_is_listed_anew(fake_api: FakeApi, following: Following) -> None:
    fake_api.forget()
    for _ in range(object_watch.WATCHES_A_LIST):
        assert following.names == {"ai/west"}
        fake_api.end_watches()
        until(lambda: fake_api.watches)
    until(lambda: following.names == set())


@pytest.mark.parametrize("how", ["broken", "expired", "nonsense"])
def test_what_is_missed_while_no_watch_is_open_comes_with_the_next_list(
    fake_api: FakeApi, following: Following, how: str
) -> None:
    fake_api.forget()
    fake_api.put(made("GpuPool", "east", {}, namespace="b"))
    if how == "broken":
        fake_api.end_watches(b"{")
    elif how == "expired":
        fake_api.tell("GpuPool", {"type": "ERROR", "object": {"code": 410, "message": "too old"}})
    else:
        fake_api.tell("GpuPool", {"type": "ADDED", "object": {"metadata": {}}})
    until(lambda: following.names == {"b/east"})
    until(lambda: following.watch.failure == "")


def test_what_is_known_stays_while_the_server_is_away(
    fake_api: FakeApi, following: Following, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    fake_api.answer = (503, b'{"message": "starting"}')
    fake_api.end_watches(b"{")
    until(lambda: following.watch.failure == "503: starting")
    asked = len(fake_api.requests)
    until(lambda: len(fake_api.requests) > asked + 3)
    assert (following.names, following.watch.listed, following.changes) == ({"ai/west"}, True, 1)
    assert following.watch.outage.rest(time.monotonic()) == inf
    fake_api.answer = None
    until(lambda: not following.watch.failure)
    assert 0 < following.watch.outage.rest(time.monotonic()) < inf
    told = [message for message in caplog.messages if "503" in message]
    assert told == ["gpupools can't be watched: 503: starting"], "once, however many tries fail"
    assert "gpupools are watched again" in caplog.messages


def test_a_first_list_that_fails_is_told(fake_api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_watch, "FIRST_PAUSE", 0.01)
    fake_api.answer = (403, b'{"message": "forbidden"}')
    following = Following("team")
    until(lambda: following.changes > 1)
    assert (following.watch.listed, following.watch.failure) == (False, "403: forbidden")
    assert following.watch.outage.rest(time.monotonic()) == 0, "the server is there"
    fake_api.kubeconfig.unlink()
    until(lambda: "not found" in following.watch.failure)
    following.stop()
    assert {path for path, _ in fake_api.requests} == {POOLS.path("team")}


def test_pauses_double_up_to_the_longest_and_differ() -> None:
    watch = ObjectWatch(POOLS, "", lambda: None)
    longest = []
    for _ in range(12):
        watch._fail("x")
        longest.append(max(watch._pause() for _ in range(200)))
    assert longest[0] <= object_watch.FIRST_PAUSE < longest[3] < longest[-1] <= LONGEST_PAUSE
    assert min(watch._pause() for _ in range(200)) < LONGEST_PAUSE * 0.6


def test_a_kind_that_may_be_missing_has_no_objects_until_it_is_there(
    fake_api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_watch, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(object_watch, "LONGEST_PAUSE", 0.02)
    fake_api.put(made("GpuPool", "west", {}))
    fake_api.missing.add("GpuPool")
    following = Following(optional=True)
    try:
        asked = len(fake_api.requests)
        until(lambda: len(fake_api.requests) > asked + 3)
        watch = following.watch
        assert (watch.listed, watch.failure, following.names, following.changes) == (True, "", set(), 1)
        fake_api.missing.clear()
        until(lambda: following.names == {"ai/west"})
        fake_api.missing.add("GpuPool")
        fake_api.end_watches()
        until(lambda: not following.names)
    finally:
        following.stop()


def test_only_a_part_of_an_object_may_be_kept(fake_api: FakeApi) -> None:
    fake_api.put(made("GpuPool", "west", {"product": "a100"}))
    following = Following(part=lambda found: {"kind": found["kind"], "metadata": found["metadata"]})
    try:
        until(lambda: fake_api.watches)
        fake_api.put(made("GpuPool", "east", {"product": "a100"}))
        until(lambda: following.names == {"ai/west", "ai/east"})
        assert all(found.keys() == {"kind", "metadata"} for found in following.watch.objects.values())
    finally:
        following.stop()


def test_a_server_that_ends_watches_at_once_is_not_asked_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    no_events: list[WatchEvent] = []

    class Ending:
        async def list(self, *_: object) -> Listed:
            asked.append("list")
            return Listed("1", [])

        async def watch(self, *_: object) -> AsyncIterator[WatchEvent]:
            asked.append("watch")
            if len(asked) > 20:
                raise asyncio.CancelledError
            for event in no_events:
                yield event

    @asynccontextmanager
    async def connect() -> AsyncIterator[Ending]:
        yield Ending()

    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 8:
            raise asyncio.CancelledError

    monkeypatch.setattr(object_watch, "connect", connect)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(ObjectWatch(POOLS, "", lambda: None).run())
    assert asked == ["list", *["watch"] * 8]
    assert 0 < pauses[0] <= object_watch.FIRST_PAUSE < pauses[-1] <= LONGEST_PAUSE
