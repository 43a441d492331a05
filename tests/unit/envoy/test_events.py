"""The events' tables leave nothing out and agree with Envoy."""

from __future__ import annotations

from typing import get_args

from extproc._pb.ext_proc_pb2 import ProcessingMode
from extproc.envoy.events import KINDS, BodyMode, Event


def test_body_modes_are_envoys() -> None:
    assert {mode.name: mode.value for mode in BodyMode} == dict(ProcessingMode.BodySendMode.items())


def test_kinds_leaves_no_event_out() -> None:
    assert set(KINDS) == set(get_args(Event))
    assert len(set(KINDS)) == len(KINDS)
