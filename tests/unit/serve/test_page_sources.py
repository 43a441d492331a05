"""What pages of endpoints and of exporters add to what is found in a turn."""

from __future__ import annotations

from math import isnan

import numpy as np

from extproc.picking.board import GpuSource, Page, Slot, Wanted
from extproc.policy.metrics_page import PageLoad
from extproc.serve.page_sources import (
    FULL_RATE_PAGE,
    GPU_INTERVAL,
    GPU_STALE_AFTER,
    MAX_PAGE,
    EndpointSource,
    ExporterSource,
    Findings,
)

URL = "http://10.0.0.1:80/metrics"
SLOT = Slot(2, 1, "10.0.0.1:80", Wanted(Page("vllm", URL, 0.1)))


def test_an_endpoint_tells_its_load_with_what_had_been_sent_when_it_was_asked() -> None:
    source, findings = EndpointSource(SLOT, Page("vllm", URL, 0.1), bytearray(8)), Findings()
    source.begin(5.0, np.array([0.0, 0.0, 7.0]))
    assert source.take(b"<html>", findings) == "none of the metrics of vllm is on the page"
    assert findings.loads == {}
    assert source.take(b"vllm:num_requests_waiting 3\n", findings) == ""
    assert findings.loads == {SLOT: (PageLoad(3.0), 5.0, 7.0)}


def test_an_exporter_tells_of_all_endpoints_whose_gpus_it_knows() -> None:
    slots = [Slot(n, 1, f"h:{n}", Wanted(gpus=GpuSource(URL, pod))) for n, pod in enumerate(("ai/a", "ai/b", ""))]
    source, findings = ExporterSource(URL, bytearray(8)), Findings()
    source.slots = slots
    source.begin(5.0, np.zeros(3))
    assert source.take(b"up 1\n", findings) == "the utilization of no GPU is on the page"
    assert findings.gpus == {}
    page = b'DCGM_FI_DEV_GPU_UTIL{namespace="ai",pod="a"} 50\nDCGM_FI_DEV_GPU_UTIL{gpu="1"} 0\n'
    assert source.take(page, findings) == ""
    until = 5.0 + GPU_STALE_AFTER
    assert (findings.gpus[slots[0]], findings.gpus[slots[2]]) == ((0.5, until), (0.25, until))
    assert isnan(findings.gpus[slots[1]][0]), "it has no GPU any more"


def test_the_largest_page_is_read_again_before_it_counts_for_nothing() -> None:
    assert GPU_INTERVAL * MAX_PAGE / FULL_RATE_PAGE < GPU_STALE_AFTER
