"""Hosts, endpoints, ports and URLs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from extproc.policyfile import endpoints
from extproc.policyfile.endpoints import Endpoints
from extproc.policyfile.fields import Field
from tests.policy_documents import read_value

Reader = Callable[[Field], object]


@pytest.mark.parametrize(
    ("read", "text", "result"),
    [
        (endpoints.host, "model-inference.ai.svc.cluster.local", "model-inference.ai.svc.cluster.local"),
        (endpoints.host, "Model_Inference", "model_inference"),
        (endpoints.host, "'[0:0::1]'", "[::1]"),
        (endpoints.host, "10.0.0.1", "10.0.0.1"),
        (endpoints.endpoint, "127.0.0.1:9001", "127.0.0.1:9001"),
        (endpoints.endpoint, "LocalHost:080", "localhost:80"),
        (endpoints.endpoint, "'[::1]:65535'", "[::1]:65535"),
        (endpoints.url, "http://10.0.0.1:8000/metrics?x=1", "http://10.0.0.1:8000/metrics?x=1"),
    ],
)
def test_good_values(read: Reader, text: str, result: object) -> None:
    assert read_value(text, read) == (result, [])


@pytest.mark.parametrize(
    ("read", "text", "said"),
    [
        (endpoints.host, "a b", '"a b" is not a host; give a DNS name'),
        (endpoints.host, "a:80", "the port goes into spec.port"),
        (endpoints.host, "http://a", "leave out the scheme"),
        (endpoints.host, "-a.b", '"-a.b" is not a host'),
        (endpoints.host, "1.2.3.400", '"1.2.3.400" is not a host'),
        (endpoints.host, "'[::1%eth0]'", "is not a host"),
        (endpoints.host, "'[::1'", "is not a host"),
        (endpoints.endpoint, "a", '"a" has no port; give host:port'),
        (endpoints.endpoint, "'a:'", '"a:" has no port'),
        (endpoints.endpoint, "'::1:80'", "put an IPv6 address in brackets"),
        (endpoints.endpoint, "'[::g]:80'", '"[::g]" is not a host'),
        (endpoints.endpoint, "http://a:80", "leave out the scheme and the path"),
        (endpoints.endpoint, "a:0", "0 is not a port; give a port from 1 to 65535"),
        (endpoints.endpoint, "a:65536", "65536 is not a port"),
        (endpoints.endpoint, "a:http", '"a:http" has no port'),
        (endpoints.url, "10.0.0.1/metrics", "give a URL: http://host:port/metrics"),
        (
            endpoints.url,
            "'http://[abc/metrics'",
            "can't be asked: Invalid IPv6 URL; give a URL: http://host:port/metrics",
        ),
        (endpoints.url, "http://a:99999/", "can't be asked: Port out of range 0-65535"),
        (endpoints.url, "http://u:p@a/", "can't be asked: it names a user"),
    ],
)
def test_bad_values_give_nothing_and_say_why(read: Reader, text: str, said: str) -> None:
    result, (found,) = read_value(text, read)
    assert result is None
    assert said in found


def test_endpoints_that_mean_the_same_are_the_same() -> None:
    result, said = read_value("['[::1]:80', '[0:0:0:0:0:0:0:1]:80', A:1, a:1]", endpoints.endpoints)
    assert result == Endpoints(("[::1]:80", "a:1"))
    assert said == ["the same endpoint as on line 1; remove one of the two"] * 2
