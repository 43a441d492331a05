"""The endpoints of a version or a pool, and how they are spoken to: ``tls``, ``pathRewrite``, ``credentials``."""

from __future__ import annotations

import msgspec

from extproc.policy.upstream import Credentials, PathRewrite, Tls, Upstream
from extproc.policyfile import endpoints, values
from extproc.policyfile.fields import Field, Fields

FIELDS = ("endpoints", "grpcEndpoints", "tls", "pathRewrite", "credentials")

AUTHORIZATION = "authorization"
_OF_THE_CONNECTION = frozenset(
    ("host", "content-length", "content-type", "transfer-encoding", "connection", "te", "upgrade", "trailer")
)
"""Headers that frame or route a request."""


class Servers(msgspec.Struct, frozen=True):
    """What a version or a pool lists: ``host:port`` of each server."""

    endpoints: tuple[str, ...]
    grpc_endpoints: tuple[str, ...]
    upstream: Upstream


def read(fields: Fields) -> Servers:
    """The servers that ``fields`` list, and how they are spoken to."""
    listed = fields.optional("endpoints", endpoints.endpoints, endpoints.Endpoints())
    of_grpc = fields.optional("grpcEndpoints", endpoints.endpoints, endpoints.Endpoints())
    _check_grpc(fields, listed, of_grpc)
    tls = fields.optional("tls", _tls, Tls())
    if "tls" in fields and not listed.tls and fields.field.at("endpoints").clean:
        remedy = 'write endpoints: ["https://host"] beside it, or remove tls'
        fields.field.at("tls").error("says how TLS is spoken, and no endpoint here is https://", remedy)
    upstream = Upstream(
        tls if listed.tls else None,
        fields.optional("pathRewrite", _path_rewrite, None),
        fields.optional("credentials", _credentials, None),
    )
    return Servers(listed.addresses, of_grpc.addresses, upstream)


def _check_grpc(fields: Fields, listed: endpoints.Endpoints, of_grpc: endpoints.Endpoints) -> None:
    """``grpcEndpoints`` speak TLS where ``endpoints`` do, and are other servers."""
    field = fields.field.at("grpcEndpoints")
    if "grpcEndpoints" not in fields or not field.clean or not fields.field.at("endpoints").clean:
        return
    if of_grpc.tls and "endpoints" not in fields:
        field.error("are https://, and there are no endpoints beside them", "write endpoints: they serve gRPC as well")
    elif of_grpc.tls != listed.tls:
        field.error("just one of endpoints and grpcEndpoints is https://", "write https:// in both, or in neither")
    elif of_grpc.addresses == listed.addresses:
        field.warn("are the endpoints, which get gRPC calls anyway", "remove grpcEndpoints")


def _tls(field: Field) -> Tls | None:
    fields = field.fields("caFile", "certFile", "keyFile", "serverName", "insecureSkipVerify")
    if fields is None:
        return None
    if ("certFile" in fields) != ("keyFile" in fields):
        field.error("has one of certFile and keyFile", "give both: a certificate is of no use without its key")
    unverified = fields.optional("insecureSkipVerify", Field.boolean, False)
    if unverified and "caFile" in fields:
        field.at("caFile").error("counts for nothing beside insecureSkipVerify", "remove one of the two")
    elif unverified:
        remedy = "give caFile, and serverName where the certificate has another name"
        field.at("insecureSkipVerify").warn("whoever is on the way can read the requests and answer them", remedy)
    return Tls(
        fields.optional("caFile", values.file_path, ""),
        fields.optional("certFile", values.file_path, ""),
        fields.optional("keyFile", values.file_path, ""),
        (fields.optional("serverName", endpoints.host, "") or "").removesuffix("."),
        not unverified,
    )


def _path_rewrite(field: Field) -> PathRewrite | None:
    fields = field.fields("prefix", "replacement")
    if fields is None:
        return None
    found = PathRewrite(
        fields.optional("prefix", values.path_prefix, ""), fields.optional("replacement", values.path_prefix, "")
    )
    if field.clean and found.prefix == found.replacement:
        field.error("changes no path", "write pathRewrite: {prefix: /v1, replacement: /openai/v1}")
    return found


def _credentials(field: Field) -> Credentials | None:
    fields = field.fields("header", "prefix", "file")
    if fields is None:
        return None
    header = fields.optional("header", values.header_name, AUTHORIZATION)
    if header in _OF_THE_CONNECTION:
        field.at("header").error(f"{header} is no header for a key", "give authorization, x-api-key, api-key …")
    file = fields.required("file", values.file_path, "give the file that has the key: file: /etc/aimesh/keys/a")
    prefix = fields.optional("prefix", values.header_prefix, "Bearer " if header == AUTHORIZATION else "")
    return Credentials(file or "", header, prefix)
