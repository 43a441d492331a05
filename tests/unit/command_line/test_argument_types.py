"""Words of a command line: what they become, and what is said about those that are none."""

from __future__ import annotations

import argparse
from collections.abc import Callable

import pytest

from extproc.command_line import argument_types


def test_what_words_become() -> None:
    assert argument_types.seconds("0.5") == 0.5
    assert argument_types.address("[::1]:0") == "[::1]:0"
    assert argument_types.data_address("unix:///run/a.sock") == "unix:///run/a.sock"
    assert argument_types.data_address("h:65535") == "h:65535"
    assert argument_types.count("12") == 12
    for place in ("", "us-west1", "us-west1/a", "us-west1/a/rack-7"):
        assert argument_types.locality(place) == place
    assert argument_types.count("999999") == 999_999
    assert argument_types.seconds("0") == 0
    for url in ("", "http://host:4317", "https://[::1]/v1"):
        assert argument_types.collector(url) == url


@pytest.mark.parametrize(
    ("read", "text", "said"),
    [
        (argument_types.seconds, "soon", "is no number of seconds"),
        (argument_types.seconds, "-1", "is no number of seconds"),
        (argument_types.seconds, "nan", "is no number of seconds"),
        (argument_types.above_zero, "0", "is no number above 0"),
        (argument_types.above_zero, "nan", "is no number above 0"),
        (argument_types.above_zero, "1e6", "below 1000000"),
        (argument_types.address, "h:80000", "write it as host:port, with a port from 0 to 65535"),
        (argument_types.envoy_address, "8080", "write it as host:port"),
        (argument_types.envoy_address, "localhost:80", "write 127.0.0.1:80 for this machine only, or 0.0.0.0:80"),
        (argument_types.envoy_address, "[::x]:80", "has a name, and Envoy listens on IP addresses"),
        (argument_types.address, "8080", "write it as host:port"),
        (argument_types.address, "h:65536", "is no address"),
        (argument_types.data_address, "unix://run/a.sock", "is no address; did you mean unix:///run/a.sock"),
        (argument_types.data_address, "unix:/run/a.sock", "did you mean unix:///run/a.sock"),
        (argument_types.data_address, "unix:", "write a unix socket as unix:///path"),
        (argument_types.address, "unix:///run/a.sock", "is a unix socket, which can't be used here; give host:port"),
        (argument_types.address, "http://h:80/", "is no address; write it without http://: h:80"),
        (argument_types.locality, "us west", "is no place; write it as region, region/zone or region/zone/subzone"),
        (argument_types.locality, "us/", "is no place"),
        (argument_types.locality, "a/b/c/d", "is no place"),
        (argument_types.locality, "a" * 201, "is no place"),
        (argument_types.count, "0", "is no number from 1"),
        (argument_types.count, "1.5", "is no number from 1"),
        (argument_types.count, "-1", "is no number from 1"),
        (argument_types.count, "1000000", "is no number from 1"),
        (argument_types.seconds, "1e6", "is no number of seconds"),
        (argument_types.seconds, "inf", "is no number of seconds"),
        (argument_types.address, ":80", "is no address"),
        (argument_types.address, "h:", "is no address"),
        (argument_types.data_address, "h", "write it as host:port"),
        (argument_types.collector, "collector:4317", "write it as http://host:4317"),
        (argument_types.collector, "http://", "is no collector's URL"),
    ],
)
def test_what_is_said_about_others(read: Callable[[str], object], text: str, said: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError) as caught:
        read(text)
    assert said in str(caught.value)


@pytest.mark.parametrize("text", ["http://a", "https://a.example:8443/x", "http://[::1]:80"])
def test_urls(text: str) -> None:
    assert argument_types.url(text) == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("localhost:8080", "did you mean http://localhost:8080"),
        ("gateway", "did you mean http://gateway"),
        ("http:/x", "write it as http://host:port"),
        ("http://", "write it as http://host:port"),
        ("http://a:port", "write it as http://host:port"),
        ("ftp://a", "write it as http://host:port"),
        ("", "write it as http://host:port"),
    ],
)
def test_no_urls(text: str, said: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=f"^{text!r} is no URL; {said}$"):
        argument_types.url(text)


def test_a_path_begins_with_a_slash() -> None:
    assert argument_types.path("/v1?x=1") == "/v1?x=1"


@pytest.mark.parametrize(
    ("text", "meant"),
    [("v1/chat", "/v1/chat"), ("http://a/v1?x=1", "/v1[?]x=1"), ("http://a", "/"), ("", "/")],
)
def test_no_paths(text: str, meant: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=f"is no path; did you mean {meant}$"):
        argument_types.path(text)


@pytest.mark.parametrize("text", ["200", "503", "5xx", "0"])
def test_statuses(text: str) -> None:
    assert argument_types.status_code(text) == text


@pytest.mark.parametrize("text", ["abc", "", "6xx", "5x", "99", "1000", "5xxx"])
def test_no_statuses(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=f"^{text!r} is no status; write it as 503, or as 5xx"):
        argument_types.status_code(text)
