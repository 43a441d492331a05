"""Where rollouts are kept on one machine: small files beside the policy.

``policy.rollouts.json`` holds what the weights in force depend on, and changes with each step; every process that reads
the policy reads it. ``policy.rollouts.evidence.json`` holds what was measured in the present step, for whoever drives
the rollouts next and for ``extproc rollout status``; without it a step begins anew. Both are replaced by a rename, so
that a process that is killed at any moment leaves the old or the new one.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import msgspec

from extproc.policy.rollout_plan import RolloutState
from extproc.policy.snapshot import Snapshot
from extproc.regular_file import read_regular
from extproc.rollout.evidence import StepEvidence
from extproc.rollout.status import describe

MAX_SIZE = 16 << 20
"""Most bytes of one of the files."""


DIRECTORY_STATE = "rollouts.json"
"""Name of the file with the states, where policies are a directory's."""


class _States(msgspec.Struct, forbid_unknown_fields=True):
    rollouts: tuple[RolloutState, ...] = ()


class _Evidence(msgspec.Struct):
    steps: list[StepEvidence] = []


class RolloutFiles:
    """The files that belong to some policy files: beside the first of these, or within it where it is a directory."""

    def __init__(self, paths: Sequence[Path]) -> None:
        first = paths[0]
        folder, stem = (first, "") if first.is_dir() else (first.parent, f"{first.stem}.")
        self.state = folder / f"{stem}{DIRECTORY_STATE}"
        self._evidence = folder / f"{stem}rollouts.evidence.json"
        self._lock = folder / f".{stem}rollouts.lock"
        self._driver_lock = folder / f".{stem}rollouts.driver"

    def read_text(self) -> str:
        """The states as text, for ``decode_states``; empty where there are none. Raises ``OSError``."""
        try:
            return read_regular(self.state, MAX_SIZE).decode(errors="replace")
        except (FileNotFoundError, NotADirectoryError):
            return ""

    def read(self) -> tuple[RolloutState, ...]:
        """The states. Raises ``OSError``, and ``ValueError`` where they can't be read."""
        return decode_states(self.read_text())

    def write(self, states: Sequence[RolloutState]) -> None:
        """Replaces the states; within ``locked``. When it returns they outlast a loss of power. Raises ``OSError``."""
        with _replacing(self.state) as file:
            file.write(encode_states(states).encode())
            file.flush()
            os.fsync(file.fileno())
        _sync_directory(self.state.parent)

    def read_evidence(self) -> list[StepEvidence]:
        """What was measured; empty where there is nothing that can be read."""
        try:
            return msgspec.json.decode(read_regular(self._evidence, MAX_SIZE), type=_Evidence).steps
        except (OSError, msgspec.MsgspecError):
            return []

    def write_evidence(self, steps: Sequence[StepEvidence]) -> None:
        """Replaces what was measured. Raises ``OSError``."""
        with _replacing(self._evidence) as file:
            file.write(msgspec.json.encode(_Evidence(list(steps))))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else changes the states meanwhile: driver and commands read, decide and write within it.

        Raises ``OSError``.
        """
        with _open(self._lock) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def become_driver(self) -> IO[bytes] | None:
        """A file to keep open for as long as this process drives the rollouts; None while another one does.

        Raises ``OSError``.
        """
        file = _open(self._driver_lock)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        return file


def encode_states(states: Sequence[RolloutState]) -> str:
    """The text of a file with these states."""
    return msgspec.json.format(msgspec.json.encode(_States(tuple(states)))).decode() + "\n"


def decode_states(text: str) -> tuple[RolloutState, ...]:
    """The states in a text that ``RolloutFiles.read_text`` gave. Raises ``ValueError``."""
    return msgspec.json.decode(text, type=_States).rollouts if text else ()


def describe_rollouts(files: RolloutFiles, snapshot: Snapshot) -> list[dict[str, Any]]:
    """The rollouts of ``snapshot`` as plain data, with what was measured by whoever drives them."""
    steps = {step.policy: step for step in files.read_evidence()}
    described = (describe(policy, steps.get(policy.name)) for policy in snapshot.policies if policy.rollout)
    return [one for one in described if one is not None]


def _open(path: Path) -> IO[bytes]:
    """An empty file for writing; never that which a symbolic link names, for others may write to the directory."""
    return os.fdopen(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666), "wb")


@contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    fresh = path.with_name(f".{path.name}.new")
    with _open(fresh) as file:
        yield file
    fresh.replace(path)


def _sync_directory(path: Path) -> None:
    number = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(number)
    finally:
        os.close(number)
