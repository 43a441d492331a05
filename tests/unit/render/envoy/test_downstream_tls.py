"""TLS from clients: a certificate that Envoy watches, and clients' own where they must have one."""

from __future__ import annotations

from extproc.render.envoy.downstream_tls import downstream_secrets, transport_socket
from extproc.render.envoy.envoy_options import DownstreamTls, EnvoyOptions


def options(*files: str) -> EnvoyOptions:
    return EnvoyOptions(downstream_tls=DownstreamTls(*files), discovery_directory="/run")


def test_without_files_clients_speak_http() -> None:
    assert transport_socket(EnvoyOptions()) == {}
    assert downstream_secrets(EnvoyOptions()) == []


def test_a_certificate_is_watched() -> None:
    found = transport_socket(options("/tls.crt", "/tls.key"))["transport_socket"]["typed_config"]
    common = found["common_tls_context"]
    assert (found["require_client_certificate"], common["alpn_protocols"]) == (False, ["h2", "http/1.1"])
    (source,) = common["tls_certificate_sds_secret_configs"]
    (secret,) = downstream_secrets(options("/tls.crt", "/tls.key"))
    assert source["name"] == secret.name
    assert source["sds_config"]["path_config_source"]["path"] == f"/run/{secret.discovery_file}"
    assert "validation_context_sds_secret_config" not in common


def test_clients_must_have_a_certificate_of_the_authoritys() -> None:
    found = transport_socket(options("/tls.crt", "/tls.key", "/ca.crt"))["transport_socket"]["typed_config"]
    _, authority = downstream_secrets(options("/tls.crt", "/tls.key", "/ca.crt"))
    assert (authority.kind, authority.files) == ("authority", ("/ca.crt",))
    assert found["require_client_certificate"] is True
    assert found["common_tls_context"]["validation_context_sds_secret_config"]["name"] == authority.name
