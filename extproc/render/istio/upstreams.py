"""How model servers outside the mesh are spoken to: TLS, another host and path, a key; and what of it Istio can't do.

A DestinationRule has one name for each subset, and a VirtualService one path for each route. Istio has no field for a
key in a file: an EnvoyFilter puts the filters of ``render.envoy.credentials`` into the cluster.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from extproc.errors import SetupError
from extproc.policy.snapshot import Policy, Snapshot
from extproc.policy.target import Target
from extproc.policy.upstream import Credentials
from extproc.render.document import Doc
from extproc.render.envoy.clusters import UPSTREAM_IDLE_TIMEOUT, http_protocol_options
from extproc.render.envoy.credentials import upstream_filters
from extproc.render.envoy.envoy_options import host_port, is_own_machine
from extproc.render.envoy.rewriting import literal
from extproc.render.istio.destinations import Destination, destinations, entry_host
from extproc.render.istio.istio_options import IstioOptions

SECRET = "key"  # noqa: S105 - a name
"""Name of the resource in the file with a key."""


def check(snapshot: Snapshot, options: IstioOptions) -> None:
    """Raises ``SetupError`` for what Istio can't do, with what to do instead."""
    for problem in _problems(snapshot, options):
        raise SetupError(problem)


def notes(snapshot: Snapshot) -> Iterator[str]:
    """Texts for the user: what proxies need for these policies, and what differs from a rendering for Envoy."""
    upstreams = {target.upstream for targets in snapshot.targets.values() for target in targets}
    by_tls = [upstream.tls for upstream in upstreams if upstream.tls]
    if by_tls:
        yield "https:// servers are spoken to by HTTP/1.1, and gRPC by HTTP/2: Istio does not choose by ALPN"
    files = {file for tls in by_tls for file in (tls.ca_file, tls.cert_file, tls.key_file) if file}
    if files:
        yield f"proxies read {', '.join(sorted(files))}: mount them there"
    for credentials in sorted({u.credentials for u in upstreams if u.credentials}, key=sds_file):
        yield (
            f"proxies read the key in {credentials.file} from {sds_file(credentials)}, as docs/policy.md shows it: "
            "mount that before the manifests are applied, or its clusters are refused"
        )


def client_tls(target: Target, *, grpc: bool) -> Doc:
    """The field of a traffic policy that makes proxies speak TLS to the target's servers; none where they do not."""
    tls = target.upstream.tls
    if tls is None:
        return {}
    (name,) = target.server_names(grpc=grpc)
    found: Doc = {"mode": "MUTUAL" if tls.cert_file else "SIMPLE"}
    if tls.cert_file:
        found |= {"clientCertificate": tls.cert_file, "privateKey": tls.key_file}
    if ":" not in name and not name.replace(".", "").isdecimal():
        found["sni"] = name  # RFC 6066 §3: no addresses
    if not tls.verify:
        return {"tls": found | {"insecureSkipVerify": True}}
    if tls.ca_file:  # without it, those of the system
        found["caCertificates"] = tls.ca_file
    return {"tls": found | {"subjectAltNames": [name]}}


def host_header(target: Target, *, grpc: bool) -> Doc:
    """The field of a route's destination that makes the request's host the server's own."""
    if target.upstream.tls is None:
        return {}
    (name,) = target.server_names(grpc=grpc)
    return {"headers": {"request": {"set": {"Host": f"[{name}]" if ":" in name else name}}}}


def path_rewrite(targets: Sequence[Target], *, grpc: bool) -> Doc:
    """The field of a route to ``targets`` that changes the path. Raises ``SetupError`` where they need several."""
    rewrites = {target.upstream.path_rewrite for target in targets}
    (path, *others) = rewrites
    if grpc or rewrites == {None}:
        return {}
    if others or path is None:
        raise SetupError(
            f"policy {targets[0].policy}: its versions have different pathRewrites, and on Istio the route for "
            "requests that no processor has decided can have one only; name a default version, or make two policies"
        )
    return {"rewrite": {"uriRegexRewrite": {"match": f"^{literal(path.prefix)}/", "rewrite": f"{path.replacement}/"}}}


def sds_file(credentials: Credentials) -> str:
    """Path of the file from which proxies of the mesh read the key."""
    return f"{credentials.file}.sds.yaml"


def credential_patches(snapshot: Snapshot, options: IstioOptions, context: str) -> Iterator[Doc]:
    """Patches of an EnvoyFilter that have clusters write keys into requests. A merge replaces the whole of the
    cluster's HTTP options (istio/istio, pkg/proto/merge), so all of them are there.
    """
    plain = destinations(snapshot, options, grpc=False)
    for grpc in (False, True):
        for target, destination in destinations(snapshot, options, grpc=grpc).items():
            credentials = target.upstream.credentials
            if credentials is None or (grpc and destination == plain[target]):
                continue
            file = sds_file(credentials)
            watched = {"path": file, "watched_directory": {"path": file.rpartition("/")[0] or "/"}}
            source = {"name": SECRET, "sds_config": {"resource_api_version": "V3", "path_config_source": watched}}
            value = http_protocol_options(
                {
                    "explicit_http_config": {"http2_protocol_options" if grpc else "http_protocol_options": {}},
                    "http_filters": upstream_filters(credentials, source),
                },
                **({} if grpc else {"idle_timeout": UPSTREAM_IDLE_TIMEOUT}),
            )
            yield {
                "applyTo": "CLUSTER",
                "match": {
                    "context": context,
                    "cluster": {"name": destination.clusters[context == "SIDECAR_INBOUND"]},
                },
                "patch": {"operation": "MERGE", "value": {"typed_extension_protocol_options": value}},
            }


def _problems(snapshot: Snapshot, options: IstioOptions) -> Iterator[str]:
    for grpc in (False, True):
        for target, destination in destinations(snapshot, options, grpc=grpc).items():
            policy = snapshot.by_name[target.policy]
            yield from (
                f"policy {target.policy}, version {target.version or '(none)'}: {problem}"
                for problem in _of_destination(policy, destination, snapshot, grpc=grpc)
            )


def _of_destination(policy: Policy, destination: Destination, snapshot: Snapshot, *, grpc: bool) -> Iterator[str]:
    target = destination.target
    names = target.server_names(grpc=grpc)
    if len(names) > 1:
        yield (
            f"its https:// servers have {len(names)} names, and a DestinationRule of Istio's verifies one; give "
            "tls.serverName, or make a version of each"
        )
    elif names and any(version.name == target.version for version in policy.mirrors):
        yield "Istio copies requests with the host that they have, which no https:// server takes; mirror to another"
    elif names and not policy.reject_without_gpu:
        alike = {(t.upstream, t.server_names(grpc=grpc)) for t in snapshot.targets[target.policy, target.version]}
        if len(alike) > 1:
            yield (
                "with onNoGpu: ignore the pools of a version stand in for each other, and on Istio only where their "
                "https:// servers have one name, tls and credentials; give tls.serverName, or onNoGpu: reject"
            )
    outside = [entry_host(policy, grpc=of_grpc) for of_grpc in (False, True)]
    if destination.host in outside:
        yield from (
            f"no pod reaches {endpoint}: each proxy would dial itself; leave endpoints out, or name those in the mesh"
            for endpoint in destination.endpoints
            if is_own_machine(host_port(endpoint)[0])
        )
    if target.upstream.credentials and destination.host not in outside:
        yield (
            f"on Istio credentials are for servers outside the mesh, and {destination.host} is a Service; list "
            "addresses, or use a gateway of `extproc render envoy`"
        )
