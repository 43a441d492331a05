"""Ports on which Linkerd sees no requests: by their protocol, as opaque ports, or by clients' own TLS."""

from __future__ import annotations

from pathlib import Path

import pytest
from linkerd_adapter.lint import opaque_ports_and_protocols

from tests.lint.linkerd.corpus import PARENT, bad, check, codes, route, service


@pytest.mark.parametrize("file", bad(opaque_ports_and_protocols.RULES), ids=lambda file: file.stem)
def test_its_bad_manifests(file: Path) -> None:
    check(file)


def of(text: str) -> list[str]:
    return codes(text, opaque_ports_and_protocols.RULES)


ROUTE = route("{}")
OPAQUE = ", annotations: {config.linkerd.io/opaque-ports: '%s'}"


def port(more: str, metadata: str = "", number: int = 80) -> str:
    return service("llm", f"ports: [{{port: {number}{more}}}]", metadata)


def namespace(ports: str) -> str:
    return f"---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: ai{OPAQUE % ports}}}\n"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (ROUTE + port(""), []),
        (ROUTE + port(", appProtocol: HTTP"), []),
        (ROUTE + port(", appProtocol: kubernetes.io/h2c"), []),
        (ROUTE + port(", appProtocol: grpc"), ["LNK501"]),
        (port(", appProtocol: grpc"), ["LNK502"]),
        (port(", appProtocol: mysql"), []),
        (ROUTE + port("", OPAQUE % "80"), ["LNK503"]),
        (ROUTE + port("", OPAQUE % "70-79,81"), []),
        (port("", OPAQUE % "80"), []),
        (ROUTE + port("") + namespace("80"), ["LNK503"]),
        (ROUTE + port("", OPAQUE % "81") + namespace("80"), []),
        (ROUTE + port(", appProtocol: http", OPAQUE % "80"), ["LNK515"]),
        (port(", appProtocol: http", OPAQUE % "80"), ["LNK515"]),
        (ROUTE.replace("80", "3306") + port("", "", 3306), ["LNK503"]),
        (ROUTE.replace("80", "3306") + port("", OPAQUE % "", 3306), []),
        (ROUTE.replace("80", "443") + port("", "", 443), ["LNK508"]),
        (port("", "", 443), []),
        (ROUTE + port(", name: HTTPS-api"), ["LNK508"]),
        (ROUTE.replace("80", "443"), ["LNK508"]),
        (route("{}", parents=PARENT.replace(", port: 80", "")) + port(", appProtocol: tcp"), ["LNK501"]),
    ],
)
def test_ports(text: str, found: list[str]) -> None:
    assert of(text) == found
