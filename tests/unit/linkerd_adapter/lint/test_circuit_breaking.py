"""Circuit breaking where Linkerd does not look for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from linkerd_adapter.lint import circuit_breaking

from tests.lint.linkerd.corpus import backend, bad, check, codes, route, service


@pytest.mark.parametrize("file", bad(circuit_breaking.RULES), ids=lambda file: file.stem)
def test_its_bad_manifests(file: Path) -> None:
    check(file)


def of(text: str) -> list[str]:
    return codes(text, circuit_breaking.RULES)


def annotated(key: str, value: str, *more: tuple[str, str]) -> str:
    pairs = ", ".join(f"{name}: '{text}'" for name, text in ((key, value), *more))
    return f", annotations: {{{pairs}}}"


MODE = "balancer.linkerd.io/failure-accrual"
SUCCESS_RATE = "balancer.alpha.linkerd.io/failure-accrual-success-rate-threshold"


@pytest.mark.parametrize("key", [MODE, MODE + "-consecutive-max-failures"])
def test_circuit_breaking_of_routes(key: str) -> None:
    assert of(route("{}", metadata=annotated(key, "7"))) == ["LNK609"]


@pytest.mark.parametrize(
    ("metadata", "found"),
    [
        (annotated(MODE, "consecutive"), []),
        (annotated(MODE + "-consecutive-max-failures", "7"), ["LNK610"]),
        (annotated(MODE + "-consecutive-max-failures", "7", (MODE, "consecutive")), []),
        (annotated(SUCCESS_RATE, "0.5"), ["LNK610"]),
        (
            annotated(SUCCESS_RATE, "0.5", (MODE, "consecutive")),
            ["LNK610"],
        ),
        (annotated(SUCCESS_RATE, "0.5", (MODE, "unified")), []),
    ],
)
def test_circuit_breaking_of_services(metadata: str, found: list[str]) -> None:
    assert of(service("llm", metadata=metadata)) == found


def test_circuit_breaking_is_the_parents() -> None:
    split = route(f"{{backendRefs: [{backend('v1')}, {backend('llm')}]}}")
    assert of(split + service("v1", metadata=annotated(MODE, "consecutive"))) == ["LNK608"]
    assert of(split + service("llm", metadata=annotated(MODE, "consecutive"))) == []
