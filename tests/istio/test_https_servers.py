"""Servers outside the mesh behind TLS, as a sidecar reaches them: verified names, hosts, paths, keys of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from extproc.policy.snapshot import HeaderMatch, Snapshot, Version
from extproc.policy.upstream import Credentials, PathRewrite, Tls, Upstream
from tests.envoy.conftest import Gateway, ModelServer, Processor
from tests.envoy.test_accounts import counted, errors, requests
from tests.envoy.tls_servers import Authority, TlsModelServer
from tests.istio import mesh
from tests.istio.patching import Proxy
from tests.waiting import until

pytestmark = pytest.mark.envoy

Run = Callable[[Proxy], Gateway]
BETA = (HeaderMatch((("x-beta", b"true"),)),)


def tell(file: Path, key: str) -> None:
    """Writes the key as the proxy reads it, by a rename."""
    secret = {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
        "name": "key",
        "generic_secret": {"secret": {"inline_string": key}},
    }
    fresh = file.with_suffix(".new")
    fresh.write_text(yaml.safe_dump({"resources": [secret]}))
    fresh.rename(Path(f"{file}.sds.yaml"))


@pytest.mark.parametrize(
    ("at", "proxies"), [("SIDECAR_OUTBOUND", ("sidecar",)), ("GATEWAY", ("gateway",))], ids=["sidecar", "gateway"]
)
def test_each_version_by_its_name_path_and_key(
    at: str,
    proxies: tuple[str, ...],
    servers: Callable[..., list[ModelServer]],
    processor: Callable[..., Processor],
    run: Run,
    tmp_path: Path,
) -> None:
    authority = Authority(tmp_path / "authority")
    (other,) = servers("other")
    certificates = [authority.issue(name) for name in ("a.example", "b.example")]
    with TlsModelServer("v1", certificates[0], authority.ca) as v1, TlsModelServer("v2", certificates[1]) as v2:
        own = str(authority.issue("mesh.example"))
        key = tmp_path / "key"
        tell(key, "sk-first")
        first = Upstream(
            Tls(str(authority.ca), own, own, "a.example"),
            PathRewrite("/v1", "/one/v1"),
            Credentials(str(key), prefix="Bearer "),
        )
        second = Upstream(Tls(str(authority.ca), server_name="b.example"))
        versions = (
            Version("v1", 1, (mesh.elsewhere(v1.address),), upstream=first),
            Version("v2", 0, (mesh.elsewhere(v2.address),), match=BETA, upstream=second),
        )
        snapshot = Snapshot((mesh.policy(versions=versions, default="v1"),))
        process = processor(snapshot)
        envoy = run(mesh.proxy(snapshot, [], other, process, at=at, proxies=proxies))
        claims = {"host": mesh.CHAT, "authorization": "Bearer of-the-client"}
        assert [envoy.ask("llama", x_beta=beta, **claims).text for beta in ("no", "true")] == ["v1", "v2"]
        assert (v1.names, v2.names) == (["a.example"], ["b.example"])
        (one,), (two,) = v1.seen, v2.seen
        assert (one.path, one.headers["host"]) == ("/one/v1/chat/completions", "a.example")
        assert (two.path, two.headers["host"]) == ("/v1/chat/completions", "b.example")
        assert one.headers["authorization"] == "Bearer sk-first"
        assert two.headers["authorization"] == "Bearer of-the-client", "what has no key of its own gets the client's"

        tell(key, "sk-second")
        until(lambda: envoy.ask("llama", **claims).text and v1.seen[-1].headers["authorization"] == "Bearer sk-second")
        until(lambda: counted(process) == len(v1.seen) + len(v2.seen))
        by_version = {version: count for (_, version, _), count in requests(process).items()}
        assert by_version == {"v1": len(v1.seen), "v2": 1}


def test_a_server_of_another_name_gets_nothing(
    servers: Callable[..., list[ModelServer]], processor: Callable[..., Processor], run: Run, tmp_path: Path
) -> None:
    authority = Authority(tmp_path / "authority")
    (other,) = servers("other")
    with TlsModelServer("v1", authority.issue("a.example")) as v1:
        version = Version(
            "v1", 1, (mesh.elsewhere(v1.address),), upstream=Upstream(Tls(str(authority.ca), server_name="b.example"))
        )
        snapshot = Snapshot((mesh.policy(versions=(version,)),))
        process = processor(snapshot)
        envoy = run(mesh.proxy(snapshot, [], other, process, proxies=("sidecar",)))
        assert envoy.ask("llama", host=mesh.CHAT).status == 503
        assert v1.seen == []
        until(lambda: errors(process) == {"upstream_unreachable": 1})
