"""``https://`` endpoints, ``tls``, ``pathRewrite`` and ``credentials`` of versions and pools."""

from __future__ import annotations

import pytest

from extproc.policy.upstream import Credentials, PathRewrite, Tls, Upstream
from tests.policy_documents import file, found, policy, policy_of, pool, said, snapshot_of


def version(fields: str) -> str:
    return f"versions:\n- {{name: v1, {fields}}}"


def test_https_is_tls_and_has_a_port_of_its_own() -> None:
    (read,) = policy_of(
        version('endpoints: ["https://A.example.", "https://[::1]", "HTTPS://b.example:8443"]')
    ).versions
    assert read.endpoints == ("a.example.:443", "[::1]:443", "b.example:8443")
    assert read.upstream == Upstream(Tls())
    assert [Tls().name_of(endpoint) for endpoint in read.endpoints] == ["a.example", "::1", "b.example"]


def test_every_field_of_tls() -> None:
    tls = "tls: {caFile: /ca, certFile: /cert, keyFile: /key, serverName: Chat.example}"
    (read,) = policy_of(version(f'endpoints: ["https://a"], {tls}, pathRewrite: {{prefix: /v1}}')).versions
    assert read.upstream == Upstream(Tls("/ca", "/cert", "/key", "chat.example"), PathRewrite("/v1", ""))


def test_grpc_has_endpoints_of_its_own() -> None:
    (read,) = policy_of(version('endpoints: ["a:8000"], grpcEndpoints: ["a:8001"]')).versions
    assert (read.endpoints, read.grpc_endpoints, read.upstream) == (("a:8000",), ("a:8001",), Upstream())
    (read,) = policy_of(version('endpoints: ["https://a"], grpcEndpoints: ["https://a:8001"]')).versions
    assert (read.grpc_endpoints, read.upstream) == (("a:8001",), Upstream(Tls()))
    same = 'endpoints: ["a:1"], grpcEndpoints: ["a:1"]'
    assert [said(problem) for problem in found(policy(version(same)))] == [
        "warning 6 spec.versions[0].grpcEndpoints: are the endpoints, which get gRPC calls anyway; remove grpcEndpoints"
    ]


def test_the_servers_of_a_version_and_a_pool_are_of_the_same_kinds() -> None:
    """So that a request and a call of gRPC that get one version and pool both find servers there."""
    of_both = 'endpoints: ["a:1", "b:1"], grpcEndpoints: ["a:2", "b:2"]'
    west = "product: NVIDIA-A100-SXM4-80GB\n"

    def read(fields: str, of_pool: str) -> list[str]:
        return [
            said(problem)
            for problem in found(file(policy(f"gpuRequirements: {{}}\n{version(fields)}"), pool(west + of_pool)))
        ]

    assert read(of_both, 'endpoints: ["a:1"]\ngrpcEndpoints: ["a:2"]') == []
    assert read(of_both, "") == read("weight: 1", 'endpoints: ["a:1"]\ngrpcEndpoints: ["a:2"]') == []
    (problem,) = read(of_both, 'endpoints: ["a:1"]')
    assert "the version v1 lists endpoints and grpcEndpoints, and the pool a100-west endpoints" in problem
    (problem,) = read('endpoints: ["a:1"]', 'endpoints: ["a:1"]\ngrpcEndpoints: ["a:2"]')
    assert "the version v1 lists endpoints, and the pool a100-west endpoints and grpcEndpoints" in problem
    (problem,) = read(of_both, 'endpoints: ["a:1"]\ngrpcEndpoints: ["c:2"]')
    assert "the version v1 has none of the grpcEndpoints of the pool a100-west" in problem
    (problem,) = read('grpcEndpoints: ["a:2"]', 'endpoints: ["https://a:1"]')
    assert "the pool a100-west lists the same, and just one of the two as https://" in problem


def test_servers_that_both_list_serve_each_protocol() -> None:
    west = pool('product: NVIDIA-A100-SXM4-80GB\nendpoints: ["a:1"]\ngrpcEndpoints: ["a:2"]')
    lists = version('endpoints: ["a:1", "b:1"], grpcEndpoints: ["a:2", "b:2"]')
    ((target,),) = snapshot_of(policy(f"gpuRequirements: {{}}\n{lists}"), west).targets.values()
    assert (target.servers(grpc=False), target.servers(grpc=True)) == (("a:1",), ("a:2",))


@pytest.mark.parametrize(
    ("fields", "read"),
    [
        ("file: /a", Credentials("/a", "authorization", "Bearer ")),
        ("file: /a, prefix: ''", Credentials("/a", "authorization", "")),
        ("file: /a, header: X-Api-Key", Credentials("/a", "x-api-key", "")),
        ("file: /a, header: x-token, prefix: 'Key '", Credentials("/a", "x-token", "Key ")),
    ],
)
def test_a_key_is_in_a_file(fields: str, read: Credentials) -> None:
    (found,) = policy_of(version(f"credentials: {{{fields}}}")).versions
    assert found.upstream == Upstream(credentials=read)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ('endpoints: ["https://a", "b:1"]', "some endpoints are https:// and others are not"),
        ('endpoints: ["https://a/v1"]', "is more than a host and a port"),
        ('endpoints: ["https://u@a"]', "is more than a host and a port"),
        ('endpoints: ["https://"]', "has no port"),
        ('endpoints: ["https://a b"]', "is not a host"),
        ('endpoints: ["a:1"], tls: {}', "says how TLS is spoken, and no endpoint here is https://"),
        ("tls: {}", "says how TLS is spoken, and no endpoint here is https://"),
        ('endpoints: ["a:1"], grpcEndpoints: ["https://a"]', "just one of endpoints and grpcEndpoints is https://"),
        ('endpoints: ["https://a"], grpcEndpoints: ["a:1"]', "just one of endpoints and grpcEndpoints is https://"),
        ('grpcEndpoints: ["https://a"]', "are https://, and there are no endpoints beside them"),
        ('endpoints: ["https://a"], tls: {caFile: ca.pem}', "is not an absolute path"),
        ('endpoints: ["https://a"], tls: {certFile: /a}', "has one of certFile and keyFile"),
        ('endpoints: ["https://a"], tls: {insecureSkipVerify: true, caFile: /a}', "counts for nothing beside"),
        ('endpoints: ["https://a"], tls: {serverName: "a:1"}', "is not a host"),
        ('endpoints: ["https://a"], tls: {sni: a}', "is not a known field"),
        ("credentials: {}", "has no file; give the file that has the key"),
        ("credentials: {file: key}", "is not an absolute path"),
        ("credentials: {file: /a, header: Host}", "host is no header for a key"),
        ("credentials: {file: /a, header: x-gpu-pool}", "x-gpu-pool is set by the processor"),
        ('credentials: {file: /a, prefix: "\\t"}', "is not allowed"),
        ("pathRewrite: {}", "changes no path"),
        ("pathRewrite: {prefix: /a, replacement: /a}", "changes no path"),
        ("pathRewrite: {prefix: v1}", "is not a path's beginning"),
    ],
)
def test_mistakes(fields: str, problem: str) -> None:
    (only,) = found(policy(version(fields)))
    assert problem in said(only)
    assert not only.warning


@pytest.mark.parametrize(
    ("spec", "warning"),
    [
        (
            version('endpoints: ["a:443"]'),
            "443 is the port of HTTPS, and without https:// no TLS is spoken; write https://a",
        ),
        ("port: 443", "443 is the port of HTTPS, and no TLS is spoken there"),
        (
            version('endpoints: ["https://a"], tls: {insecureSkipVerify: true}'),
            "whoever is on the way can read the requests and answer them",
        ),
    ],
)
def test_what_is_probably_not_meant(spec: str, warning: str) -> None:
    (only,) = found(policy(spec))
    assert warning in said(only)
    assert only.warning


def test_a_mirror_gets_the_path_that_the_others_get() -> None:
    (only,) = found(policy("versions: [{name: a}, {name: m, mirror: 5, pathRewrite: {prefix: /v1}}]"))
    assert "a mirror gets the very request" in only.message


def test_a_pool_has_them_too() -> None:
    snapshot = snapshot_of(
        policy("{versions: [{name: v1}], gpuRequirements: {}}"),
        pool('{product: NVIDIA-A100-SXM4-80GB, endpoints: ["https://a"], pathRewrite: {replacement: /p}}'),
    )
    (target,) = snapshot.targets["chat", "v1"]
    assert (target.endpoints, target.server_names(grpc=False)) == (("a:443",), ("a",))
    assert target.upstream == Upstream(Tls(), PathRewrite("", "/p"))


def test_one_endpoint_is_not_spoken_to_in_two_ways() -> None:
    both = 'product: NVIDIA-A100-SXM4-80GB\nendpoints: ["a:8443"]'
    text = file(policy(f"{version('endpoints: [https://a:8443]')}\ngpuRequirements: {{}}"), pool(both))
    (only,) = found(text)
    assert "the pool a100-west lists the same, and just one of the two as https://" in only.message


def test_copies_have_one_host() -> None:
    text = 'versions: [{name: a}, {name: m, mirror: 5, endpoints: ["https://a", "https://b"]}]'
    (only,) = found(policy(text))
    assert "the servers of a mirror have one name, and these 2" in only.message
