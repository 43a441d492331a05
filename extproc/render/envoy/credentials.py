"""A model server's own key: written into requests by filters of its cluster, so that no other server gets it."""

from __future__ import annotations

from collections.abc import Iterable

from extproc.policy.snapshot import Policy, Snapshot, Version
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
CLIENT_PARAMETERS = (
    *("key", "access_token", "oauth_token"),  # Google's "standard query parameters"
    *("api-key", "subscription-key"),  # Azure OpenAI's Realtime API, Azure API Management
    *("x-amz-credential", "x-amz-signature", "x-amz-security-token"),  # AWS Signature Version 4, "query parameters"
)
"""Parameters of the query in which they do so, whatever their case."""
_TAKE_OUT = """\
local names = {NAMES}
local function decoded(text)
  return (text:gsub("%+", " "):gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end
function envoy_on_request(handle)
  local path, query = handle:headers():get(":path"):match("^([^?]*)%?(.*)$")
  local kept = {}
  for part in query:gmatch("[^&]+") do
    if not names[decoded(part:match("^[^=]*")):lower()] then kept[#kept + 1] = part end
  end
  local rest = table.concat(kept, "&")
  handle:headers():replace(":path", rest == "" and path or path .. "?" .. rest)
end
"""
_PROTOCOLS = "sec-websocket-protocol"
_SESSION_PROTOCOL = "realtime"
_KEY_AS_PROTOCOL = "(?i).*openai-(insecure-api-key|organization|project)[.].*"
"""How browsers, which can set no header of a WebSocket, tell OpenAI's Realtime API their key: beside the protocol
``realtime``. Source: OpenAI's documentation of the Realtime API, "WebSockets".
"""


def gives_keys(snapshot: Snapshot, policies: Iterable[Policy]) -> bool:
    """Whether some server of these policies gets a key of ours with its requests, be it as a mirror."""
    versions = ((policy.name, version.name) for policy in policies for version in policy.versions or (Version(""),))
    return any(target.upstream.credentials for version in versions for target in snapshot.targets[version])


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
        skipped_where(
            {"not_matcher": _header(_PROTOCOLS, _KEY_AS_PROTOCOL)},
            _mutation("aimesh.websocket_credentials", [{"append": session}]),
        ),
        skipped_where({"not_matcher": _header(":path", ".*[?].*")}, _without_parameters()),
        typed(
            "aimesh.credentials",
            "extensions.filters.http.credential_injector.v3.CredentialInjector",
            overwrite=True,
            credential=generic,
        ),
        typed("envoy.filters.http.upstream_codec", "extensions.filters.http.upstream_codec.v3.UpstreamCodec"),
    ]


def _without_parameters() -> Doc:
    """Takes parameters out of a query and leaves the others octet by octet as they came. The query_parameter_mutations
    of a header mutation write all of them anew without encoding them (Envoy 1.40): a %20 would end the request's
    target, a %26 begin another parameter.
    """
    names = ", ".join(f'["{name}"] = true' for name in CLIENT_PARAMETERS)
    source = {"inline_string": _TAKE_OUT.replace("NAMES", names)}
    return typed("aimesh.client_parameters", "extensions.filters.http.lua.v3.Lua", default_source_code=source)


def _mutation(name: str, mutations: list[Doc]) -> Doc:
    kind = "extensions.filters.http.header_mutation.v3.HeaderMutation"
    return typed(name, kind, mutations={"request_mutations": mutations})


def _header(name: str, regex: str) -> Doc:
    """The predicate that a header matches the regular expression."""
    value = typed("header", "type.matcher.v3.HttpRequestHeaderMatchInput", header_name=name)
    return {"single_predicate": {"input": value, "value_match": {"safe_regex": {"google_re2": {}, "regex": regex}}}}
