"""What Envoy reads from files that may change while it runs: each is a resource of SDS, in a discovery file of its own.

In one static document Envoy reads the policy's files by itself, once, at its start.
"""

from __future__ import annotations

import hashlib
from typing import Literal

import msgspec

from extproc.render.document import Doc
from extproc.render.envoy.envoy_options import EnvoyOptions, discovery_source

SECRET_TYPE = "envoy.extensions.transport_sockets.tls.v3.Secret"  # noqa: S105 - the name of a message


class Secret(msgspec.Struct, frozen=True):
    """Contents of files, by the use that is made of them."""

    kind: Literal["authority", "certificate", "credential"]
    files: tuple[str, ...]
    """Paths: of a certificate two, that with the chain and that with the key; else one."""

    @property
    def name(self) -> str:
        """Its name in SDS."""
        return f"{self.kind}-{hashlib.sha256(chr(0).join(self.files).encode()).hexdigest()[:16]}"

    @property
    def discovery_file(self) -> str:
        """Name of the discovery file that has it."""
        return f"{self.name}.json"

    def resource(self, contents: tuple[bytes, ...]) -> Doc:
        """The resource for SDS. ``contents``: of ``files``."""
        texts = [{"inline_string": content.decode("utf-8", "replace")} for content in contents]
        if self.kind == "authority":
            return {"name": self.name, "validation_context": {"trusted_ca": texts[0]}}
        if self.kind == "credential":
            return {"name": self.name, "generic_secret": {"secret": texts[0]}}
        return {"name": self.name, "tls_certificate": {"certificate_chain": texts[0], "private_key": texts[1]}}


def static_secret(secret: Secret) -> Doc:
    """The credential ``secret`` for one static document: Envoy reads the file as it is, when it starts."""
    return {"name": secret.name, "generic_secret": {"secret": {"filename": secret.files[0]}}}


def secret_source(secret: Secret, options: EnvoyOptions) -> Doc | None:
    """The SdsSecretConfig by which Envoy watches ``secret``; None where it has no directory of discovery files."""
    if not options.discovery_directory:
        return None
    return {"name": secret.name, "sds_config": discovery_source(options.discovery_directory, secret.discovery_file)}
