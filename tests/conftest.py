"""What holds for every test: hypothesis judges what code does, not how fast a busy machine does it.

``EXTPROC_TEST_EXAMPLES``: how many examples a property gets that does not say so itself (40; `make mutants`: 100).
"""

from __future__ import annotations

import gc
import os

from hypothesis import HealthCheck, settings

EXAMPLES = int(os.environ.get("EXTPROC_TEST_EXAMPLES", "40"))
settings.register_profile("house", max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")


def pytest_collection_finish() -> None:
    """What has been imported and collected stays to the end: no search for garbage has to walk it again."""
    gc.freeze()
