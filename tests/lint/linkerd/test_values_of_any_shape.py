"""Values in manifests of any shape: findings stand on their lines, and what has another shape reads as absent."""

from __future__ import annotations

import pytest

from tests.lint.linkerd.corpus import findings, route


@pytest.mark.parametrize(
    ("rules", "path", "written"),
    [
        ("{filters: [{type: CORS}]}", "spec.rules[0].filters[0]", "{type: CORS}"),
        ("{}, {matches: [{method: GET}, {method: 1}]}", "spec.rules[1].matches[1].method", "1}]}"),
        ("{null: 1, surprise: 2}", "spec.rules[0].surprise", "2}"),
    ],
)
def test_a_finding_knows_its_path_and_place(rules: str, path: str, written: str) -> None:
    text = route(rules)
    (found,) = [f for f in findings(text) if f.path == path]
    assert found.file == "a.yaml"
    assert text.splitlines()[found.line - 1][found.column - 1 :].startswith(written)


def test_lines_are_counted_over_the_whole_file() -> None:
    text = (
        route("{}")
        + "# a comment\n\n"
        + route("{filters: [{type: CORS}]}").replace("name: llm, namespace: ai}\n", "name: b}\n")
    )
    (found,) = [f for f in findings(text) if f.code == "LNK303"]
    assert found.line == 12


def test_keys_that_are_no_plain_names_are_quoted_in_paths() -> None:
    found = findings(route("{}", metadata=", annotations: {timeout.linkerd.io/idle: x}"))
    paths = {f.path for f in found if f.code == "LNK604"}
    assert len(paths) == 1
    assert "timeout.linkerd.io/idle" in paths.pop()


@pytest.mark.parametrize(
    "rules",
    ["{matches: null}", "{backendRefs: [null]}", "null", "{filters: [{type: null}]}", "{timeouts: {request: null}}"],
)
def test_null_is_as_good_as_absent(rules: str) -> None:
    assert "LNK003" not in {f.code for f in findings(route(rules))}


@pytest.mark.parametrize("port", ["'80'", "80.0", "[80]", "{a: 80}", "true"])
def test_a_port_of_another_type_is_no_port(port: str) -> None:
    """It is told of once, as a field of the wrong type, and for other rules there is no port."""
    codes = {f.code for f in findings(route(f"{{backendRefs: [{{name: a, namespace: ai, port: {port}}}]}}"))}
    assert {"LNK003", "LNK404"} <= codes


def test_of_keys_that_are_written_twice_the_document_is_refused() -> None:
    assert [f.code for f in findings(route("{matches: [], matches: []}"))] == ["LNK001"]
