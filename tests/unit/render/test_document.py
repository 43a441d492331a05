"""What is written as YAML means the same to every reader, whatever people call their versions and models."""

from __future__ import annotations

import pytest
import yaml

from extproc.render.document import to_yaml


@pytest.mark.parametrize(
    "text", ["n", "Y", "3e12345", "2e5", "1.e3", "-.5e1", "0o17", "0b1", "1_0", "10", "1.5", "no", "true", "~"]
)
def test_what_is_a_text_is_quoted_where_some_reader_takes_it_for_something_else(text: str) -> None:
    """Go's and C++'s YAML take more for numbers and truths than PyYAML, which wrote them bare."""
    written = to_yaml({"a": text, text: "b"})
    assert written == f"a: '{text}'\n'{text}': b\n"
    assert yaml.safe_load(written) == {"a": text, text: "b"}


@pytest.mark.parametrize("text", ["v1", "60s", "502,503", "1.2.3", "e3", "3e", "nn", "chat/n", "a100-west", "0xfg"])
def test_other_texts_stay_bare(text: str) -> None:
    assert to_yaml({"a": text}) == f"a: {text}\n"


def test_texts_of_several_lines_stay_so() -> None:
    text = "admin:\n  a: 'b' # c\n\nd: \"ü\"\n"
    assert to_yaml({"data": {"envoy.yaml": text}}) == (
        "data:\n  envoy.yaml: |\n    admin:\n      a: 'b' # c\n\n    d: \"ü\"\n"
    )


@pytest.mark.parametrize(("text", "escaped"), [("a\u2028b", r"a\Lb"), ("a\u2029b\nc", r"a\Pb\nc")])
def test_ends_of_lines_that_only_some_readers_know_are_escaped(text: str, escaped: str) -> None:
    """Envoy took the indentation of what followed for a part of the text."""
    assert to_yaml({"a": text}) == f'a: "{escaped}"\n'
    assert yaml.safe_load(to_yaml({"a": text})) == {"a": text}


def test_long_lines_are_not_folded_and_nothing_is_an_alias() -> None:
    same = {"a": "word " * 100 + "end"}
    written = to_yaml({"one": same, "two": same})
    assert written.count("\n") == 4
    assert "*" not in written
