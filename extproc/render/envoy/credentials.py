"""A model server's own key: written into requests by filters of its cluster, so that no other server gets it."""

from __future__ import annotations

from extproc.policy.target import Target
from extproc.policy.upstream import Credentials
from extproc.render.document import Doc
from extproc.render.envoy.envoy_options import skipped_where, typed
from extproc.render.envoy.secrets import Secret

CLIENT_CREDENTIALS = (
    *("authorization", "proxy-authorization", "x-api-key", "api-key", "x-goog-api-key"),
    *("openai-organization", "openai-project"),  # whom OpenAI charges
    *("x-goog-user-project", "x-amz-security-token", "ocp-apim-subscription-key"),  # Google, AWS, Azure API Management
)
"""Headers in which clients of the APIs that we know send keys of their own, or whose account is meant: removed where a
server has a key.
"""
_PROTOCOLS = "sec-websocket-protocol"
_SESSION_PROTOCOL = "realtime"
_KEY_AS_PROTOCOL = "(?i).*openai-(insecure-api-key|organization|project)[.].*"
"""How browsers, which can set no header of a WebSocket, tell OpenAI's Realtime API their key: beside the protocol
``realtime``. Source: OpenAI's documentation of the Realtime API, "WebSockets".
"""


def credential_of(target: Target) -> list[Secret]:
    """The secret of the target's key, if it has one."""
    credentials = target.upstream.credentials
    return [Secret("credential", (credentials.file,))] if credentials else []


def upstream_filters(credentials: Credentials, source: Doc) -> list[Doc]:
    """The HTTP filters of a cluster whose servers have a key. ``source``: the SdsSecretConfig that tells it."""
    removed = [{"remove": name} for name in dict.fromkeys((*CLIENT_CREDENTIALS, credentials.header))]
    session = {"header": {"key": _PROTOCOLS, "value": _SESSION_PROTOCOL}, "append_action": "OVERWRITE_IF_EXISTS"}
    generic = typed(
        "envoy.http.injected_credentials.generic",
        "extensions.http.injected_credentials.generic.v3.Generic",
        credential=source,
        header=credentials.header,
        **({"header_value_prefix": credentials.prefix} if credentials.prefix else {}),
    )
    return [
        _mutation("aimesh.client_credentials", removed),
        skipped_where(_names_no_key(), _mutation("aimesh.websocket_credentials", [{"append": session}])),
        typed(
            "aimesh.credentials",
            "extensions.filters.http.credential_injector.v3.CredentialInjector",
            overwrite=True,
            credential=generic,
        ),
        typed("envoy.filters.http.upstream_codec", "extensions.filters.http.upstream_codec.v3.UpstreamCodec"),
    ]


def _mutation(name: str, mutations: list[Doc]) -> Doc:
    kind = "extensions.filters.http.header_mutation.v3.HeaderMutation"
    return typed(name, kind, mutations={"request_mutations": mutations})


def _names_no_key() -> Doc:
    protocols = typed("protocols", "type.matcher.v3.HttpRequestHeaderMatchInput", header_name=_PROTOCOLS)
    regex = {"google_re2": {}, "regex": _KEY_AS_PROTOCOL}
    return {"not_matcher": {"single_predicate": {"input": protocols, "value_match": {"safe_regex": regex}}}}
