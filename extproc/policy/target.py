"""A version of a policy on one GPU pool, which becomes a cluster in Envoy."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

import msgspec

from extproc.policy.load_balancer import LEAST_REQUEST, LoadBalancer
from extproc.policy.upstream import PLAIN, Upstream

NOTHING_DOWN: frozenset[str] = frozenset()
"""Clusters (``Target.cluster_of``) of which no server can be reached: none."""
NOWHERE = "nowhere.invalid:1"
"""Stands for endpoints where there are none at present: an empty list would mean those of others. The name can't exist
(RFC 6761, section 6.4).
"""


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
    grpc_endpoints: tuple[str, ...] = ()
    """``host:port`` for gRPC, where it has ports of its own; empty: ``endpoints``."""
    load_balancer: LoadBalancer = LEAST_REQUEST

    def servers(self, *, grpc: bool) -> tuple[str, ...]:
        """``host:port`` of those that get the requests; ``grpc``: the calls of gRPC."""
        return self.grpc_endpoints if grpc and self.grpc_endpoints else self.endpoints

    def present(self, *, grpc: bool) -> tuple[str, ...]:
        """``servers``, but none where ``NOWHERE`` stands for them."""
        servers = self.servers(grpc=grpc)
        return () if servers == (NOWHERE,) else servers

    @property
    def cluster(self) -> str:
        """The name of its cluster in our own Envoys: ``policy/version/pool`` without empty parts."""
        return "/".join(part for part in (self.policy, self.version, self.pool) if part)

    def cluster_of(self, *, grpc: bool) -> str:
        """``cluster``; for the calls of gRPC, where they have servers of their own, with ``#grpc`` behind it."""
        return f"{self.cluster}#grpc" if grpc and self.grpc_endpoints else self.cluster

    @property
    def addresses(self) -> tuple[str, ...]:
        """The endpoints, where a proxy can be told one of them (``x-gateway-destination-endpoint``): there are several,
        and all are IP addresses.
        """
        several = len(self.endpoints) > 1 and all(is_address(endpoint) for endpoint in self.endpoints)
        return self.endpoints if several else ()

    def server_names(self, *, grpc: bool) -> tuple[str, ...]:
        """The different names by which ``servers`` are called and verified; empty without TLS."""
        tls = self.upstream.tls
        return tuple(dict.fromkeys(map(tls.name_of, self.servers(grpc=grpc)))) if tls else ()


def vacant_clusters(targets: Iterable[Target]) -> frozenset[str]:
    """Those (``Target.cluster_of``) that have no servers at present."""
    both = ((target, grpc) for target in targets for grpc in (False, True))
    return frozenset(target.cluster_of(grpc=grpc) for target, grpc in both if not target.present(grpc=grpc))


@lru_cache(maxsize=8)
def united(some: frozenset[str], others: frozenset[str]) -> frozenset[str]:
    """Both. They stay the same for many requests, and there may be thousands."""
    return some | others


def listed_by_both(of_version: tuple[str, ...], of_pool: tuple[str, ...]) -> tuple[str, ...]:
    """The endpoints that both list, or those of whichever lists any. ``NOWHERE`` is none that both could mean."""
    if of_version and of_pool:
        return tuple(endpoint for endpoint in of_version if endpoint in of_pool and endpoint != NOWHERE)
    return of_version or of_pool


def is_address(endpoint: str) -> bool:
    """Whether the host of ``host:port`` is an IP address."""
    try:
        ipaddress.ip_address(endpoint.rpartition(":")[0].strip("[]"))
    except ValueError:
        return False
    return True
