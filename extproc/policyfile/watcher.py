"""Keeps the snapshot up to date with the policy files while the server runs.

Contents are compared, not times, so that an atomic rename, a kubelet's swap of symbolic links and an editor's writes
are all noticed, and a mere touch is not. A load that fails leaves the last good snapshot in place.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event, Lock, Thread

from extproc.errors import PolicyProblems, Problem, problem_counts
from extproc.policy.snapshot import Snapshot
from extproc.policyfile import loader

log = logging.getLogger(__name__)

POLL_INTERVAL = 1.0
"""Seconds between two reads of the files."""
SETTLE_TIME = 0.1
"""Seconds for which changed files must stay the same before they are loaded: an editor may still be writing."""


class PolicyWatcher:
    """The snapshot of some policy files. ``snapshot`` may be read from any thread, at any time."""

    def __init__(
        self,
        paths: Sequence[Path],
        on_reload: Callable[[bool, Sequence[Problem]], None] | None = None,
        *,
        interval: float = POLL_INTERVAL,
        clock: Callable[[], float] = time.time,
        quiet: bool = False,
        locality: str = "",
        session_keys: tuple[bytes, ...] = (),
    ) -> None:
        """Loads ``paths``. Raises ``PolicyProblems``.

        ``on_reload(ok, problems)`` is called after every later load, in the thread that made it, when ``snapshot`` and
        ``problems`` have the result; after a good load its problems are warnings. ``interval``: seconds between reads.
        ``quiet``: logs no loads, where another process does that watches the same files. ``locality`` and
        ``session_keys``: of the snapshot.
        """
        self._paths = tuple(paths)
        self._on_reload = on_reload
        self._interval = interval
        self._clock = clock
        self._quiet = quiet
        self._locality, self._session_keys = locality, session_keys
        self._files = self._read()
        loaded = loader.build(self._files, locality=locality, session_keys=session_keys)
        self.snapshot: Snapshot = loaded.snapshot
        self.good = self._files
        """What ``snapshot`` is made of."""
        self.warnings: tuple[Problem, ...] = loaded.warnings
        """Warnings about the current snapshot."""
        self.problems: tuple[Problem, ...] = ()
        """Why the files as they are now can't be used; empty where ``snapshot`` is made of them."""
        self.loaded_at = clock()
        """When ``snapshot`` was loaded, in seconds since the epoch."""
        self._loading = Lock()
        self._stopping = Event()
        self._wake = Event()
        self._reload_requested = False
        self._thread: Thread | None = None

    def poll(self) -> bool:
        """Loads the files if they changed since the last load; returns whether they did."""
        with self._loading:
            files = self._read()
            if files == self._files:
                return False
            self._load(files)
        return True

    def reload(self) -> bool:
        """Loads the files whether they changed or not; returns whether they could be used."""
        with self._loading:
            self._load(self._read())
            return not self.problems

    def _read(self) -> loader.PolicyTexts:
        return loader.read(self._paths, watched=True)

    def _load(self, files: loader.PolicyTexts) -> None:
        self._files = files
        try:
            loaded = loader.build(files, self.snapshot.generation + 1, self._locality, self._session_keys)
        except PolicyProblems as failed:
            self.problems = failed.problems
        else:
            self.snapshot, self.warnings, self.problems = loaded.snapshot, loaded.warnings, ()
            self.good, self.loaded_at = files, self._clock()
        if self.problems:
            text = "policy not loaded: %s; generation %d stays"
            log.log(
                logging.DEBUG if self._quiet else logging.ERROR,
                text,
                problem_counts(self.problems),
                self.snapshot.generation,
            )
        else:
            level = logging.DEBUG if self._quiet else logging.INFO
            log.log(level, "policy loaded, generation %d", self.snapshot.generation)
        if self._on_reload is not None:
            try:
                self._on_reload(not self.problems, self.problems or self.warnings)
            except Exception:
                log.exception("on_reload failed")

    def start(self) -> None:
        """Watches the files in a thread of its own until ``stop``. Raises ``RuntimeError`` on the second call."""
        if self._thread is not None:
            raise RuntimeError("the watcher has been started")
        self._thread = Thread(target=self._run, name="policy-watcher", daemon=True)
        self._thread.start()

    def request_reload(self) -> None:
        """Has the thread reload the files now, changed or not. Safe in a signal handler."""
        self._reload_requested = True
        self._wake.set()

    def stop(self) -> None:
        """Ends the thread, if it was started, and waits for it."""
        self._stopping.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while True:
            self._wake.wait(self._interval)
            self._wake.clear()
            if self._stopping.is_set():
                return
            try:
                if self._reload_requested:
                    self._reload_requested = False
                    self.reload()
                elif self._settled():
                    self.poll()
            except Exception:  # a bug, or memory has run out: the next read may succeed
                log.exception("the policy files could not be looked at; generation %d stays", self.snapshot.generation)

    def _settled(self) -> bool:
        """Whether the files changed, and stayed the same for ``SETTLE_TIME`` since."""
        files = self._read()
        return files != self._files and not self._stopping.wait(SETTLE_TIME) and files == self._read()
