"""Typed reading: each reader's good and bad values, and what is said of the bad ones."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from extproc import yamldoc
from extproc.errors import Problem
from extproc.policyfile.fields import Field, suggestion


def field(text: str) -> Field:
    (root,), _ = yamldoc.read("f.yaml", text)
    return Field("f.yaml", [], root)


def value(text: str, read: Callable[[Field], object]) -> tuple[object, list[str]]:
    """What ``read`` makes of the value of the key ``v``, and what is said."""
    root = field(f"v: {text}\n").at("v")
    return read(root), [f"{p.message}; {p.remedy}" for p in root.problems]


def integer(f: Field) -> object:
    return f.integer(0, 100)


def number(f: Field) -> object:
    return f.number(0, 1)


def choice(f: Field) -> object:
    return f.choice("reject", "ignore")


@pytest.mark.parametrize(
    ("read", "text", "result"),
    [
        *((integer, "0", 0), (integer, "100", 100), (integer, "+7", 7), (number, "0.25", 0.25), (number, "1", 1.0)),
        *((number, "2.5e-1", 2.5e-1), (Field.boolean, "true", True), (Field.boolean, "False", False)),
        *((Field.text, "a", "a"), (Field.text, "'5'", "5"), (choice, "ignore", "ignore"), (Field.text, "'yes'", "yes")),
    ],
)
def test_good_values(read: Callable[[Field], object], text: str, result: object) -> None:
    assert value(text, read) == (result, [])


@pytest.mark.parametrize(
    ("read", "text", "said"),
    [
        (integer, "101", "101 is out of range; give a number from 0 to 100"),
        (integer, "-1", "-1 is out of range; give a number from 0 to 100"),
        (integer, "9" * 17, f"{'9' * 17} is out of range; give a number from 0 to 100"),
        (integer, "1.5", '"1.5" is not a whole number; give a whole number from 0 to 100, in decimal, without quotes'),
        (integer, "'5'", '"5" is not a whole number; give a whole number from 0 to 100, in decimal, without quotes'),
        (integer, "010", '"010" is not a whole number; give a whole number from 0 to 100, in decimal, without quotes'),
        (integer, "0x1", '"0x1" is not a whole number; give a whole number from 0 to 100, in decimal, without quotes'),
        (
            integer,
            "1:30",
            '"1:30" is not a whole number; give a whole number from 0 to 100, in decimal, without quotes',
        ),
        (integer, "[1]", "is a list; give a whole number from 0 to 100, or remove the field"),
        (integer, "", "is empty; give a whole number from 0 to 100, or remove the field"),
        (number, "2", "2 is out of range; give a number from 0 to 1"),
        (number, ".nan", '".nan" is not a number; give a number from 0 to 1, in decimal, without quotes'),
        (number, ".inf", '".inf" is not a number; give a number from 0 to 1, in decimal, without quotes'),
        (number, "true", '"true" is not a number; give a number from 0 to 1, in decimal, without quotes'),
        (Field.boolean, "yes", '"yes" is not a truth value; write true or false, without quotes'),
        (Field.boolean, "'true'", '"true" is not a truth value; write true or false, without quotes'),
        (Field.boolean, "1", '"1" is not a truth value; write true or false, without quotes'),
        (Field.text, "5", '5 is a number in YAML, not a text; put it in quotes: "5"'),
        (Field.text, "8.0", '8.0 is a number in YAML, not a text; put it in quotes: "8.0"'),
        (Field.text, "on", 'on is a truth value in YAML, not a text; put it in quotes: "on"'),
        (Field.text, "2024-01-01", '2024-01-01 is a date in YAML, not a text; put it in quotes: "2024-01-01"'),
        (Field.text, "~", "is empty; give a text, or remove the field"),
        (Field.text, "''", "is empty; give a text, or remove the field"),
        (Field.text, "{a: b}", "is a mapping; give a text, or remove the field"),
        (choice, "rejct", '"rejct" is none of reject, ignore; did you mean "reject"?'),
        (choice, "drop", '"drop" is none of reject, ignore; use one of: reject, ignore'),
    ],
)
def test_bad_values_give_nothing_and_say_why(read: Callable[[Field], object], text: str, said: str) -> None:
    assert value(text, read) == (None, [said])


def test_an_empty_text_where_it_is_allowed() -> None:
    assert value("''", lambda f: f.text(empty=True)) == ("", [])
    assert value("~", lambda f: f.text(empty=True)) == (None, ["is empty; give a text, or remove the field"])


def test_a_list_gives_its_items_with_paths() -> None:
    items = field("v: [a, [b]]").at("v").items()
    assert [(i.path, i.node.column) for i in items] == [("v[0]", 5), ("v[1]", 8)]


def test_a_list_may_have_to_hold_something() -> None:
    said = ["is an empty list; give an item, or remove the field"]
    assert value("[]", lambda f: f.items(minimum=1)) == ([], said)
    assert value("[]", lambda f: f.items()) == ([], [])
    assert value("a", lambda f: f.items())[1] == [
        "is not a list; write a list: [first, second], or one `- item` a line"
    ]


def test_distinct_leaves_out_bad_items_and_says_which_come_twice() -> None:
    assert value("[a, 5, b, a]", lambda f: f.distinct(Field.text, "word")) == (
        ("a", "b"),
        [
            '5 is a number in YAML, not a text; put it in quotes: "5"',
            "the same word as on line 1; remove one of the two",
        ],
    )


def test_unknown_fields_are_all_reported_with_what_may_be_meant() -> None:
    root = field("weigth: 1\nname: a\nspecial: 2\n")
    fields = root.fields("name", "weight")
    assert fields is not None
    assert fields.optional("name", Field.text, "") == "a"
    assert [(p.line, p.column, p.path, p.message, p.remedy) for p in root.problems] == [
        (1, 1, "weigth", "is not a known field", 'did you mean "weight"?'),
        (3, 1, "special", "is not a known field", "use one of: name, weight"),
    ]


def test_a_missing_or_bad_optional_field_takes_its_default() -> None:
    root = field("a: x\n")
    fields = root.fields("a", "b")
    assert fields is not None
    assert fields.optional("b", integer, 7) == 7
    assert root.problems == []
    assert fields.optional("a", integer, 7) == 7
    assert [p.path for p in root.problems] == ["a"]


def test_a_required_field_that_is_missing_is_a_problem_of_what_should_hold_it() -> None:
    root = field("v: {a: 1}\n")
    fields = root.at("v").fields("a", "b")
    assert fields is not None
    assert fields.required("b", integer, "give b") is None
    assert [(p.line, p.column, p.path, str(p)) for p in root.problems] == [
        (1, 4, "v", "f.yaml:1:4: error: v: has no b; give b")
    ]


def test_what_is_no_mapping_has_no_fields() -> None:
    root = field("v: [a]\n")
    assert root.at("v").fields("a") is None
    assert [p.message for p in root.problems] == ["is not a mapping"]


def test_a_place_that_is_not_written_has_the_path_and_the_place_of_what_would_hold_it() -> None:
    root = field("spec:\n  versions:\n  - name: v1\n")
    here = root.at("spec", "versions", 0, "name")
    missing = root.at("spec", "versions", 0, "gpuPools", 3)
    assert (here.path, here.node.line, here.node.column) == ("spec.versions[0].name", 3, 11)
    assert (missing.path, missing.node.line, missing.node.column) == ("spec.versions[0].gpuPools[3]", 3, 5)
    assert root.at("spec").has("versions")
    assert not root.at("spec").has("host")


@pytest.mark.parametrize(
    ("path", "clean"),
    [("", False), ("spec", False), ("spec.a", False), ("spec.ab", True), ("spec.b", False), ("spec.c", True)],
)
def test_a_field_is_clean_where_nothing_at_or_below_it_is_wrong(path: str, clean: bool) -> None:
    problems = [
        Problem("f.yaml", 1, 1, "spec.a", "", ""),
        Problem("f.yaml", 1, 1, "spec.b[0].x", "", ""),
        Problem("f.yaml", 1, 1, "spec.c", "", "", warning=True),
    ]
    assert Field("f.yaml", problems, field("a").node, path).clean is clean


def test_a_suggestion_ignores_case_and_lists_all_where_nothing_is_near() -> None:
    assert suggestion("MODELS", ["models", "host"]) == 'did you mean "models"?'
    assert suggestion("xyz", ["models", "host"]) == "use one of: models, host"
    assert suggestion("xyz", []) == "there is none to choose from"
