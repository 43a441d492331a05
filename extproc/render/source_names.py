"""Names of the sources of golden metrics, as `extproc render rules --source` takes them."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

Source: TypeAlias = Literal["extproc", "istio", "linkerd"]
"""Who counts requests, failures and durations: the processor, Istio's proxies, or Linkerd's."""
SOURCES: tuple[Source, ...] = get_args(Source)
