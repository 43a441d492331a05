"""The well-behaved client of a flooded engine: a real Envoy, and one request after the other through it."""

from __future__ import annotations

import http.client
import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import quantiles
from typing import NamedTuple

from extproc.gateway.envoy_process import Envoy
from extproc.policyfile import loader
from extproc.render.envoy.bootstrap import EnvoyOptions, bootstrap
from extproc.render.envoy.envoy_options import NAMESPACE
from tests.envoy.conftest import ModelServer
from tests.grpc.served import Served

PACE = 0.001
"""Seconds between an answer and the next request."""
PATIENCE = 5.0
"""Seconds after which a request counts as lost."""
FAILURES = ("failure_mode_allowed", "message_timeouts", "streams_failed")
"""Counters of Envoy's ext_proc filters: a request passed without an answer of the processor's (failed open); an answer
was late; a stream ended with an error.
"""
LOST = "lost"
"""A request that got no answer, or another than 200."""
ASK = json.dumps({"model": "llama", "messages": [{"role": "user", "content": "How are you?"}]})

POLICY = """\
apiVersion: ai.istio.io/v1alpha1
kind: ModelInferencePolicy
metadata: {name: llama}
spec:
  host: llama
  models: [llama]
  versions:
  - {name: v1, weight: 90, endpoints: ["UPSTREAM"]}
  - {name: v2, weight: 10, endpoints: ["UPSTREAM"]}
"""


class Latency(NamedTuple):
    """Of the requests of a time, in milliseconds."""

    p50: float
    p99: float


class WellBehaved:
    """See above. Made by ``well_behaved``."""

    def __init__(self, envoy: Envoy) -> None:
        self._envoy = envoy
        self._lost = 0
        host, _, port = envoy.listen_address.rpartition(":")
        self._connection = http.client.HTTPConnection(host, int(port), timeout=PATIENCE)

    def close(self) -> None:
        """Asks no more."""
        self._connection.close()

    def ask(self) -> float:
        """Milliseconds until the answer was whole."""
        began = time.perf_counter()
        try:
            self._connection.request("POST", "/v1/chat/completions", ASK, {"content-type": "application/json"})
            answer = self._connection.getresponse()
            answer.read()
            self._lost += answer.status != 200
        except (OSError, http.client.HTTPException):
            self._connection.close()  # the next request opens it again
            self._lost += 1
        return 1000 * (time.perf_counter() - began)

    def watch(self, seconds: float) -> Latency:
        """Asks for so long."""
        times, ends = list[float](), time.perf_counter() + seconds
        while time.perf_counter() < ends or len(times) < 2:
            times.append(self.ask())
            time.sleep(PACE)
        percentiles = quantiles(times, n=100, method="inclusive")
        return Latency(percentiles[49], percentiles[98])

    def failures(self) -> Counter[str]:
        """What has failed since Envoy's start, by ``FAILURES`` and ``LOST``."""
        found = Counter({LOST: self._lost})
        for name, value in self._envoy.stats(f"http.{NAMESPACE}.ext_proc.").items():
            found[name.rpartition(".")[2]] += value
        return Counter({name: found[name] for name in (*FAILURES, LOST)})


@contextmanager
def well_behaved(policy: Path, server: Served) -> Iterator[WellBehaved]:
    """An Envoy for the policy whose processor is ``server``."""
    options = EnvoyOptions(listen="127.0.0.1:0", admin="127.0.0.1:0", processors=(server.address,), access_log="")
    directory = policy.parent / "envoy"
    directory.mkdir()
    with Envoy(bootstrap(loader.load([policy]).snapshot, options), directory) as envoy:
        envoy.wait_ready()
        with closing(WellBehaved(envoy)) as client:
            yield client


def written(directory: Path, upstream: ModelServer) -> Path:
    """The policy, in a file there."""
    policy = directory / "policy.yaml"
    policy.write_text(POLICY.replace("UPSTREAM", upstream.address))
    return policy
