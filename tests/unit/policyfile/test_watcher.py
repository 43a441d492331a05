"""Hot reload: what counts as a change, what a failure leaves in place, and the thread that watches."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from queue import Queue
from threading import Event

import pytest

from extproc.errors import PolicyProblems, Problem
from extproc.policyfile import loader
from extproc.policyfile.watcher import PolicyWatcher
from tests.policy_documents import policy

WAIT = 10
"""Seconds that something may take to come about."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(policy())
    return path


Reported = tuple[bool, Sequence[Problem]]


@pytest.fixture
def reports() -> Queue[Reported]:
    return Queue()


@pytest.fixture
def watcher(path: Path, reports: Queue[Reported]) -> Iterator[PolicyWatcher]:
    """A watcher that looks at its files every few milliseconds once it is started."""
    ticks = iter(range(100, 1000))
    watcher = PolicyWatcher(
        [path], lambda ok, problems: reports.put((ok, problems)), interval=0.005, clock=lambda: float(next(ticks))
    )
    yield watcher
    watcher.stop()


def port(watcher: PolicyWatcher) -> int:
    return watcher.snapshot.policies[0].port


def test_the_first_load_is_at_once_and_no_reload(watcher: PolicyWatcher, reports: Queue[Reported]) -> None:
    assert (port(watcher), watcher.snapshot.generation, watcher.loaded_at) == (8080, 1, 100.0)
    assert (watcher.problems, watcher.warnings, reports.qsize()) == ((), (), 0)


def test_a_first_load_that_fails_raises(path: Path) -> None:
    path.write_text(policy("port: 0"))
    with pytest.raises(PolicyProblems, match="port: 0 is out of range"):
        PolicyWatcher([path])


def test_nothing_changed_nothing_happens(watcher: PolicyWatcher, path: Path, reports: Queue[Reported]) -> None:
    before = watcher.snapshot
    assert not watcher.poll()
    os.utime(path, (1, 1))
    assert not watcher.poll()
    path.write_text(policy())
    assert not watcher.poll()
    assert watcher.snapshot is before
    assert reports.empty()


def test_a_change_is_loaded_once(watcher: PolicyWatcher, path: Path, reports: Queue[Reported]) -> None:
    path.write_text(policy("port: 1"))
    assert watcher.poll()
    assert (port(watcher), watcher.snapshot.generation, watcher.loaded_at) == (1, 2, 101.0)
    assert reports.get_nowait() == (True, ())
    assert not watcher.poll()


def test_a_change_that_keeps_size_and_time_is_seen(watcher: PolicyWatcher, path: Path) -> None:
    path.write_text(policy("port: 1"))
    os.utime(path, (1, 1))
    assert watcher.poll()
    path.write_text(policy("port: 2"))
    os.utime(path, (1, 1))
    assert watcher.poll()
    assert port(watcher) == 2


def test_an_atomic_rename_is_seen(watcher: PolicyWatcher, path: Path) -> None:
    new = path.with_name("new")
    new.write_text(policy("port: 1"))
    new.rename(path)
    assert watcher.poll()
    assert port(watcher) == 1


def test_a_kubelets_swap_of_links_is_seen(tmp_path: Path) -> None:
    for name, text in (("..1", "port: 1"), ("..2", "port: 2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "policy.yaml").write_text(policy(text))
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "policy.yaml").symlink_to("..data/policy.yaml")
    watcher = PolicyWatcher([tmp_path])
    assert port(watcher) == 1
    (tmp_path / "..data_tmp").symlink_to("..2")
    (tmp_path / "..data_tmp").rename(tmp_path / "..data")
    assert watcher.poll()
    assert port(watcher) == 2


def test_files_come_and_go_in_a_directory(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(policy("models: [a]", "a"))
    watcher = PolicyWatcher([tmp_path])
    (tmp_path / "b.yaml").write_text(policy("models: [b]", "b"))
    assert watcher.poll()
    assert [p.name for p in watcher.snapshot.policies] == ["a", "b"]
    (tmp_path / "a.yaml").unlink()
    assert watcher.poll()
    assert [p.name for p in watcher.snapshot.policies] == ["b"]


@pytest.mark.parametrize("spoil", [lambda p: p.write_text(policy("port: 0")), Path.unlink, lambda p: p.write_text("")])
def test_a_failure_keeps_the_last_good_view(
    watcher: PolicyWatcher, path: Path, reports: Queue[Reported], spoil: Callable[[Path], object]
) -> None:
    before = watcher.snapshot
    spoil(path)
    assert watcher.poll()
    assert watcher.snapshot is before
    assert watcher.loaded_at == 100.0
    assert watcher.problems
    assert reports.get_nowait() == (False, watcher.problems)
    assert not watcher.poll(), "the same mistake is not reported again"
    path.write_text(policy("port: 1"))
    assert watcher.poll()
    assert (port(watcher), watcher.snapshot.generation, watcher.problems) == (1, 2, ())
    assert reports.get_nowait() == (True, ())


def test_back_to_what_it_was_is_a_good_load(watcher: PolicyWatcher, path: Path) -> None:
    path.write_text(policy("port: 0"))
    watcher.poll()
    path.write_text(policy())
    assert watcher.poll()
    assert (watcher.problems, watcher.snapshot.generation) == ((), 2)


def test_warnings_are_reported_and_kept(watcher: PolicyWatcher, path: Path, reports: Queue[Reported]) -> None:
    path.write_text(policy("allowPin: true"))
    watcher.poll()
    assert [p.path for p in watcher.warnings] == ["spec.allowPin"]
    assert reports.get_nowait() == (True, watcher.warnings)
    assert watcher.problems == ()


def test_a_forced_reload_needs_no_change(watcher: PolicyWatcher, path: Path, reports: Queue[Reported]) -> None:
    assert watcher.reload()
    assert (watcher.snapshot.generation, watcher.loaded_at, reports.qsize()) == (2, 101.0, 1)
    path.write_text("")
    assert not watcher.reload()
    assert not watcher.reload()
    assert (watcher.snapshot.generation, reports.qsize()) == (2, 3)


def test_a_listener_that_fails_harms_nothing(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def fail(_ok: bool, _problems: Sequence[Problem]) -> None:
        raise RuntimeError("no")

    watcher = PolicyWatcher([path], fail)
    path.write_text(policy("port: 1"))
    assert watcher.poll()
    assert port(watcher) == 1
    assert "on_reload failed" in caplog.text


def test_every_result_is_logged_in_one_line(
    watcher: PolicyWatcher, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "extproc.policyfile.watcher")
    watcher.reload()
    path.write_text(policy("port: 0\nhost: a b"))
    watcher.reload()
    path.write_text(policy("port: 0"))
    watcher.reload()
    assert caplog.messages == [
        "policy loaded, generation 2",
        "policy not loaded: 2 errors, 0 warnings; generation 2 stays",
        "policy not loaded: 1 error, 0 warnings; generation 2 stays",
    ]


def test_the_thread_sees_a_change(watcher: PolicyWatcher, path: Path, reports: Queue[Reported]) -> None:
    watcher.start()
    path.write_text(policy("port: 1"))
    # It may have seen the file while it was being written, but only a whole one comes last.
    while port(watcher) != 1:
        reports.get(timeout=WAIT)
    path.write_text("")
    while reports.get(timeout=WAIT)[0]:
        pass
    assert port(watcher) == 1


def test_a_poke_reloads_at_once_though_nothing_changed(path: Path, reports: Queue[Reported]) -> None:
    watcher = PolicyWatcher([path], lambda ok, problems: reports.put((ok, problems)), interval=3600)
    watcher.start()
    watcher.request_reload()
    assert reports.get(timeout=WAIT) == (True, ())
    assert watcher.snapshot.generation == 2
    watcher.request_reload()
    assert reports.get(timeout=WAIT) == (True, ())
    watcher.stop()


def test_stop_ends_the_thread_at_once(path: Path) -> None:
    watcher = PolicyWatcher([path], interval=3600)
    watcher.start()
    start = time.monotonic()
    watcher.stop()
    assert time.monotonic() - start < WAIT
    assert watcher._thread is not None
    assert not watcher._thread.is_alive()
    watcher.stop()


def test_a_feed_is_started_once(watcher: PolicyWatcher) -> None:
    watcher.start()
    with pytest.raises(RuntimeError, match="has been started"):
        watcher.start()


def test_a_file_that_is_being_written_is_left_until_it_rests(
    watcher: PolicyWatcher, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first look finds half a file, the second a whole one: neither is loaded until two looks agree."""
    half, whole = (loader.PolicyTexts(((str(path), text),)) for text in ("", policy("port: 1")))
    looks = iter([half, whole, whole, whole])
    monkeypatch.setattr(loader, "read", lambda _paths, **_: next(looks))
    assert not watcher._settled()
    assert watcher._settled()


def test_a_pipe_in_the_place_of_the_file_is_told_and_reloads_go_on(
    watcher: PolicyWatcher, path: Path, reports: Queue[Reported]
) -> None:
    """Nobody writes into it: whoever opened it would wait for ever."""
    watcher.start()
    path.unlink()
    os.mkfifo(path)
    told = ["does not exist"]
    while told != ["cannot be read: it is a FIFO (named pipe), and not a file"]:
        ok, problems = reports.get(timeout=WAIT)
        told = [problem.message for problem in problems]
        assert not ok
    assert (port(watcher), watcher.snapshot.generation) == (8080, 1)
    path.unlink()
    path.write_text(policy("port: 1"))
    while port(watcher) != 1:
        reports.get(timeout=WAIT)


def test_a_pipe_beside_the_files_of_a_directory_is_told(path: Path) -> None:
    watcher = PolicyWatcher([path.parent])
    os.mkfifo(path.with_name("z.yml"))
    assert not watcher.reload()
    assert [problem.file for problem in watcher.problems] == [str(path.with_name("z.yml"))]


def test_a_first_load_from_a_pipe_raises_and_does_not_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "policy.yaml")
    with pytest.raises(PolicyProblems, match="it is a FIFO"):
        PolicyWatcher([tmp_path / "policy.yaml"])


def test_a_bug_while_looking_does_not_end_the_looks(
    path: Path, reports: Queue[Reported], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    watcher = PolicyWatcher([path], lambda ok, problems: reports.put((ok, problems)), interval=0.005)
    failed = Event()

    def fail(*_: object, **__: object) -> loader.PolicyTexts:
        failed.set()
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(loader, "read", fail)
        watcher.start()
        assert failed.wait(WAIT)
    path.write_text(policy("port: 1"))
    while port(watcher) != 1:
        reports.get(timeout=WAIT)
    watcher.stop()
    assert "could not be looked at; generation 1 stays" in caplog.text


@pytest.mark.parametrize("quiet", [False, True])
def test_one_that_is_quiet_logs_no_loads(quiet: bool, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    watcher = PolicyWatcher([path], quiet=quiet)
    watcher.reload()
    path.write_text(policy("port: 0"))
    watcher.reload()
    said = ["policy loaded, generation 2", "policy not loaded: 1 error, 0 warnings; generation 2 stays"]
    assert caplog.messages == ([] if quiet else said)
