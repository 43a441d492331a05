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
    assert (target.endpoints, target.server_names) == (("a:443",), ("a",))
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
