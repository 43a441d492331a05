"""Names of the sources of golden metrics, as `extproc render rules --source` takes them, and `render dashboard
--proxies`.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

Source: TypeAlias = Literal["extproc", "istio", "linkerd"]
"""Who counts requests, failures and durations: the processor, Istio's proxies, or Linkerd's."""
SOURCES: tuple[Source, ...] = get_args(Source)
Proxies: TypeAlias = Literal["envoy", "istio", "linkerd"]
"""Whose series tell of services that the policies do not know: a bare Envoy's, or those of a mesh's proxies."""
PROXIES: tuple[Proxies, ...] = get_args(Proxies)
