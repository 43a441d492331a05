"""YAML with places: what each node knows, what is refused, that nothing else is ever raised."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc import yamldoc
from extproc.errors import Problem
from extproc.yamldoc import Items, Mapping, Node, Scalar, child_path, quoted, read


@pytest.fixture(params=["CSafeLoader", "SafeLoader"])
def loader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both loaders: PyYAML may be built without libyaml."""
    monkeypatch.setattr(yamldoc, "_LOADER", getattr(yaml, request.param))


def plain(node: Node) -> Any:
    match node:
        case Scalar():
            return node.text
        case Items():
            return [plain(item) for item in node.items]
        case Mapping():
            return {key.text: plain(value) for key, value in node.entries}


def only(text: str) -> Problem:
    _, (problem,) = read("f.yaml", text)
    return problem


def nodes(node: Node) -> Iterator[Node]:
    yield node
    match node:
        case Items():
            for item in node.items:
                yield from nodes(item)
        case Mapping():
            for key, value in node.entries:
                yield key
                yield from nodes(value)


@pytest.mark.usefixtures("loader")
def test_every_node_knows_its_place() -> None:
    (document,), problems = read("f.yaml", "a: 1\nb:\n- x\n-   {c: 'd'}\n")
    assert problems == []
    assert [(type(n).__name__, n.line, n.column) for n in nodes(document)] == [
        ("Mapping", 1, 1),
        *(("Scalar", 1, 1), ("Scalar", 1, 4), ("Scalar", 2, 1)),
        *(("Items", 3, 1), ("Scalar", 3, 3)),
        *(("Mapping", 4, 5), ("Scalar", 4, 6), ("Scalar", 4, 9)),
    ]


@pytest.mark.usefixtures("loader")
@pytest.mark.parametrize(
    ("text", "tag"),
    [
        *(("a", "str"), ("'1'", "str"), ("!!str 1", "str"), ("! 1", "str"), ("1", "int"), ("8.0", "float")),
        *(("true", "bool"), ("yes", "bool"), ("2024-01-01", "timestamp"), ("[~]", "null"), ("1e3", "str")),
    ],
)
def test_scalars_keep_their_text_and_the_type_yaml_gives_them(text: str, tag: str) -> None:
    (document,), problems = read("f.yaml", text)
    scalar = document.items[0] if isinstance(document, Items) else document
    assert isinstance(scalar, Scalar)
    assert (scalar.tag, problems) == (tag, [])


@pytest.mark.usefixtures("loader")
def test_documents_that_are_empty_are_left_out() -> None:
    documents, problems = read("f.yaml", "# nothing\n---\n---\na: 1\n---\n~\n---\nb: 2\n")
    assert [plain(d) for d in documents] == [{"a": "1"}, {"b": "2"}]
    assert problems == []


@pytest.mark.parametrize("text", ["", "\n", "# a comment\n", "---\n", "\ufeff"])
def test_an_empty_file_has_no_document_and_no_problem(text: str) -> None:
    assert read("f.yaml", text) == ([], [])


def test_a_byte_order_mark_is_ignored() -> None:
    (document,), problems = read("f.yaml", "\ufeffa: 1\n")
    assert (plain(document), problems) == ({"a": "1"}, [])


@pytest.mark.usefixtures("loader")
def test_an_alias_stands_for_what_it_names() -> None:
    (document,), problems = read("f.yaml", "a: &x [1, {b: 2}]\nc: *x\n")
    assert plain(document) == {"a": ["1", {"b": "2"}], "c": ["1", {"b": "2"}]}
    assert problems == []


@pytest.mark.usefixtures("loader")
@pytest.mark.parametrize(
    ("text", "line", "column", "path", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, 1, "a", '"a" is here a second time, after line 1'),
        ("a:\n- b: 1\n  'b': 2\n", 3, 3, "a[0].b", '"b" is here a second time, after line 2'),
        ("a: &x {b: 1}\nc:\n  <<: *x\n", 3, 3, "c", "merge keys (<<) are not supported"),
        ("? [a]\n: 1\n", 1, 3, "", "a key must be a word"),
        ("a: !!python/object:os.system {}\n", 1, 4, "a", 'the tag "tag:yaml.org,2002:python/object:os.system" means'),
        ("a: !mine x\n", 1, 4, "a", 'the tag "!mine" means nothing here'),
        ("a: !!binary aGk=\n", 1, 4, "a", 'the tag "tag:yaml.org,2002:binary" means nothing here'),
        ("a: *x\n", 1, 4, "a", "the alias *x refers to nothing that is complete before it"),
        ("a: &x [*x]\n", 1, 8, "a[0]", "the alias *x refers to nothing that is complete before it"),
        ("a: 1\n---\nb: 1\nc: d: e\n", 4, 5, "", "not valid YAML: mapping values are not allowed"),
        ("a:\n\t- 1\n", 2, 1, "", "not valid YAML: while scanning for the next token"),
        ("a: [1,\nb: 2\n", 3, 1, "", "not valid YAML: while parsing a flow sequence"),
        ('a: "\\UFFFFFFFF"\n', 1, 1, "", "not valid YAML:"),
        ("a: 1\nb: \x07\n", 2, 4, "", "character U+0007 is not allowed in YAML"),
        ("a: \ud800\n", 1, 4, "", "character U+D800 is not allowed in YAML"),
    ],
)
def test_what_is_refused_and_where(text: str, line: int, column: int, path: str, message: str) -> None:
    problem = only(text)
    assert (problem.file, problem.line, problem.path) == ("f.yaml", line, path)
    assert problem.message.startswith(message)
    assert problem.remedy
    if "\\U" not in text:  # the loaders place this one differently
        assert problem.column == column


@pytest.mark.usefixtures("loader")
def test_what_is_not_closed_tells_where_it_began() -> None:
    assert only("a: 1\nb: [1,\n\nc: 2\n").message.endswith(" (it began on line 2)")


def test_what_stands_before_a_mistake_is_read() -> None:
    documents, problems = read("f.yaml", "a: 1\n---\nb: [\n")
    assert [plain(d) for d in documents] == [{"a": "1"}]
    assert len(problems) == 1


def test_every_duplicate_is_reported_and_the_first_value_counts() -> None:
    (document,), problems = read("f.yaml", "a: 1\na: {a: 2, a: 3}\na: 4\nb: 5\n")
    assert plain(document) == {"a": "1", "b": "5"}
    assert [(p.line, p.path) for p in problems] == [(2, "a"), (2, "a.a"), (3, "a")]


@pytest.mark.usefixtures("loader")
@pytest.mark.parametrize("text", ["[" * 100_000, "- " * 5_000 + "x", "{a: " * 1_000, "? " * 1_000])
def test_deep_nesting_is_refused_at_once(text: str) -> None:
    assert only(text).message == f"nested deeper than {yamldoc.MAX_DEPTH} levels"


def test_aliases_add_to_depth() -> None:
    lines = ["- &a0 [x]", *(f"- &a{n + 1} [*a{n}]" for n in range(yamldoc.MAX_DEPTH))]
    assert only("\n".join(lines)).message == f"nested deeper than {yamldoc.MAX_DEPTH} levels"
    assert read("f.yaml", "\n".join(lines[:-3]))[1] == []


def test_aliases_that_unfold_into_a_bomb_are_refused() -> None:
    lines = ["- &a0 [lol, lol]", *(f"- &a{n + 1} [{', '.join([f'*a{n}'] * 9)}]" for n in range(9))]
    assert only("\n".join(lines)).message.startswith(f"more than {yamldoc.MAX_NODES} values")


def test_a_file_of_many_values_is_refused() -> None:
    assert only("[" + "a," * yamldoc.MAX_NODES + "]").message.startswith(f"more than {yamldoc.MAX_NODES} values")
    assert read("f.yaml", "[" + "a," * (yamldoc.MAX_NODES - 1) + "]")[1] == []


def test_what_is_shown_is_short_and_printable() -> None:
    assert quoted("a b") == '"a b"'
    assert quoted("\x1b[31m\n") == '"\\u001b[31m\\n"'
    assert len(quoted("x" * 1000)) == 62


def test_a_path_quotes_what_is_no_plain_word() -> None:
    assert child_path("", "spec") == "spec"
    assert child_path("metadata.labels", "app.kubernetes.io/name") == "metadata.labels.app.kubernetes.io/name"
    assert child_path("a", "b c\n") == 'a["b c\\n"]'


ALPHABET = st.sampled_from([*"ab:-?,[]{}&*!|>'\"%@`#~<= \n\t0.1", "---\n", "...\n", "%YAML 1.1\n", "!!", "&a ", "*a"])


@settings(deadline=None)
@given(st.one_of(st.text(), st.lists(ALPHABET).map("".join)))
@pytest.mark.parametrize("name", ["CSafeLoader", "SafeLoader"])
def test_no_text_raises(name: str, text: str) -> None:
    before = yamldoc._LOADER
    yamldoc._LOADER = getattr(yaml, name)
    try:
        documents, problems = read("f.yaml", text)
    finally:
        yamldoc._LOADER = before
    lines = text.count("\n") + text.count("\r") + text.count("\x85") + text.count("\u2028") + text.count("\u2029")
    assert all(1 <= p.line <= lines + 2 and p.column >= 1 for p in problems)
    assert all(1 <= n.line <= lines + 2 for d in documents for n in nodes(d))


PLAIN = st.recursive(
    st.text(st.characters(exclude_categories=["Cs", "Cc"])).map(lambda s: s.replace("\ufeff", "")),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text("abc", min_size=1), inner)),
    max_leaves=20,
)


@settings(deadline=None)
@given(PLAIN)
def test_what_a_yaml_writer_writes_is_read_as_it_was(data: Any) -> None:
    text = yaml.safe_dump(data, default_style='"', allow_unicode=True)
    (document,), problems = read("f.yaml", text)
    assert problems == []
    assert plain(document) == data
