"""A model server's own key: written into requests by filters of its cluster, so that no other server gets it."""

from __future__ import annotations

from extproc.policy.target import Target
from extproc.policy.upstream import Credentials
from extproc.render.document import Doc
from extproc.render.envoy.envoy_options import typed
from extproc.render.envoy.secrets import Secret

CLIENT_CREDENTIALS = ("authorization", "proxy-authorization", "x-api-key", "api-key", "x-goog-api-key")
"""Headers in which clients of the APIs that we know send keys of their own: removed where a server has a key."""


def credential_of(target: Target) -> list[Secret]:
    """The secret of the target's key, if it has one."""
    credentials = target.upstream.credentials
    return [Secret("credential", (credentials.file,))] if credentials else []


def upstream_filters(credentials: Credentials, source: Doc) -> list[Doc]:
    """The HTTP filters of a cluster whose servers have a key. ``source``: the SdsSecretConfig that tells it."""
    removed = [{"remove": name} for name in dict.fromkeys((*CLIENT_CREDENTIALS, credentials.header))]
    generic = typed(
        "envoy.http.injected_credentials.generic",
        "extensions.http.injected_credentials.generic.v3.Generic",
        credential=source,
        header=credentials.header,
        **({"header_value_prefix": credentials.prefix} if credentials.prefix else {}),
    )
    return [
        typed(
            "aimesh.client_credentials",
            "extensions.filters.http.header_mutation.v3.HeaderMutation",
            mutations={"request_mutations": removed},
        ),
        typed(
            "aimesh.credentials",
            "extensions.filters.http.credential_injector.v3.CredentialInjector",
            overwrite=True,
            credential=generic,
        ),
        typed("envoy.filters.http.upstream_codec", "extensions.filters.http.upstream_codec.v3.UpstreamCodec"),
    ]
