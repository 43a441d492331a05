"""Resources of SDS."""

from __future__ import annotations

from extproc.render.envoy.envoy_options import EnvoyOptions
from extproc.render.envoy.secrets import Secret, secret_source, static_secret

AUTHORITY, CERTIFICATE = Secret("authority", ("/ca",)), Secret("certificate", ("/cert", "/key"))


def test_names_tell_secrets_apart_and_no_path() -> None:
    others = (Secret("authority", ("/cb",)), Secret("certificate", ("/cert", "/cert")))
    names = {one.name for one in (AUTHORITY, CERTIFICATE, *others)}
    assert len(names) == 4
    assert not any("/" in name for name in names)


def test_the_contents_are_in_the_resource() -> None:
    assert AUTHORITY.resource((b"a",)) == {
        "name": AUTHORITY.name,
        "validation_context": {"trusted_ca": {"inline_string": "a"}},
    }
    assert CERTIFICATE.resource((b"a", b"b"))["tls_certificate"] == {
        "certificate_chain": {"inline_string": "a"},
        "private_key": {"inline_string": "b"},
    }


def test_a_key_is_given_or_named() -> None:
    key = Secret("credential", ("/key",))
    given, named = key.resource((b"abc",)), static_secret(key)
    assert given == {"name": key.name, "generic_secret": {"secret": {"inline_string": "abc"}}}
    assert named == {"name": key.name, "generic_secret": {"secret": {"filename": "/key"}}}


def test_a_static_document_has_no_source() -> None:
    assert secret_source(AUTHORITY, EnvoyOptions()) is None
    source = secret_source(AUTHORITY, EnvoyOptions(discovery_directory="/d"))
    assert source is not None
    assert source["sds_config"]["path_config_source"]["path"] == f"/d/{AUTHORITY.discovery_file}"
