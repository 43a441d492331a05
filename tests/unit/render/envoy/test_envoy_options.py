"""Options, and values as Envoy writes them."""

from __future__ import annotations

import re

import pytest

from extproc.errors import SetupError
from extproc.render.envoy.envoy_options import (
    EnvoyOptions,
    address,
    avoid_previous_hosts,
    host_port,
    is_ip,
    request_mode,
    seconds,
    typed,
)


@pytest.mark.parametrize(
    ("options", "timeout"),
    [
        (EnvoyOptions(), 1.0),
        (EnvoyOptions(body="native"), 1.0),
        (EnvoyOptions(body="streamed"), 10.0),
        (EnvoyOptions(body="streamed", message_timeout=0.2), 0.2),
        (EnvoyOptions(message_timeout=0.0), 0.0),
    ],
)
def test_the_message_timeout(options: EnvoyOptions, timeout: float) -> None:
    assert options.effective_message_timeout == timeout


@pytest.mark.parametrize(
    ("text", "found"),
    [("h:0", ("h", 0)), ("10.0.0.1:65535", ("10.0.0.1", 65535)), ("[::1]:80", ("::1", 80)), ("::1:80", ("::1", 80))],
)
def test_host_and_port(text: str, found: tuple[str, int]) -> None:
    assert host_port(text) == found
    assert address(text) == {"socket_address": {"address": found[0], "port_value": found[1]}}


@pytest.mark.parametrize("text", ["", "8080", "host:", ":8080", "host:x", "host:70000", "host:-1"])
def test_a_bad_address_is_named(text: str) -> None:
    with pytest.raises(SetupError, match=re.escape(repr(text))):
        address(text)


@pytest.mark.parametrize("text", ["unix:///run/p.sock", "unix:/run/p.sock"])
def test_unix_sockets(text: str) -> None:
    assert address(text) == {"pipe": {"path": "/run/p.sock"}}


@pytest.mark.parametrize(
    ("host", "found"), [("10.0.0.1", True), ("::1", True), ("h", False), ("10.0.0", False), ("", False)]
)
def test_what_needs_no_name_resolution(host: str, found: bool) -> None:
    assert is_ip(host) is found


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.2, "0.2s"), (60.0, "60s"), (0.0001, "0.0001s"), (1e-9, "0.000000001s"), (100, "100s"), (0, "0s")],
)
def test_durations(value: float, text: str) -> None:
    assert seconds(value) == text


def test_an_extension_has_its_type() -> None:
    assert typed("n", "a.v3.B", c=1) == {
        "name": "n",
        "typed_config": {"@type": "type.googleapis.com/envoy.a.v3.B", "c": 1},
    }


def test_the_route_filter_gets_nothing_of_the_response() -> None:
    assert request_mode("STREAMED") == {
        "request_header_mode": "SEND",
        "request_body_mode": "STREAMED",
        "request_trailer_mode": "SKIP",
        "response_header_mode": "SKIP",
        "response_body_mode": "NONE",
        "response_trailer_mode": "SKIP",
    }


def test_a_retry_goes_to_another_host() -> None:
    found = avoid_previous_hosts()
    assert found["host_selection_retry_max_attempts"] == 20
    (predicate,) = found["retry_host_predicate"]
    assert predicate["typed_config"]["@type"].endswith("previous_hosts.v3.PreviousHostsPredicate")
