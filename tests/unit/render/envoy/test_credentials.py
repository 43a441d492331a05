"""Filters of a cluster whose servers have a key."""

from __future__ import annotations

from extproc.policy.snapshot import Policy, Snapshot, Version
from extproc.policy.target import Target
from extproc.policy.upstream import Credentials, Upstream
from extproc.render.envoy.bootstrap import bootstrap
from extproc.render.envoy.credentials import CLIENT_CREDENTIALS, credential_of, upstream_filters
from extproc.render.envoy.envoy_options import EnvoyOptions

KEYED = Upstream(credentials=Credentials("/key", "x-token", "Key "))
TARGET = Target("p", "v", "", ("a:1",), KEYED)


def test_without_a_key_there_are_none() -> None:
    assert upstream_filters(Target("p", "v", "", ("a:1",)), EnvoyOptions()) == []
    assert credential_of(Target("p", "v", "", ("a:1",))) == []


def test_the_clients_keys_go_before_ours_comes() -> None:
    removing, injecting, codec = upstream_filters(TARGET, EnvoyOptions())
    removed = [one["remove"] for one in removing["typed_config"]["mutations"]["request_mutations"]]
    assert removed == [*CLIENT_CREDENTIALS, "x-token"]
    assert injecting["typed_config"]["overwrite"] is True
    generic = injecting["typed_config"]["credential"]["typed_config"]
    (secret,) = credential_of(TARGET)
    assert (generic["header"], generic["header_value_prefix"]) == ("x-token", "Key ")
    assert generic["credential"] == {"name": secret.name}
    assert codec["name"] == "envoy.filters.http.upstream_codec"


def test_a_watching_envoy_gets_it_by_sds() -> None:
    injecting = upstream_filters(TARGET, EnvoyOptions(discovery_directory="/d"))[1]
    credential = injecting["typed_config"]["credential"]["typed_config"]["credential"]
    (secret,) = credential_of(TARGET)
    assert credential["sds_config"]["path_config_source"]["path"] == f"/d/{secret.discovery_file}"


def test_one_document_names_the_file_once() -> None:
    versions = tuple(Version(name, 1, ("a:1",), upstream=KEYED) for name in ("v1", "v2"))
    static = bootstrap(Snapshot((Policy("p", versions=versions),)), EnvoyOptions())["static_resources"]
    (secret,) = static["secrets"]
    assert secret["generic_secret"] == {"secret": {"filename": "/key"}}
    assert "secrets" not in bootstrap(Snapshot(), EnvoyOptions())["static_resources"]
