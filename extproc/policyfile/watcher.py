"""Keeps the view up to date with the policy files while the server runs.

Contents are compared, not times: an atomic rename, a kubelet's swap of symbolic links and a slow editor all look the
same here, and a touch looks like nothing. A load that fails leaves the last good view in place.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event, Lock, Thread

from extproc.errors import PolicyProblems, Problem
from extproc.policy.snapshot import Snapshot
from extproc.policyfile import loader

log = logging.getLogger(__name__)

INTERVAL = 1.0
"""Seconds between two looks at the files."""
SETTLE = 0.1
"""Seconds for which changed files must stay as they are before they are loaded: an editor may be still writing."""


class PolicyFeed:
    """The current view of some policy files. ``view`` may be read from any thread, at any time."""

    def __init__(
        self,
        paths: Sequence[Path],
        on_reload: Callable[[bool, Sequence[Problem]], None] | None = None,
        *,
        interval: float = INTERVAL,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Loads ``paths``. Raises ``PolicyProblems``.

        ``on_reload(ok, problems)`` is called after every later load, in the thread that made it, when ``view`` and
        ``problems`` tell the result; where it went well, the problems are warnings. ``interval``: seconds.
        """
        self._paths = tuple(paths)
        self._on_reload = on_reload
        self._interval = interval
        self._clock = clock
        self._files = self._read()
        loaded = loader.build(self._files)
        self.snapshot: Snapshot = loaded.snapshot
        self.warnings: tuple[Problem, ...] = loaded.warnings
        """What may be wrong with the current view."""
        self.problems: tuple[Problem, ...] = ()
        """Why the files as they are now can't be used; empty where ``view`` is made of them."""
        self.loaded_at = clock()
        """When ``view`` was loaded, in seconds since the epoch."""
        self._loading = Lock()
        self._stopping = Event()
        self._wake = Event()
        self._poked = False
        self._thread: Thread | None = None

    def poll(self) -> bool:
        """Loads the files if they changed since they were last loaded. Whether they did."""
        with self._loading:
            files = self._read()
            if files == self._files:
                return False
            self._load(files)
        return True

    def reload(self) -> bool:
        """Loads the files whether they changed or not. Whether they could be used."""
        with self._loading:
            self._load(self._read())
            return not self.problems

    def _read(self) -> loader.PolicyTexts:
        return loader.read(self._paths, watched=True)

    def _load(self, files: loader.PolicyTexts) -> None:
        self._files = files
        try:
            loaded = loader.build(files, self.snapshot.generation + 1)
        except PolicyProblems as failed:
            self.problems = failed.problems
        else:
            self.snapshot, self.warnings, self.problems = loaded.snapshot, loaded.warnings, ()
            self.loaded_at = self._clock()
        if self.problems:
            log.error(
                "policy not loaded: %d problems; generation %d stays", len(self.problems), self.snapshot.generation
            )
        else:
            log.info("policy loaded, generation %d", self.snapshot.generation)
        if self._on_reload is not None:
            try:
                self._on_reload(not self.problems, self.problems or self.warnings)
            except Exception:
                log.exception("on_reload failed")

    def start(self) -> None:
        """Watches the files in a thread of its own until ``stop``."""
        if self._thread is not None:
            raise RuntimeError("the feed has been started")
        self._thread = Thread(target=self._run, name="policy-feed", daemon=True)
        self._thread.start()

    def poke(self) -> None:
        """Has the files reloaded now, changed or not. Does nothing itself: for signal handlers."""
        self._poked = True
        self._wake.set()

    def stop(self) -> None:
        """Ends the thread and waits for it. Harmless where there is none."""
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
                if self._poked:
                    self._poked = False
                    self.reload()
                elif self._settled():
                    self.poll()
            except Exception:  # a bug, or memory has run out: the next look may go well
                log.exception("the policy files could not be looked at; generation %d stays", self.snapshot.generation)

    def _settled(self) -> bool:
        """Whether the files changed, and have not changed further since."""
        files = self._read()
        return files != self._files and not self._stopping.wait(SETTLE) and files == self._read()
