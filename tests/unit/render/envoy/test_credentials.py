"""Filters of a cluster whose servers have a key."""

from __future__ import annotations

import pytest
import re2

from extproc.policy.snapshot import Policy, Snapshot, Version
from extproc.policy.target import Target
from extproc.policy.upstream import Credentials, Upstream
from extproc.render.envoy.bootstrap import bootstrap
from extproc.render.envoy.clusters import clusters
from extproc.render.envoy.credentials import CLIENT_CREDENTIALS, credential_of, gives_keys, upstream_filters
from extproc.render.envoy.envoy_options import EnvoyOptions

KEY = Credentials("/key", "x-token", "Key ")
KEYED = Upstream(credentials=KEY)
TARGET = Target("p", "v", "", ("a:1",), KEYED)


def test_without_a_key_there_are_none() -> None:
    plain = Target("p", "v", "", ("a:1",))
    assert credential_of(plain) == []
    assert "credential" not in str(clusters(Snapshot((Policy("p", host="p"),)), EnvoyOptions()))


def test_whether_policies_give_keys_to_a_server_or_a_mirror() -> None:
    plain, mirrored = (
        Policy("plain", host="p"),
        Policy("m", versions=(Version("v"), Version("c", mirror=1, upstream=KEYED))),
    )
    snapshot = Snapshot((plain, mirrored))
    assert [gives_keys(snapshot, policies) for policies in ([plain], [mirrored], [plain, mirrored])] == [
        False,
        True,
        True,
    ]


def test_the_clients_keys_go_before_ours_comes() -> None:
    removing, _, _, injecting, codec = upstream_filters(KEY, {"name": "a"})
    removed = [one["remove"] for one in removing["typed_config"]["mutations"]["request_mutations"]]
    assert removed == [*CLIENT_CREDENTIALS, "x-token"]
    assert injecting["typed_config"]["overwrite"] is True
    generic = injecting["typed_config"]["credential"]["typed_config"]
    assert (generic["header"], generic["header_value_prefix"]) == ("x-token", "Key ")
    assert generic["credential"] == {"name": "a"}
    assert codec["name"] == "envoy.filters.http.upstream_codec"


@pytest.mark.parametrize(
    ("protocols", "tells"),
    [
        ("realtime, openai-insecure-api-key.sk-1", True),
        ("openai-organization.org-1,realtime", True),
        ("realtime,OpenAI-Project.p", True),
        ("realtime, openai-beta.realtime-v1", False),
        ("graphql-ws", False),
    ],
)
def test_a_websockets_protocols_may_tell_a_key(protocols: str, *, tells: bool) -> None:
    """Then Envoy leaves ``realtime`` only."""
    config = upstream_filters(KEY, {"name": "a"})[1]["typed_config"]
    (matcher,) = config["xds_matcher"]["matcher_list"]["matchers"]
    regex = matcher["predicate"]["not_matcher"]["single_predicate"]["value_match"]["safe_regex"]["regex"]
    assert bool(re2.fullmatch(regex, protocols)) is tells
    (change,) = config["extension_config"]["typed_config"]["mutations"]["request_mutations"]
    assert change["append"]["header"] == {"key": "sec-websocket-protocol", "value": "realtime"}


def test_a_watching_envoy_gets_it_by_sds() -> None:
    snapshot = Snapshot((Policy("p", versions=(Version("v", 1, ("a:1",), upstream=KEYED),)),))
    (cluster, _) = clusters(snapshot, EnvoyOptions(discovery_directory="/d"))
    (options,) = cluster["typed_extension_protocol_options"].values()
    credential = options["http_filters"][3]["typed_config"]["credential"]["typed_config"]["credential"]
    (secret,) = credential_of(TARGET)
    assert credential["sds_config"]["path_config_source"]["path"] == f"/d/{secret.discovery_file}"


def test_one_document_names_the_file_once() -> None:
    versions = tuple(Version(name, 1, ("a:1",), upstream=KEYED) for name in ("v1", "v2"))
    static = bootstrap(Snapshot((Policy("p", versions=versions),)), EnvoyOptions())["static_resources"]
    (secret,) = static["secrets"]
    assert secret["generic_secret"] == {"secret": {"filename": "/key"}}
    assert "secrets" not in bootstrap(Snapshot(), EnvoyOptions())["static_resources"]
