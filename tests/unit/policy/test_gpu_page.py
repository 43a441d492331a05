"""How busy GPUs are, by the pages of exporters: whole ones, and those of one pod."""

from __future__ import annotations

import pytest

from extproc.policy.gpu_page import GpuPage


def dcgm(name: str, gpu: int, value: float | str, pod: str = "", *, host: str = "Hostname", prefix: str = "") -> str:
    """A line as dcgm-exporter has it; ``pod``: ``namespace/name``."""
    labels = f'gpu="{gpu}",UUID="GPU-{gpu}",pci_bus_id="00000000:0{gpu}:00.0",device="nvidia{gpu}",'
    labels += f'modelName="NVIDIA H100 80GB HBM3",{host}="node-1"'
    if pod:
        namespace, _, name_of_pod = pod.partition("/")
        labels += f',{prefix}container="vllm",{prefix}namespace="{namespace}",{prefix}pod="{name_of_pod}"'
    return f"{name}{{{labels}}} {value}\n"


UTIL, ENGINE = "DCGM_FI_DEV_GPU_UTIL", "DCGM_FI_PROF_GR_ENGINE_ACTIVE"
HEAD = f"# HELP {UTIL} GPU utilization (in %).\n# TYPE {UTIL} gauge\n"
NODE = HEAD + dcgm(UTIL, 0, 90, "ai/a") + dcgm(UTIL, 1, 50, "ai/a") + dcgm(UTIL, 2, 20, "ai/b") + dcgm(UTIL, 3, 0)


def of(page: str, pod: str) -> float | None:
    return GpuPage.read(page.encode()).utilization_of(pod)


def test_a_pod_has_the_average_of_its_gpus() -> None:
    assert GpuPage.read(NODE.encode()).utilization == 0.4
    assert [of(NODE, pod) for pod in ("ai/a", "ai/b", "ai/c", "other/a", "")] == [0.7, 0.2, None, None, None]


def test_a_page_that_names_no_pods_tells_of_the_node() -> None:
    page = "".join(dcgm(UTIL, gpu, 25 * gpu, host="hostname") for gpu in range(3))
    assert of(page, "ai/a") == GpuPage.read(page.encode()).utilization == 0.25
    nvml = b'nvidia_smi_utilization_gpu_ratio{uuid="a"} 0.5\nnvidia_smi_utilization_gpu_ratio{uuid="b"} 1\n'
    assert GpuPage.read(nvml).utilization_of("ai/a") == 0.75


@pytest.mark.parametrize("prefix", ["exported_", ""])
def test_the_exporter_itself_is_not_the_pod_where_both_are_named(prefix: str) -> None:
    line = dcgm(UTIL, 0, 30, "ai/a", prefix=prefix)
    if prefix:
        line = line.replace("{", '{namespace="gpu-operator",pod="dcgm-exporter-x",')
    assert of(line, "ai/a") == 0.3
    assert of(line, "gpu-operator/dcgm-exporter-x") is None


def test_old_labels() -> None:
    page = f'{UTIL}{{gpu="0",pod_name="a",pod_namespace="ai",container_name="c"}} 60\n'
    assert of(page, "ai/a") == 0.6


def test_slices_are_told_by_their_engines() -> None:
    """Of MIG slices DCGM_FI_DEV_GPU_UTIL is not told; each has its engine's share."""
    page = dcgm(ENGINE, 0, 0.25, "ai/a") + dcgm(ENGINE, 0, 0.75, "ai/b") + dcgm(UTIL, 1, 10, "ai/c")
    assert [of(page, pod) for pod in ("ai/a", "ai/b", "ai/c")] == [0.25, 0.75, 0.1]


@pytest.mark.parametrize("value", ["101", "-1", "NaN", "9223372036854775794", "", "x"])
def test_numbers_that_can_t_be_are_not_known(value: str) -> None:
    assert of(dcgm(UTIL, 0, value, "ai/a"), "ai/a") is None
    assert of(dcgm(UTIL, 0, value, "ai/a") + dcgm(UTIL, 1, 40, "ai/b"), "ai/b") == 0.4
    assert of(dcgm(UTIL, 0, value, "ai/a") + dcgm(UTIL, 1, 40, "ai/a"), "ai/a") == 0.4


def test_a_page_of_something_else_tells_nothing() -> None:
    assert GpuPage.read(b"<html>").utilization is None
    assert GpuPage.read(b"<html>").utilization_of("ai/a") is None
