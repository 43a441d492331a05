"""A version of a policy on one GPU pool, which becomes a cluster in Envoy."""

from __future__ import annotations

import ipaddress

import msgspec

from extproc.policy.upstream import PLAIN, Upstream

NOTHING_DOWN: frozenset[str] = frozenset()
"""Clusters of targets of which no server can be reached: none."""


class Target(msgspec.Struct, frozen=True):
    """The version, the pool and their servers."""

    policy: str
    version: str
    """Empty for a policy without versions."""
    pool: str
    """Empty where the version runs on no declared pool."""
    endpoints: tuple[str, ...]
    """``host:port``; that of the policy where neither version nor pool names any."""
    upstream: Upstream = PLAIN

    @property
    def cluster(self) -> str:
        """The name of its cluster in our own Envoys: ``policy/version/pool`` without empty parts."""
        return "/".join(part for part in (self.policy, self.version, self.pool) if part)

    @property
    def addresses(self) -> tuple[str, ...]:
        """The endpoints, where a proxy can be told one of them (``x-gateway-destination-endpoint``): there are several,
        and all are IP addresses.
        """
        several = len(self.endpoints) > 1 and all(_is_address(endpoint) for endpoint in self.endpoints)
        return self.endpoints if several else ()

    @property
    def server_names(self) -> tuple[str, ...]:
        """The different names by which its servers are called and verified; empty without TLS."""
        tls = self.upstream.tls
        return tuple(dict.fromkeys(map(tls.name_of, self.endpoints))) if tls else ()


def _is_address(endpoint: str) -> bool:
    try:
        ipaddress.ip_address(endpoint.rpartition(":")[0].strip("[]"))
    except ValueError:
        return False
    return True
