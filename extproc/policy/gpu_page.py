"""How busy the GPUs on a metrics page are: all of them, or those of one pod.

Sources: NVIDIA's dcgm-exporter (``etc/default-counters.csv``; the labels of its Kubernetes mapping, with
``--use-old-namespace`` ``pod_name`` and ``pod_namespace``), Triton's and nvidia_gpu_exporter's numbers of the NVML,
AMD's device metrics exporter.
"""

from __future__ import annotations

from collections.abc import Iterable
from statistics import fmean
from typing import Self, TypeAlias

from extproc.policy.page_series import Series, find_series, lines_of

GPU_METRICS: dict[bytes, float] = {
    b"DCGM_FI_PROF_GR_ENGINE_ACTIVE": 1,
    b"DCGM_FI_DEV_GPU_UTIL": 100,
    b"nv_gpu_utilization": 1,
    b"nvidia_smi_utilization_gpu_ratio": 1,
    b"gpu_gfx_activity": 100,
}
"""How busy a GPU is, and the value at full use; the first one found counts. The first one is right for MIG slices, too,
for which DCGM does not tell the second one."""
_LINES = lines_of(GPU_METRICS)
_POD_LABELS = ((b"exported_namespace", b"exported_pod"), (b"namespace", b"pod"), (b"pod_namespace", b"pod_name"))
"""Labels that name the pod which uses a GPU. What was scraped once, and is told on, has the first ones; ``pod`` is then
the exporter itself."""

_Values: TypeAlias = dict[bytes, list[float]]
"""By metric, a number for each GPU."""


class GpuPage:
    """A page."""

    def __init__(self, found: Iterable[Series]) -> None:
        """``found``: on it, with all of ``GPU_METRICS``. Others do not count, nor do values beyond full use."""
        self._all: _Values = {}
        self._by_pod: dict[str, _Values] = {}
        for series in found:
            if series.value > GPU_METRICS.get(series.name, -1):
                continue
            self._all.setdefault(series.name, []).append(series.value)
            if pod := _pod_of(series.by_label):
                self._by_pod.setdefault(pod, {}).setdefault(series.name, []).append(series.value)

    @classmethod
    def read(cls, page: bytes) -> Self:
        """Of its text."""
        return cls(find_series(_LINES, page))

    @property
    def utilization(self) -> float | None:
        """The average of all GPUs, 0 to 1; None where the page has none that is known."""
        return _average(self._all)

    def utilization_of(self, pod: str) -> float | None:
        """The average of the GPUs of ``namespace/name``; None where it has none here. Of a page that names no pods, the
        average of all.
        """
        return _average(self._by_pod.get(pod, {})) if self._by_pod else self.utilization


def _pod_of(labels: dict[bytes, bytes]) -> str:
    """``namespace/name``; empty where no pod uses the GPU."""
    for namespace, pod in _POD_LABELS:
        if name := labels.get(pod):
            return (labels.get(namespace, b"") + b"/" + name).decode(errors="replace")
    return ""


def _average(values: _Values) -> float | None:
    return next((fmean(values[name]) / full for name, full in GPU_METRICS.items() if name in values), None)
