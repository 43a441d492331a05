"""Whether requests are counted, by listeners' access logs; and went where they were decided to, by the processors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from extproc.doctor.envoy_dump import Dump, Evidence, at
from extproc.doctor.rule_catalog import ENTRIES_LOST, NO_ACCESS_LOG, NOT_AS_DECIDED
from extproc.exchange.request_outcome import ACCOUNTED, WENT_ELSEWHERE
from extproc.lint.findings import Finding

_LOST = "access_logs.grpc_access_log.logs_dropped"


def check(evidence: Evidence, source: str) -> Iterator[Finding]:
    """Observers without the access log on which they rely, and what logs lost. ``source``: the Envoy, or the file."""
    key, value = ACCOUNTED
    logged = False
    for chain in Dump(evidence.config_dump).chains:
        for item in chain.filters:
            if not item.is_processor or value not in item.says(key):
                continue
            if item.cluster in chain.access_logs:
                logged = True
            else:
                yield NO_ACCESS_LOG.at(source, 0, path=f"listener {chain.listener}, filter {item.name}")
    lost = (evidence.stats or {}).get(_LOST, 0)
    if logged and lost:
        yield ENTRIES_LOST.at(source, 0, message=f"{lost} entries of the gRPC access log were lost")


def check_processor(live: Mapping[str, Any], source: str) -> Iterator[Finding]:
    """Requests that went elsewhere. ``live``: the document of a processor's ``/live``; ``source``: the processor."""
    count = at(live, "errors", WENT_ELSEWHERE)
    if isinstance(count, int) and count > 0:
        message = f"{count} request{'s' * (count != 1)} went elsewhere than decided"
        yield NOT_AS_DECIDED.at(source, 0, message=message)
