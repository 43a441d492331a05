"""The values of a policy file: what each reader takes, in which form, and why it refuses the rest."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from extproc.policyfile import values
from extproc.policyfile.fields import Field
from tests.policy_documents import read_value

Reader = Callable[[Field], object]


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
        *((values.path_prefix, text, text) for text in ("/team-a", "/a/b.c", "/a%20b", "/...")),
        (values.metric_name, "inference_throughput", "inference_throughput"),
        (values.response_header, "X-Cache_Hits", "x-cache_hits"),
    ],
)
def test_good_values(read: Reader, text: str, result: object) -> None:
    assert read_value(text, read) == (result, [])


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
        (values.metric_name, "a-b", '"a-b" is not allowed'),
        (values.response_header, "x:y", '"x:y" is not allowed'),
    ],
)
def test_bad_values_give_nothing_and_say_why(read: Reader, text: str, said: str) -> None:
    result, (found,) = read_value(text, read)
    assert result is None
    assert said in found


def test_a_pattern_that_looks_like_a_shell_glob_is_doubted() -> None:
    result, (said,) = read_value("'llama-?'", values.model_pattern)
    assert result == "llama-?"
    assert said.startswith("only * is special in a pattern")
