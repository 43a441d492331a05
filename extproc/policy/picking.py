"""What a policy says of how an endpoint is picked: ``spec.picking``."""

from __future__ import annotations

import msgspec

LEAST_LOADED, PREFIX, SESSION, ROUND_ROBIN, RANDOM_TWO = (
    "least-loaded",
    "prefix",
    "session",
    "round-robin",
    "random-two",
)
STRATEGIES = (PREFIX, LEAST_LOADED, SESSION, ROUND_ROBIN, RANDOM_TWO)
"""Values of ``by``; the default first."""


class Saturation(msgspec.Struct, frozen=True):
    """When an endpoint takes no more: above either threshold. Those of llm-d's and GKE's endpoint pickers."""

    waiting: float = 5.0
    """Requests in the server's queue."""
    cache: float = 0.8
    """Share of its KV cache in use, 0 to 1."""
    stale: bool = False
    """Whether an endpoint of which nothing is known, or nothing new, counts as saturated."""


DEFAULT_INTERVAL = 0.1


class EndpointPod(msgspec.Struct, frozen=True):
    """The pod behind an endpoint, for whoever looks for its GPUs on the page of its node's exporter."""

    endpoint: str
    """``host:port``."""
    pod: str
    """``namespace/name``."""
    host_ip: str
    """Address of its node."""


class EndpointPages(msgspec.Struct, frozen=True):
    """Where each endpoint tells how busy it is: a page of its own. What is empty follows from the GPU pool's
    ``metrics``, or from the type of the servers.
    """

    kind: str = ""
    """Type of the servers (``metrics_page.PAGE_METRICS``)."""
    port: int = 0
    """0: that of the endpoint."""
    path: str = ""
    interval: float = DEFAULT_INTERVAL
    """Seconds between two looks at a page."""
    gpu_port: int = 0
    """Where an exporter tells how busy GPUs are, on the node of each endpoint; 0: nobody is asked."""
    pods: tuple[EndpointPod, ...] = ()
    """Those that are known; of other endpoints the host is taken for the node, and all of its GPUs for theirs."""


class Picking(msgspec.Struct, frozen=True):
    """How one endpoint of a version on a GPU pool is picked for a request."""

    by: str = PREFIX
    block_bytes: int = 256
    """Bytes of a block of the prompt, by which prefixes are compared; later blocks are longer (``picking.prompt``)."""
    index_blocks: int = 131_072
    """Blocks that are remembered of all endpoints of a target together, by each process; 150 to 250 bytes each."""
    adapter_weight: float = 4.0
    """An endpoint without the request's adapter counts as loaded 1 + this times the adapters that it has in use (at
    least 1) times as much.
    """
    saturation: Saturation = Saturation()
    priority: int = 0
    """Of requests that name none; while all endpoints are saturated those below 0 are refused."""
    objectives: tuple[tuple[str, int], ...] = ()
    """Priorities by the names that requests may give (``x-gateway-inference-objective``)."""
    metrics: EndpointPages = EndpointPages()
    max_queue: int = 0
    """Requests that each process lets wait for a target's endpoints while all of them are saturated; 0: they go to the
    best one at once.
    """

    def priority_of(self, objective: str) -> int:
        """That of a request with this objective, which may be empty or unknown."""
        return next((priority for name, priority in self.objectives if name == objective), self.priority)
