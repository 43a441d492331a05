"""Matches of routes, and how the rules of all routes on a Service compete."""

from __future__ import annotations

from pathlib import Path

import pytest
from linkerd_adapter.lint import route_matches

from tests.lint.linkerd.corpus import backend, bad, check, codes, findings, route


@pytest.mark.parametrize("file", bad(route_matches.RULES), ids=lambda file: file.stem)
def test_its_bad_manifests(file: Path) -> None:
    check(file)


def of(text: str) -> list[str]:
    return codes(text, route_matches.RULES)


PAIR = "{headers: [{name: a, value: x}, {name: b, value: y}]}"
DEFAULT = f"{{backendRefs: [{backend('z')}]}}"


def matched(*matches: str) -> str:
    """A route with a rule for each match, and one for the rest."""
    return route(", ".join([*(f"{{matches: [{match}], backendRefs: [{backend('a')}]}}" for match in matches), DEFAULT]))


def named(name: str, text: str) -> str:
    """The same route by another name."""
    return text.replace("{name: llm, namespace: ai}\nspec", f"{{name: {name}, namespace: ai}}\nspec")


def header(value: str, kind: str = "RegularExpression") -> str:
    return f"{{headers: [{{name: x-model, type: {kind}, value: '{value}'}}]}}"


@pytest.mark.parametrize(
    ("match", "found"),
    [
        (header("v2|v2-beta", "Exact"), []),
        (header("v2|v2-beta"), ["LNK201"]),
        (header("v2-beta|v2"), []),
        (header("v2|v2.*"), ["LNK202"]),
        (header("^(?:v2|v2-beta)$"), []),
        (header("v2(?=-beta)"), ["LNK203"]),
        (header(r"\p{Greek}"), []),
        ("{path: {type: RegularExpression, value: '/v1/{model}'}}", ["LNK203"]),
        ("{queryParams: [{name: a, type: RegularExpression, value: '('}]}", ["LNK203"]),
        ("{path: {type: RegularExpression}}", []),
    ],
)
def test_patterns(match: str, found: list[str]) -> None:
    assert of(matched(match)) == found


def test_a_template_of_paths_is_told_what_to_be() -> None:
    (found,) = [
        f for f in findings(matched("{path: {type: RegularExpression, value: '/v1/{model}'}}")) if f.code == "LNK203"
    ]
    assert "/v1/[^/]+" in found.remedy


@pytest.mark.parametrize(
    ("matches", "found"),
    [
        (["{path: {value: /v1}}", "{path: {value: /v1/}}"], ["LNK206"]),
        (["{path: {type: Exact, value: /v1}}", "{path: {type: Exact, value: /v1/}}"], []),
        (["{path: {value: /v1}, method: GET}", "{path: {value: /v1}}"], []),
        (["{}"], ["LNK206"]),
        (["{headers: [{name: A, value: x}]}", "{headers: [{name: a, value: x}]}"], ["LNK206"]),
        (["{headers: [{name: a, value: x}]}", "{headers: [{name: a, value: y}]}"], []),
        (
            [
                PAIR,
                "{headers: [{name: b, value: y}, {name: a, value: x}]}",
            ],
            ["LNK206"],
        ),
        (["{path: {type: Exact, value: /a}}", "{path: {value: /a}, headers: [{name: a, value: x}]}"], ["LNK207"]),
        (["{path: {value: /a}, headers: [{name: a, value: x}]}", "{path: {type: Exact, value: /a}}"], ["LNK207"]),
        (["{path: {type: Exact, value: /a}}", "{path: {value: /a}, method: GET}"], []),
        (["{path: {type: Exact, value: /a}}", "{path: {value: /b}, headers: [{name: a, value: x}]}"], []),
        (["{path: {value: /a}, method: GET}", "{path: {value: /a}, queryParams: [{name: a, value: x}]}"], ["LNK208"]),
        (["{path: {value: /a}, method: GET}", "{path: {value: /a}, method: GET, headers: [{name: a, value: x}]}"], []),
    ],
)
def test_matches_that_compete(matches: list[str], found: list[str]) -> None:
    assert of(matched(*matches)) == found


def test_a_default_may_be_in_another_route_on_the_service() -> None:
    some = route(f"{{matches: [{{path: {{value: /v1}}}}], backendRefs: [{backend('a')}]}}")
    assert of(some) == ["LNK205"]
    assert of(some + named("b", route(DEFAULT))) == []
    elsewhere = '{group: "", kind: Service, name: llm, namespace: ai, port: 81}'
    rest = named("b", route(DEFAULT, parents=elsewhere))
    assert of(some + rest) == ["LNK205"], "another port is another parent"


def test_hostnames_and_grpc() -> None:
    assert of(route(DEFAULT, spec=", hostnames: [llm.ai]")) == ["LNK204", "LNK205"]
    grpc = f"{{matches: [{{headers: [{{name: a, value: b}}]}}], backendRefs: [{backend('a')}]}}, {DEFAULT}"
    assert of(route(grpc, kind="GRPCRoute")) == ["LNK209"]
    assert of(route(grpc.replace("{headers", "{method: {service: s}, headers"), kind="GRPCRoute")) == []


def test_only_so_many_matches_are_compared() -> None:
    many = [f"{{path: {{value: /{number}}}}}" for number in range(route_matches.MAX_COMPARED - 1)]
    pair = ["{path: {type: Exact, value: /a}}", "{path: {value: /a}, headers: [{name: a, value: x}]}"]

    def limited(*matches: str) -> list[str]:
        """In routes of 16 rules."""
        parts = [matches[start : start + 16] for start in range(0, len(matches), 16)]
        texts = [named(f"r{number:02}", matched(*part)) for number, part in enumerate(parts)]
        return [code for code in of("".join(texts)) if code == "LNK207"]

    assert limited(*pair, *many) == ["LNK207"]
    assert limited(*many, *pair) == []
