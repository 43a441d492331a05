"""``picking`` as the API server takes and refuses it: as `extproc check` does."""

from __future__ import annotations

from typing import Any

import pytest

from tests.istio.test_policy_crds import checked, documents, refused

GOOD = """
{picking: {}}
---
{picking: {by: prefix, blockBytes: 64, indexBlocks: 1000, adapterWeight: 0.5, priority: -1, objectives: {batch: -1}}}
---
{picking: {by: least-loaded, saturation: {waiting: 2, cache: 0.9, stale: true}, maxQueue: 1000}}
---
{picking: {metrics: {type: triton, port: 8002, path: "/a?b=c", interval: 100ms}}}
---
{picking: {metrics: {gpuPort: 9400, pods: {"10.0.0.1:80": {pod: ai/a-0, hostIP: 1.2.3.4}}}}}
---
{picking: {metrics: {gpuPort: 9400, pods: {"[::1]:80": {pod: a/b.c, hostIP: "::1"}}}}}
"""
BAD = """
{picking: prefix}
---
{picking: {by: least}}
---
{picking: {blockBytes: 1}}
---
{picking: {saturation: {cache: 2}}}
---
{picking: {objectives: {batch: low}}}
---
{picking: {queue: 5}}
---
{picking: {maxQueue: 1001}}
---
{picking: {maxQueue: -1}}
---
{picking: {metrics: {type: llama}}}
---
{picking: {metrics: {port: 0}}}
---
{picking: {metrics: {path: "a b"}}}
---
{picking: {metrics: {path: "/a#b"}}}
---
{picking: {metrics: {gpuPort: 0}}}
---
{picking: {metrics: {gpuPort: 9400, pods: {"10.0.0.1:80": {pod: a-0, hostIP: 1.2.3.4}}}}}
---
{picking: {metrics: {gpuPort: 9400, pods: {"10.0.0.1:80": {pod: ai/a-0, hostIP: node-1}}}}}
---
{picking: {metrics: {gpuPort: 9400, pods: {"10.0.0.1:80": {pod: ai/a-0}}}}}
---
{picking: {metrics: {pods: {"10.0.0.1:80": {pod: ai/a-0, hostIP: 1.2.3.4}}}}}
"""


@pytest.mark.parametrize("document", documents("ModelInferencePolicy", GOOD), ids=str)
def test_what_check_takes_is_taken(document: dict[str, Any]) -> None:
    assert checked(document) == ""
    assert refused(document) == []


@pytest.mark.parametrize("document", documents("ModelInferencePolicy", BAD), ids=str)
def test_what_check_refuses_is_refused(document: dict[str, Any]) -> None:
    assert checked(document) != ""
    assert refused(document) != []
