"""The values of a policy file: what each reader takes, in which form, and why it refuses the rest."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from extproc import yamldoc
from extproc.policyfile import values
from extproc.policyfile.fields import Field

Reader = Callable[[Field], object]


def value(text: str, read: Reader) -> tuple[object, list[str]]:
    (root,), syntax = yamldoc.read("f.yaml", f"v: {text}\n")
    assert syntax == []
    field = Field("f.yaml", [], root).at("v")
    return read(field), [f"{p.message}; {p.remedy}" for p in field.problems]


@pytest.mark.parametrize(
    ("read", "text", "result"),
    [
        *((values.name, "v1", "v1"), (values.name, "v1.2_a-B", "v1.2_a-B"), (values.name, "a" * 63, "a" * 63)),
        *((values.namespace, "ai-prod", "ai-prod"), (values.label, "''", ""), (values.label, "a.b", "a.b")),
        (values.model_pattern, "meta-llama/Llama-3*", "meta-llama/Llama-3*"),
        (values.model_pattern, '"*"', "*"),
        (values.model_pattern, "모델 8b", "모델 8b"),
        (values.model_name, "llama3:8b", "llama3:8b"),
        (values.gpu_word, "8.0", "8.0"),
        (values.gpu_word, "80", "80"),
        (values.gpu_word, '"8.0+"', "8.0+"),
        (values.locality, "us-west1/a", "us-west1/a"),
        (values.header_name, "X-User-Id", "x-user-id"),
        (values.header_value, "'true'", b"true"),
        (values.header_value, "''", b""),
        (values.header_value, "é", b"\xc3\xa9"),
        (values.cookie_name, "session_id", "session_id"),
        (values.pointer, "/user", ("user",)),
        (values.pointer, "/a~1b/~0/0", ("a/b", "~", "0")),
        (values.pointer, "/~01", ("~1",)),
        (values.pointer, "/", ("",)),
        (values.host, "model-inference.ai.svc.cluster.local", "model-inference.ai.svc.cluster.local"),
        (values.host, "Model_Inference", "model_inference"),
        *((values.path_prefix, text, text) for text in ("/team-a", "/a/b.c", "/a%20b", "/...")),
        (values.host, "'[0:0::1]'", "[::1]"),
        (values.host, "10.0.0.1", "10.0.0.1"),
        (values.endpoint, "127.0.0.1:9001", "127.0.0.1:9001"),
        (values.endpoint, "LocalHost:080", "localhost:80"),
        (values.endpoint, "'[::1]:65535'", "[::1]:65535"),
        (values.url, "http://10.0.0.1:8000/metrics?x=1", "http://10.0.0.1:8000/metrics?x=1"),
        (values.duration, "60s", 60.0),
        (values.duration, "1m30s", 90.0),
        (values.duration, "500ms", 0.5),
        (values.duration, "1.5h", 5400.0),
        (values.duration, "1ms", 0.001),
        (values.duration, "24h", 86400.0),
        (values.memory, "80Gi", 81920),
        (values.memory, "16G", 15258),
        (values.memory, "1048576", 1),
        (values.body_size, "1Ki", 1024),
        (values.body_size, "1Gi", 1 << 30),
        (values.body_size, "4096", 4096),
        (values.metric_name, "inference_throughput", "inference_throughput"),
        (values.response_header, "X-Cache_Hits", "x-cache_hits"),
    ],
)
def test_good_values(read: Reader, text: str, result: object) -> None:
    assert value(text, read) == (result, [])


@pytest.mark.parametrize(
    ("read", "text", "said"),
    [
        *((values.name, text, "is not allowed; give 1 to 63") for text in ("a b", "-a", "a-", "a" * 64, "é", "a/b")),
        (values.name, "1.0", "1.0 is a number in YAML"),
        (values.namespace, "AI", '"AI" is not allowed'),
        (values.label, "~", "is empty"),
        (values.path_prefix, "team-a", '"team-a" is not a path\'s beginning; begin it with a /'),
        (values.path_prefix, "/team-a/", "leave out the / at its end"),
        (values.path_prefix, "/", "leave it out: an API's path needs no prefix"),
        (values.path_prefix, "'/{team}'", "write it out: a prefix has no variables"),
        *(
            (values.path_prefix, text, "write it as it comes in a request: /team-a")
            for text in ("/a?b", "'/a#b'", "/a/../b", "/a/.", "//a", "/ä", "/a b")
        ),
        (values.model_pattern, "' a'", "give a model's name or a pattern of at most 256 printable"),
        (values.model_pattern, '"a\\nb"', '"a\\nb" is not allowed'),
        (values.model_pattern, "a" * 257, "of at most 256 printable"),
        (values.model_pattern, "''", "is empty"),
        (values.model_name, "'llama-*'", '"llama-*" is a pattern; give the one name'),
        (values.gpu_word, "[a100]", "is a list"),
        (values.gpu_word, '"a100\\t"', "give at most 63 printable"),
        (values.header_name, "x user", '"x user" is not allowed'),
        (values.header_name, "X-GPU-Pool", "x-gpu-pool is set by the processor and never taken from a client"),
        (values.header_name, "x-model-version", "use a header of your own; for version pins there is allowPin"),
        (values.header_value, "true", 'put it in quotes: "true"'),
        (values.header_value, '"a\\r\\nb"', 'no header has the value "a\\r\\nb"'),
        (values.header_value, "' a'", "no space around them"),
        (values.cookie_name, "a=b", '"a=b" is not allowed'),
        (values.pointer, "user", '"user" is not a JSON Pointer; write /user'),
        (values.pointer, "/a~2", '"/a~2" is not a JSON Pointer'),
        (values.pointer, "''", "is empty"),
        (values.host, "a b", '"a b" is not a host; give a DNS name'),
        (values.host, "a:80", "the port goes into spec.port"),
        (values.host, "http://a", "leave out the scheme"),
        (values.host, "-a.b", '"-a.b" is not a host'),
        (values.host, "1.2.3.400", '"1.2.3.400" is not a host'),
        (values.host, "'[::1%eth0]'", "is not a host"),
        (values.host, "'[::1'", "is not a host"),
        (values.endpoint, "a", '"a" has no port; give host:port'),
        (values.endpoint, "'a:'", '"a:" has no port'),
        (values.endpoint, "'::1:80'", "put an IPv6 address in brackets"),
        (values.endpoint, "'[::g]:80'", '"[::g]" is not a host'),
        (values.endpoint, "http://a:80", "leave out the scheme and the path"),
        (values.endpoint, "a:0", "0 is not a port; give a port from 1 to 65535"),
        (values.endpoint, "a:65536", "65536 is not a port"),
        (values.endpoint, "a:http", '"a:http" has no port'),
        (values.url, "10.0.0.1/metrics", "give a URL: http://host:port/metrics"),
        (values.duration, "60", '"60" is not a duration; add a unit: 60s'),
        (values.duration, "1 s", '"1 s" is not a duration; write it as in 60s, 1m30s or 500ms'),
        (values.duration, "s", '"s" is not a duration'),
        (values.duration, "-1s", '"-1s" is not a duration'),
        (values.duration, "0s", "0s is out of range; give 1ms to 24h; for no timeout leave the field out"),
        (values.duration, "100us", "100us is out of range"),
        (values.duration, "25h", "25h is out of range"),
        (values.memory, "80GB", '"80GB" is not a quantity; write it as Kubernetes does: 80Gi'),
        (values.memory, "80", "80 bytes is no size of a GPU's memory; give a unit: 80Gi"),
        (values.memory, "-1Gi", '"-1Gi" is not a quantity'),
        (values.body_size, "512", "512 bytes is out of range; give 1Ki to 1Gi"),
        (values.body_size, "2Gi", "2147483648 bytes is out of range"),
        (values.body_size, "8MB", "write it as Kubernetes does: 8Mi"),
        (values.metric_name, "a-b", '"a-b" is not allowed'),
        (values.response_header, "x:y", '"x:y" is not allowed'),
    ],
)
def test_bad_values_give_nothing_and_say_why(read: Reader, text: str, said: str) -> None:
    result, (found,) = value(text, read)
    assert result is None
    assert said in found


def test_a_pattern_that_looks_like_a_shell_glob_is_doubted() -> None:
    result, (said,) = value("'llama-?'", values.model_pattern)
    assert result == "llama-?"
    assert said.startswith("only * is special in a pattern")


def test_endpoints_that_mean_the_same_are_the_same() -> None:
    result, said = value("['[::1]:80', '[0:0:0:0:0:0:0:1]:80', A:1, a:1]", values.endpoints)
    assert result == ("[::1]:80", "a:1")
    assert said == ["the same endpoint as on line 1; remove one of the two"] * 2
