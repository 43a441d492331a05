"""How the rules of all routes on a Service compete, and requests that none takes."""

from __future__ import annotations

from pathlib import Path

import pytest
from linkerd_adapter.lint import route_precedence

from tests.lint.linkerd.corpus import backend, bad, check, codes, route


@pytest.mark.parametrize("file", bad(route_precedence.RULES), ids=lambda file: file.stem)
def test_its_bad_manifests(file: Path) -> None:
    check(file)


def of(text: str) -> list[str]:
    return codes(text, route_precedence.RULES)


PAIR = "{headers: [{name: a, value: x}, {name: b, value: y}]}"
DEFAULT = f"{{backendRefs: [{backend('z')}]}}"


def matched(*matches: str) -> str:
    """A route with a rule for each match, and one for the rest."""
    return route(", ".join([*(f"{{matches: [{match}], backendRefs: [{backend('a')}]}}" for match in matches), DEFAULT]))


def named(name: str, text: str) -> str:
    """The same route by another name."""
    return text.replace("{name: llm, namespace: ai}\nspec", f"{{name: {name}, namespace: ai}}\nspec")


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


def test_only_so_many_matches_are_compared() -> None:
    many = [f"{{path: {{value: /{number}}}}}" for number in range(route_precedence.MAX_COMPARED - 1)]
    pair = ["{path: {type: Exact, value: /a}}", "{path: {value: /a}, headers: [{name: a, value: x}]}"]

    def limited(*matches: str) -> list[str]:
        """In routes of 16 rules."""
        parts = [matches[start : start + 16] for start in range(0, len(matches), 16)]
        texts = [named(f"r{number:02}", matched(*part)) for number, part in enumerate(parts)]
        return [code for code in of("".join(texts)) if code == "LNK207"]

    assert limited(*pair, *many) == ["LNK207"]
    assert limited(*many, *pair) == []


def test_a_default_for_some_hosts_only_is_none() -> None:
    assert of(route(DEFAULT, spec=", hostnames: [llm.ai]")) == ["LNK205"]
