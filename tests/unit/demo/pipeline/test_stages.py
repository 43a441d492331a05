"""What a service records of a request, and where Envoy listens."""

from __future__ import annotations

from extproc.demo.pipeline.stages import LLM, SIDECARS, Arrival, arrival, free


def test_every_routing_header_and_key_is_recorded() -> None:
    sent = [
        ("X-Demo-Request", "7"),
        ("x-user-id", "anna"),
        ("X-Model-Name", "a"),
        ("x-model-name", "b"),
        ("Authorization", "Bearer one"),
        ("authorization", "Bearer two"),
        ("accept", "*/*"),
    ]
    assert arrival(LLM, sent) == Arrival(LLM, "7", "anna", {"x-model-name": ("a", "b")}, ("Bearer one", "Bearer two"))
    assert arrival(LLM, []) == Arrival(LLM, "", "", {}, ())


def test_every_listener_has_an_address_of_its_own() -> None:
    at = free()
    every = [at.admin, at.gateway, at.router, at.outbound, *at.inbound.values()]
    assert at.inbound.keys() == set(SIDECARS)
    assert len(set(every)) == len(every) == 4 + len(SIDECARS)
