"""What the status of a live route reports."""

from __future__ import annotations

from pathlib import Path

import pytest
from linkerd_adapter.lint import route_status

from tests.lint.linkerd.corpus import PARENT, bad, check, codes, findings, route


@pytest.mark.parametrize("file", bad(route_status.RULES), ids=lambda file: file.stem)
def test_its_bad_manifests(file: Path) -> None:
    check(file)


def of(text: str) -> list[str]:
    return codes(text, route_status.RULES)


def live(status: str, metadata: str = ", resourceVersion: '7'") -> str:
    return route("{}", metadata=metadata) + (f"status: {{parents: [{status}]}}\n" if status else "")


def parent(condition: str, controller: str = "linkerd.io/policy-controller", ref: str = PARENT) -> str:
    return f"{{parentRef: {ref}, controllerName: {controller}, conditions: [{{{condition}}}]}}"


FALSE = "type: Accepted, status: 'False', reason: "


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (live("", metadata=""), []),
        (live(""), ["LNK706"]),
        (live(parent("type: Accepted, status: 'True'")), []),
        (live(parent(FALSE + "NoMatchingParent")), ["LNK701"]),
        (live(parent(FALSE + "RouteReasonConflicted")), ["LNK702"]),
        (live(parent(FALSE + "BackendNotFound")), ["LNK703"]),
        (live(parent(FALSE + "InvalidKind")), ["LNK704"]),
        (live(parent(FALSE + "Surprise")), ["LNK705"]),
        (live(parent("type: Accepted, status: 'False'")), ["LNK705"]),
        (live(parent("type: Accepted, status: 'True'"), metadata=""), []),
        (live(parent(FALSE + "NoMatchingParent", "example.com/other")), []),
        (live(parent("type: Accepted", ref=PARENT.replace("80", "81"))), ["LNK706"]),
        (live(parent("type: Accepted", ref=PARENT.replace(", port: 80", ""))), []),
        (live(parent("type: Accepted", ref=PARENT.replace("name: llm", "name: other"))), ["LNK706"]),
        (live(parent("type: Accepted", ref=PARENT.replace("Service", "Gateway"))), ["LNK706"]),
        (live(parent("type: Accepted", ref=PARENT.replace("namespace: ai", "namespace: x"))), []),
    ],
)
def test_statuses(text: str, found: list[str]) -> None:
    assert of(text) == found


def test_reason_and_message_are_told() -> None:
    text = live(parent(FALSE + "BackendNotFound, message: no Service a"))
    (found,) = [f for f in findings(text) if f.code == "LNK703"]
    assert found.message == 'Linkerd says Accepted False, BackendNotFound: "no Service a"'


def test_a_parent_that_is_written_wrongly_is_told_of_elsewhere() -> None:
    assert of(route("{}", parents="{kind: Service, name: llm, port: 80}", metadata=", resourceVersion: '7'")) == []
