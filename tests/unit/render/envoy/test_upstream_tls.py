"""Transport sockets of clusters, from files and from SDS."""

from __future__ import annotations

from typing import Any

from extproc.policy.target import Target
from extproc.policy.upstream import Tls, Upstream
from extproc.render.envoy.envoy_options import EnvoyOptions
from extproc.render.envoy.upstream_tls import endpoint_fields, secrets_of, transport_sockets

STATIC, WATCHING = EnvoyOptions(), EnvoyOptions(discovery_directory="/d")


def target(*endpoints: str, **tls: Any) -> Target:
    return Target("p", "v", "", endpoints, Upstream(Tls(**tls)))


def context(found: dict[str, Any]) -> dict[str, Any]:
    return dict(found["typed_config"])


def test_without_tls_there_is_nothing() -> None:
    plain = Target("p", "v", "", ("a:1",))
    assert transport_sockets(plain, STATIC, grpc=False) == {}
    assert endpoint_fields(plain, "a:1", grpc=False) == ({}, {})
    assert secrets_of(plain) == []


def test_a_name_is_asked_for_and_verified() -> None:
    found = transport_sockets(target("a:443", "a:444"), STATIC, grpc=False)
    assert found.keys() == {"transport_socket"}
    assert context(found["transport_socket"])["sni"] == "a"
    assert context(found["transport_socket"])["common_tls_context"] == {
        "validation_context": {
            "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": "a"}}],
            "trusted_ca": {"filename": "/etc/ssl/certs/ca-certificates.crt"},
        }
    }


def test_grpc_is_http2_only() -> None:
    found = transport_sockets(target("a:443"), STATIC, grpc=True, alpn="h2")
    assert context(found["transport_socket"])["common_tls_context"]["alpn_protocols"] == ["h2"]


def test_each_endpoint_has_the_socket_of_its_name() -> None:
    two = target("a:443", "[::1]:443")
    found = transport_sockets(two, STATIC, grpc=False)
    names = [one["match"] for one in found["transport_socket_matches"]]
    fields = [endpoint_fields(two, endpoint, grpc=False) for endpoint in two.endpoints]
    assert [around["metadata"]["filter_metadata"]["envoy.transport_socket_match"] for _, around in fields] == names
    assert [within["hostname"] for within, _ in fields] == ["a", "[::1]"]
    address = context(found["transport_socket_matches"][1]["transport_socket"])
    assert "sni" not in address
    (san,) = address["common_tls_context"]["validation_context"]["match_typed_subject_alt_names"]
    assert san == {"san_type": "IP_ADDRESS", "matcher": {"exact": "::1"}}


def test_files_are_read_by_envoy_or_given_by_sds() -> None:
    own = target("a:443", ca_file="/ca", cert_file="/cert", key_file="/key")
    static = context(transport_sockets(own, STATIC, grpc=False)["transport_socket"])["common_tls_context"]
    assert static["tls_certificates"] == [
        {"certificate_chain": {"filename": "/cert"}, "private_key": {"filename": "/key"}}
    ]
    assert static["validation_context"]["trusted_ca"] == {"filename": "/ca"}
    watched = context(transport_sockets(own, WATCHING, grpc=False)["transport_socket"])["common_tls_context"]
    (certificate,) = watched["tls_certificate_sds_secret_configs"]
    combined = watched["combined_validation_context"]
    authority = combined["validation_context_sds_secret_config"]
    assert combined["default_validation_context"]["match_typed_subject_alt_names"]
    assert [authority["name"], certificate["name"]] == [secret.name for secret in secrets_of(own)]


def test_verification_left_out() -> None:
    found = context(transport_sockets(target("a:443", verify=False), STATIC, grpc=False)["transport_socket"])
    assert found["common_tls_context"] == {"validation_context": {"trust_chain_verification": "ACCEPT_UNTRUSTED"}}
    assert found["sni"] == "a"
