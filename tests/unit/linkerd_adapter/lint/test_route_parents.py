"""parentRefs, and whether Linkerd attaches the route where its author means it."""

from __future__ import annotations

from pathlib import Path

import pytest
from linkerd_adapter.lint import route_parents

from tests.lint.linkerd.corpus import PARENT, bad, check, codes, route, service


@pytest.mark.parametrize("file", bad(route_parents.RULES), ids=lambda file: file.stem)
def test_its_bad_manifests(file: Path) -> None:
    check(file)


def of(text: str) -> list[str]:
    return codes(text, route_parents.RULES)


SERVICE = service("llm", "ports: [{port: 80}]")
TWO_PORTS = service("llm", "ports: [{port: 80}, {port: 81}]")


def without(*fields: str) -> str:
    """The parentRef of the Service without these fields."""
    kept = [part for part in PARENT.strip("{}").split(", ") if part.partition(":")[0] not in fields]
    return f"{{{', '.join(kept)}}}"


@pytest.mark.parametrize(
    ("parent", "found"),
    [
        (PARENT, []),
        (PARENT.replace("Service", "service").replace('""', "Core"), []),
        (without("kind"), ["LNK101"]),
        (without("group"), ["LNK102"]),
        (PARENT.replace('""', "apps"), ["LNK102"]),
        (without("port"), ["LNK103"]),
        (without("kind", "group", "port"), ["LNK115"]),
        (without("kind", "group"), ["LNK101"]),
        ("{kind: Pod, name: llm}", ["LNK107"]),
        ("{kind: Gateway, name: llm}", []),
        ("{group: policy.linkerd.io, kind: EgressNetwork, name: a}", ["LNK108"]),
        ("{group: policy.linkerd.io, kind: EgressNetwork, name: a, port: 443}", []),
        (PARENT.replace("port", "sectionName: http, port"), ["LNK111"]),
        ("", ["LNK109"]),
    ],
)
def test_what_a_parent_ref_says_by_itself(parent: str, found: list[str]) -> None:
    assert of(route("{}", parents=parent)) == found


@pytest.mark.parametrize(
    ("parent", "services", "found"),
    [
        (PARENT, SERVICE, []),
        (PARENT, service("other"), ["LNK110"]),
        (without("port"), service("other"), ["LNK103", "LNK110"]),
        (without("port"), SERVICE, []),
        (without("port"), TWO_PORTS, ["LNK103"]),
        (PARENT, TWO_PORTS, []),
        (PARENT, service("llm", "ports: [{port: 81}]"), ["LNK106"]),
        (PARENT, service("llm", "clusterIP: None, ports: [{port: 80}]"), ["LNK104"]),
        (PARENT, service("llm", "type: ExternalName, externalName: x.com"), ["LNK105"]),
        (without("kind", "group", "port"), SERVICE, ["LNK101"]),
    ],
)
def test_a_parent_and_the_services_that_are_given(parent: str, services: str, found: list[str]) -> None:
    assert of(route("{}", parents=parent) + services) == found


def test_a_gateway_of_the_same_name_is_meant_where_it_is_given() -> None:
    gateway = "---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: llm}\n"
    bare = without("kind", "group", "port")
    assert of(route("{}", parents=bare) + gateway) == []
    assert of(route("{}", parents=f"{PARENT}, {bare}")) == [], "the Service is named as well"


def test_consumer_routes() -> None:
    producer = route("{}", parents=PARENT.replace("ai", "ml")).replace("namespace: ai}\nspec", "namespace: ml}\nspec")
    consumer = route("{}", parents=PARENT.replace("ai", "ml"))
    assert of(consumer) == []
    assert of(producer + consumer) == ["LNK113"]
    assert of(producer.replace("port: 80", "port: 81") + consumer) == []


def test_a_route_without_a_namespace() -> None:
    text = route("{}").replace("name: llm, namespace: ai}\nspec", "name: llm}\nspec")
    assert of(text) == ["LNK114"]
    assert of(text.replace("namespace: ai, ", "")) == []


def test_default_gateways_are_no_missing_parents() -> None:
    assert of(route("{}", parents="", spec=", useDefaultGateways: All")) == []
