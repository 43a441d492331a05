"""How model servers are spoken to: TLS, another path, a key."""

from __future__ import annotations

import msgspec


class Tls(msgspec.Struct, frozen=True):
    """TLS to a model server. Files are PEM, on the proxy's machine."""

    ca_file: str = ""
    """Authorities that may have issued the server's certificate; empty: those of the system."""
    cert_file: str = ""
    """The proxy's own certificate with its chain; empty: none."""
    key_file: str = ""
    server_name: str = ""
    """Name that the server's certificate must have; empty: the endpoint's host."""
    verify: bool = True
    """Whether the server's certificate is verified at all."""

    def name_of(self, endpoint: str) -> str:
        """Name by which the server at ``endpoint`` (``host:port``) is called and verified: a DNS name, or an address
        without brackets.
        """
        name = self.server_name or endpoint.rpartition(":")[0]
        return name.removeprefix("[").removesuffix("]").removesuffix(".")


class PathRewrite(msgspec.Struct, frozen=True):
    """``prefix`` at the beginning of a request's path becomes ``replacement``. Both begin with ``/``, or are empty."""

    prefix: str = ""
    replacement: str = ""


class Credentials(msgspec.Struct, frozen=True):
    """A key that the proxy writes into requests; the key itself is in ``file``, on the proxy's machine."""

    file: str
    header: str = "authorization"
    """In lower case."""
    prefix: str = ""
    """Stands before the key in the header's value."""


class Upstream(msgspec.Struct, frozen=True):
    """How the endpoints of a version, pool or target are spoken to."""

    tls: Tls | None = None
    path_rewrite: PathRewrite | None = None
    credentials: Credentials | None = None

    def completed(self, pool: Upstream, *, own_endpoints: bool) -> Upstream:
        """A version's, with what its pool says and it does not. TLS belongs to the endpoints: the version's where it
        has ``own_endpoints``, else the pool's.
        """
        return Upstream(
            self.tls if own_endpoints else pool.tls,
            self.path_rewrite or pool.path_rewrite,
            self.credentials or pool.credentials,
        )


PLAIN = Upstream()
"""HTTP without TLS, requests as they come."""
