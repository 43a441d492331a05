"""The decision: which policy owns a request, which version answers it, on which GPU pool.

Pure: the same arguments always give the same decision.
"""

from __future__ import annotations

from collections.abc import Mapping
from zlib import crc32

from extproc import headers as names
from extproc.bodies.grpc_message import is_grpc
from extproc.bodies.request import InferenceRequest
from extproc.errors import Rejected
from extproc.headers import Headers, safe_value
from extproc.policy import unowned_requests
from extproc.policy.pool_load import NO_REPORTS
from extproc.policy.rendezvous import LAST
from extproc.policy.session_tag import Place, server_of
from extproc.policy.snapshot import HeaderMatch, ModelMatch, Policy, Snapshot, Version
from extproc.policy.sticky_key import sticky_key
from extproc.policy.target import NOTHING_DOWN, Target
from extproc.policy.target_choice import choose_target

# Cohorts: how a version was chosen. They are values of the metadata `cohort`.
MATCH = "match"
PIN = "pin"
STICKY = "sticky"
WEIGHT = "weight"
DEFAULT = "default"
SESSION = "session"
FAILOVER = "failover"
UNOWNED = "unowned"
"""Of what passes on unrouted: no version was chosen."""
FALLBACK = "fallback"

USER = "user"
"""Key of the metadata."""
USERS, USER_LENGTH = 256, 2
"""Number of the words for users; characters of one."""
_USER_WORDS = tuple(f"{number:0{USER_LENGTH}x}" for number in range(USERS))

MOVABLE = frozenset((STICKY, WEIGHT, DEFAULT, FAILOVER))
"""Cohorts whose version was not asked for by name."""


class Decision:
    """Where a request goes and why; immutable. Without ``policy``, where none owns the model, the request passes on."""

    __slots__ = (
        *("architecture", "cohort", "endpoint", "model_rewrite", "pattern", "policy", "pool", "request", "user"),
        "version",
    )

    def __init__(
        self,
        request: InferenceRequest,
        policy: Policy | None = None,
        pattern: str = "",
        version: str = "",
        cohort: str = "",
        pool: str = "",
        architecture: str = "",
        model_rewrite: str = "",
        endpoint: str = "",
        user: str = "",
    ) -> None:
        self.request, self.policy = request, policy
        self.pattern = pattern
        """The pattern of the policy that the model matched."""
        self.version, self.cohort, self.pool, self.architecture = version, cohort, pool, architecture
        self.model_rewrite = model_rewrite
        """Model name for the body sent upstream; empty: as the client wrote it."""
        self.endpoint = endpoint
        """The server (``host:port``) that keeps what the request makes or asks for; empty: any of the target."""
        self.user = user
        """Of a rollout's requests whose version the sticky key chose: one of ``USERS`` words for it, not the key."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Decision) and self._fields() == other._fields()

    def __hash__(self) -> int:
        return hash(self._fields())

    def __repr__(self) -> str:
        return f"Decision{self._fields()!r}"

    def at(self, pool: str, architecture: str) -> Decision:
        """The decision for another pool."""
        head, tail = (self.request, self.policy, self.pattern, self.version, self.cohort), (self.endpoint, self.user)
        return Decision(*head, pool, architecture, self.model_rewrite, *tail)

    def _fields(self) -> tuple[object, ...]:
        head = self.request, self.policy, self.pattern, self.version, self.cohort, self.pool, self.architecture
        return (*head, self.model_rewrite, self.endpoint, self.user)

    def identity(self) -> tuple[str, ...]:
        """All that the headers and the metadata are made of; decisions with equal ones can share their mutation.

        ``(api, operation, model)`` where no policy owns the request, else these and ``(policy, cohort, version, pool,
        user, architecture)``.
        """
        request, policy = self.request, self.policy
        if policy is None:
            return request.api, request.operation, request.model
        api, operation, model = request.api, request.operation, request.model
        return api, operation, model, policy.name, self.cohort, self.version, self.pool, self.user, self.architecture

    def headers(self) -> tuple[tuple[str, str], ...]:
        """The routing headers to set, their values made safe for HTTP (``safe_value``)."""
        return routing_headers(self.identity())

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Dynamic metadata of Envoy, for the namespace ``aimesh``."""
        return dynamic_metadata(self.identity())


_HEADERS = (names.MODEL_NAME, names.MODEL_VERSION, names.GPU_POOL, names.GPU_ARCHITECTURE, names.MODEL_COHORT)
_METADATA = ("api", "operation", "model", "policy", "cohort", "version", "gpu_pool", USER)


def routing_headers(identity: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """``Decision.headers`` by identity."""
    if len(identity) == _UNOWNED_IDENTITY_SIZE:
        return ()
    _, _, model, _, cohort, version, pool, _, architecture = identity
    told = cohort if cohort == FALLBACK else ""
    pairs = zip(_HEADERS, (model, version, pool, architecture, told), strict=True)
    return tuple((name, safe_value(value)) for name, value in pairs if value)


def dynamic_metadata(identity: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """``Decision.metadata`` by identity."""
    return tuple(pair for pair in zip(_METADATA, identity, strict=False) if pair[1])


_UNOWNED_IDENTITY_SIZE = 3
"""Length of the identity of a decision without a policy."""


def decide(
    request: InferenceRequest,
    headers: Headers,
    snapshot: Snapshot,
    entropy: bytes,
    body_key: str | None = None,
    free_shares: Mapping[str, float] = NO_REPORTS,
    stateful: bool = False,
    down: frozenset[str] = NOTHING_DOWN,
) -> Decision:
    """Decides one request.

    ``entropy``: fresh random bytes, the key of a request without a sticky key. ``body_key``: the value in the body at
    the policy's ``sticky.body``. ``free_shares``: the free share of GPU pools by name. They influence the pool, never
    the version; and not the pool of a request with a sticky key, whose prompts the pool may have cached. ``stateful``:
    the server keeps what the request makes, or it asks for that. Then the sticky key chooses the server, too, and a
    request that names no model belongs to the policy whose servers get what nobody owns. ``down``: clusters
    (``Target.cluster_of``) that can't be reached. Raises ``Rejected`` (503) where no GPU pool can serve the request.
    """
    match = snapshot.match(request.model)
    if match is None:
        if request.model or not stateful or not snapshot.policies:
            return Decision(request)
        match = ModelMatch(snapshot.fallback, "")
    policy = match.policy
    sticky = sticky_key(policy, headers, body_key)
    key = sticky or entropy
    version, cohort = _choose_version(policy, request, headers, sticky, entropy)
    grpc = bool(down) and is_grpc(headers)
    if down and version is not None and cohort in MOVABLE and policy.fails_over:
        version, cohort = _serving(policy, version, cohort, key, snapshot, down, grpc)
    name = version.name if version else ""
    tiers = snapshot.target_hashes[policy.name, name]
    target = choose_target(tiers, key, NO_REPORTS if sticky else free_shares, down, grpc)
    if target is None:
        what = f"the model {request.model!r}" if request.model else "this request"
        raise Rejected(503, "no_gpu_available", f"no GPU pool can serve {what} at present")
    return Decision(
        request,
        policy,
        match.pattern,
        name or request.version or "",
        cohort,
        target.pool,
        architecture_of(policy, snapshot, target),
        version.model_rewrite if version else "",
        server_of(target, sticky) if stateful and sticky else "",
        _USER_WORDS[crc32(sticky) % USERS] if policy.rollout is not None and sticky and cohort == STICKY else "",
    )


def follow(request: InferenceRequest, place: Place, snapshot: Snapshot) -> Decision:
    """The decision for a request of a session: it goes where the session is, whatever it names.

    Raises ``Rejected`` (404) where nobody owns the model that it names, and that is refused (``onUnowned``).
    """
    target = place.target
    policy = snapshot.by_name[target.policy]
    match = snapshot.match(request.model)
    if match is None and (rejected := unowned_requests.refusal(snapshot, request.model)):
        raise rejected
    owned = match is not None and match.policy is policy
    version = policy.by_name.get(target.version)
    return Decision(
        request,
        policy,
        match.pattern if match is not None and owned else "",
        target.version or request.version or "",
        SESSION,
        target.pool,
        architecture_of(policy, snapshot, target),
        version.model_rewrite if version and owned and request.model else "",
        place.endpoint,
    )


def matched_entry(version: Version, headers: Headers) -> HeaderMatch | None:
    """The first entry of the version's ``match`` that holds: of each of its headers some line has exactly its value."""
    for entry in version.match:
        if all(value in headers.all(name) for name, value in entry.headers):
            return entry
    return None


def _choose_version(
    policy: Policy, request: InferenceRequest, headers: Headers, sticky: bytes | None, entropy: bytes
) -> tuple[Version | None, str]:
    if not policy.versions:
        return None, DEFAULT
    matching, pinnable, only = policy.choice
    for version in matching:
        if matched_entry(version, headers):
            return version, MATCH
    if pinnable and (pinned := pinnable.get(headers.text(names.MODEL_VERSION) or request.version or "")):
        return pinned, PIN
    if only is not None:
        return only, DEFAULT
    if sticky is not None:
        return policy.version_hash.choose_again(sticky), STICKY
    if policy.sticky and policy.default:
        return policy.by_name[policy.default], DEFAULT
    return policy.version_hash.choose(entropy), WEIGHT


def _serving(
    policy: Policy, version: Version, cohort: str, key: bytes, snapshot: Snapshot, down: frozenset[str], grpc: bool
) -> tuple[Version, str]:
    """``version``, or while it is down the one to which the key belongs without it; nobody else moves."""

    def is_down(one: Version) -> bool:
        return snapshot.is_down(policy.name, one.name, down, grpc)

    if not is_down(version):
        return version, cohort
    other = policy.version_hash.choose(key, lambda one: LAST if is_down(one) else 1.0)
    if other is None or is_down(other):
        return version, cohort
    return other, FAILOVER


def architecture_of(policy: Policy, snapshot: Snapshot, target: Target) -> str:
    """The architecture of the chosen pool; without a pool, the one that the policy requires."""
    if target.pool:
        return snapshot.pool_by_name[target.pool].gpu.architecture
    return policy.gpu.architecture if policy.gpu else ""
