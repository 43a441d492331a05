"""What a mesh is told of servers behind TLS, of paths and keys, and what it can't do."""

from __future__ import annotations

from typing import Any

import pytest

from extproc.errors import SetupError
from extproc.policy.gpu import Gpu, Requirement
from extproc.policy.snapshot import GpuPool, Snapshot, Version
from extproc.policy.target import Target
from extproc.policy.upstream import Credentials, PathRewrite, Tls, Upstream
from extproc.render.istio.istio_options import IstioOptions
from extproc.render.istio.manifests import documents
from extproc.render.istio.upstreams import check, client_tls, credential_patches, host_header, notes, path_rewrite
from tests.unit.render.snapshots import CANARY, policy

OPTIONS = IstioOptions()
KEY = Credentials("/keys/a")


def target(*endpoints: str, path: PathRewrite | None = None, **tls: Any) -> Target:
    return Target("p", "v", "", endpoints, Upstream(Tls(**tls), path))


def of(*versions: Version, **fields: Any) -> Snapshot:
    return Snapshot((policy(versions=versions, **fields),))


@pytest.mark.parametrize("endpoint", ["127.0.0.1:9001", "[::1]:80", "0.0.0.0:80", "localhost:80"])
def test_an_endpoint_that_no_pod_reaches_is_refused(endpoint: str) -> None:
    with pytest.raises(SetupError, match="version v1: no pod reaches ") as refused:
        documents(of(Version("v1", 1, (endpoint,))), OPTIONS)
    assert endpoint in str(refused.value)


@pytest.mark.parametrize(
    ("tls", "found"),
    [
        ({}, {"mode": "SIMPLE", "sni": "a.example", "subjectAltNames": ["a.example"]}),
        ({"server_name": "b"}, {"mode": "SIMPLE", "sni": "b", "subjectAltNames": ["b"]}),
        (
            {"ca_file": "/ca"},
            {"mode": "SIMPLE", "sni": "a.example", "subjectAltNames": ["a.example"], "caCertificates": "/ca"},
        ),
        (
            {"cert_file": "/crt", "key_file": "/key", "verify": False},
            {
                "mode": "MUTUAL",
                "clientCertificate": "/crt",
                "privateKey": "/key",
                "sni": "a.example",
                "insecureSkipVerify": True,
            },
        ),
    ],
)
def test_tls_of_a_subset(tls: dict[str, Any], found: dict[str, Any]) -> None:
    assert client_tls(target("a.example:443", **tls), grpc=False) == {"tls": found}


def test_an_address_is_verified_and_not_asked_for() -> None:
    assert client_tls(target("10.0.0.1:443"), grpc=False) == {
        "tls": {"mode": "SIMPLE", "subjectAltNames": ["10.0.0.1"]}
    }
    assert client_tls(target("[::1]:443"), grpc=False) == {"tls": {"mode": "SIMPLE", "subjectAltNames": ["::1"]}}


def test_the_host_is_the_servers_own() -> None:
    assert host_header(target("a.example:443"), grpc=False) == {"headers": {"request": {"set": {"Host": "a.example"}}}}
    assert host_header(target("[::1]:443"), grpc=False) == {"headers": {"request": {"set": {"Host": "[::1]"}}}}
    plain = Target("p", "v", "", ("a:1",))
    assert host_header(plain, grpc=False) == client_tls(plain, grpc=False) == path_rewrite([plain], grpc=False) == {}


def test_a_route_has_one_path() -> None:
    one, other = (target("a:443", path=PathRewrite("/v1", f"/{name}/v1")) for name in ("one", "other"))
    rewritten = {"rewrite": {"uriRegexRewrite": {"match": "^/v1/", "rewrite": "/one/v1/"}}}
    assert path_rewrite([one, one], grpc=False) == rewritten
    assert path_rewrite([one], grpc=True) == {}
    with pytest.raises(SetupError, match="different pathRewrites"):
        path_rewrite([one, other], grpc=False)


TWO_NAMES = Version("v1", 1, ("a:443", "b:443"), upstream=Upstream(Tls()))


@pytest.mark.parametrize(
    ("snapshot", "problem"),
    [
        (of(TWO_NAMES), "version v1: its https:// servers have 2 names"),
        (
            of(Version("v1"), Version("m", 0, ("a:443",), mirror=5, upstream=Upstream(Tls()))),
            "version m: Istio copies requests with the host that they have",
        ),
        (of(Version("v1", upstream=Upstream(credentials=KEY))), "credentials are for servers outside the mesh"),
        (
            Snapshot(
                (policy(versions=(Version("v1"),), gpu=Requirement(), reject_without_gpu=False),),
                tuple(GpuPool(n, Gpu(), (f"{n}:443",), upstream=Upstream(Tls())) for n in ("a", "b")),
            ),
            "with onNoGpu: ignore the pools of a version stand in for each other",
        ),
    ],
)
def test_what_istio_cant_do_is_said(snapshot: Snapshot, problem: str) -> None:
    with pytest.raises(SetupError, match=problem):
        check(snapshot, OPTIONS)
    with pytest.raises(SetupError, match=problem):
        documents(snapshot, OPTIONS)
    assert documents(snapshot, IstioOptions(proxies=("inbound",))) != [], "who only times asks for none of it"


def test_what_it_can_do_is_no_problem() -> None:
    one_name = Version("v1", 1, ("a:443", "b:443"), upstream=Upstream(Tls(server_name="c"), credentials=KEY))
    check(of(one_name, Version("v2", 1, ("c:443",), upstream=Upstream(Tls()))), OPTIONS)
    check(CANARY, OPTIONS)


def test_keys_are_written_by_the_cluster() -> None:
    snapshot = of(Version("v1", 1, ("10.0.0.1:80",), upstream=Upstream(credentials=KEY)), Version("v2"))
    (patch,) = credential_patches(snapshot, OPTIONS, "GATEWAY")
    assert patch["match"] == {"context": "GATEWAY", "cluster": {"name": "outbound|8080|v1|chat.aimesh.internal"}}
    (options,) = patch["patch"]["value"]["typed_extension_protocol_options"].values()
    assert options["explicit_http_config"] == {"http_protocol_options": {}}
    credential = options["http_filters"][3]["typed_config"]["credential"]["typed_config"]["credential"]
    assert credential["sds_config"]["path_config_source"] == {
        "path": "/keys/a.sds.yaml",
        "watched_directory": {"path": "/keys"},
    }
    (patch,) = credential_patches(snapshot, OPTIONS, "SIDECAR_INBOUND")
    assert patch["match"]["cluster"]["name"] == "inbound-vip|8080|http/v1|chat.aimesh.internal"
    assert list(credential_patches(CANARY, OPTIONS, "GATEWAY")) == []


def test_grpc_behind_tls_has_a_cluster_and_a_key_of_its_own() -> None:
    snapshot = of(Version("v1", 1, ("a:443",), upstream=Upstream(Tls(), credentials=KEY)))
    found = {patch["match"]["cluster"]["name"]: patch for patch in credential_patches(snapshot, OPTIONS, "GATEWAY")}
    assert list(found) == ["outbound|8080|v1|chat.aimesh.internal", "outbound|8080|v1|grpc.chat.aimesh.internal"]
    (options,) = list(found.values())[1]["patch"]["value"]["typed_extension_protocol_options"].values()
    assert options["explicit_http_config"] == {"http2_protocol_options": {}}


def test_files_that_proxies_read_are_named() -> None:
    upstream = Upstream(Tls("/ca", "/crt", "/key"), credentials=KEY)
    alpn, files, key = notes(of(Version("v1", 1, ("a:443",), upstream=upstream)))
    assert "does not choose by ALPN" in alpn
    assert "/ca, /crt, /key" in files
    assert "/keys/a.sds.yaml" in key
    assert list(notes(CANARY)) == []
