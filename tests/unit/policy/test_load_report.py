"""Load reports of model servers: the response header, and metrics pages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.policy.load_report import (
    ORCA_SERVER_TYPES,
    parse_gpu_page,
    parse_load_header,
    parse_metrics_page,
)
from extproc.policy.metrics_page import PAGE_METRICS
from extproc.policy.pool_load import ServerLoad


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (
            'JSON {"named_metrics": {"kv_cache_usage_perc": 0.25, "num_requests_waiting": 3}}',
            ServerLoad(3.0, 0.25),
        ),
        ('JSON {"cpu_utilization": 0.1, "named_metrics": {"kv_cache_utilization": 0.5}}', ServerLoad(None, 0.5)),
        ("TEXT named_metrics.kv_cache_usage_perc=0.25, named_metrics.num_requests_waiting=3", ServerLoad(3.0, 0.25)),
        ("TEXT kv_cache_utilization=0.5,max_token_capacity=1000", ServerLoad(None, 0.5)),
        ('json {"named_metrics": {"num_requests_waiting": 0}}', ServerLoad(0.0, None)),
        ('JSON {"named_metrics": {"kv_cache_usage_perc": 1.5, "num_requests_waiting": -1}}', None),
        ('JSON {"named_metrics": {"kv_cache_usage_perc": "much"}}', None),
        ('JSON {"named_metrics": {}}', None),
        ("JSON {", None),
        ("JSON [" + "[" * 5000, None),
        ("TEXT a, b=, =1, num_requests_waiting=nan", None),
        ("TEXT a, num_requests_waiting=2", ServerLoad(2.0, None)),
        *(
            (f"{form} {named}", load)
            for form, named, load in (
                ("JSON", '{"named_metrics": {"num_requests_waiting": 999999999}}', ServerLoad(999_999_999.0)),
                ("JSON", '{"named_metrics": {"num_requests_waiting": 999999999.5}}', ServerLoad(999_999_999.5)),
                ("JSON", '{"named_metrics": {"num_requests_waiting": 1e9}}', None),
                ("JSON", '{"named_metrics": {"num_requests_waiting": -0.001}}', None),
                ("JSON", '{"named_metrics": {"kv_cache_usage_perc": 0}}', ServerLoad(None, 0.0)),
                ("JSON", '{"named_metrics": {"kv_cache_usage_perc": 1}}', ServerLoad(None, 1.0)),
                ("JSON", '{"named_metrics": {"kv_cache_usage_perc": 1.001}}', None),
                ("JSON", '{"named_metrics": {"kv_cache_usage_perc": -0.001}}', None),
                ("TEXT", "num_requests_waiting=0", ServerLoad(0.0)),
                ("TEXT", "num_requests_waiting=999999999.5", ServerLoad(999_999_999.5)),
                ("TEXT", "num_requests_waiting=1e9", None),
                ("TEXT", "num_requests_waiting=-0.5", None),
            )
        ),
        ("TEXT num_requests_waiting=1," + " " * 4067 + "kv_cache_usage_perc=0.5", ServerLoad(1.0, None)),
        ("TEXT " + "num_requests_waiting=12".rjust(4091), ServerLoad(12.0, None)),
        ("TEXT " + "num_requests_waiting=12".rjust(4092), ServerLoad(1.0, None)),  # of 4,097 characters all but one
        ("BIN CgQ=", None),
        ("", None),
    ],
)
def test_headers(text: str, wanted: ServerLoad | None) -> None:
    assert parse_load_header(text) == wanted


VLLM = b"""\
# HELP vllm:num_requests_waiting Number of requests waiting to be processed.
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="a b{}"} 2.0
vllm:num_requests_waiting{engine="1",model_name="a"} 1.0
vllm:num_requests_waiting_by_reason{engine="1"} 9
vllm:kv_cache_usage_perc{engine="0",model_name="a"} 0.25
vllm:kv_cache_usage_perc{engine="1",model_name="a"} 7.5e-01 1700000000
vllm:gpu_cache_usage_perc{engine="1",model_name="a"} 0.9
"""


@pytest.mark.parametrize(
    ("kind", "page", "wanted"),
    [
        ("vllm", VLLM, ServerLoad(3.0, 0.75)),
        ("vllm", b"vllm:gpu_cache_usage_perc 0.5\r\n", ServerLoad(None, 0.5)),
        ("sglang", b'sglang:num_queue_reqs{m="x"} 4\nsglang:token_usage{m="x"} 0.1\n', ServerLoad(4.0, 0.1)),
        ("tgi", b"tgi_queue_size 7", ServerLoad(7.0, None)),
        (
            "triton",
            b'nv_inference_pending_request_count{model="a"} 1\nnv_inference_pending_request_count 2',
            ServerLoad(3.0),
        ),
        ("trtllm", b"trtllm_num_requests_waiting 0\ntrtllm_kv_cache_utilization 1\n", ServerLoad(0.0, 1.0)),
        ("nim", b"num_requests_waiting 2\ngpu_cache_usage_perc 0.5\n", ServerLoad(2.0, 0.5)),
        ("vllm", b"<html>not found</html>", None),
        ("vllm", b"vllm:num_requests_waiting NaN\nvllm:num_requests_waiting\nvllm:kv_cache_usage_perc -1", None),
        ("sglang", VLLM, None),
        ("tgi", b'tgi_queue_size{a="1"} 2e9\ntgi_queue_size{a="2"} 1e9\ntgi_queue_size{a="3"} 1', ServerLoad(1.0)),
        ("tgi", b'tgi_queue_size{a="} 5"} NaN\ntgi_queue_size{a="{"}\t4 17', ServerLoad(4.0, None)),
        ("tgi", b"tgi_queue_size{a 1\ntgi_queue_sizes 2\n tgi_queue_size 3\n# tgi_queue_size 4", None),
        ("tgi", b'tgi_queue_size{a="1"} 6e8\ntgi_queue_size{a="2"} 6e8', None),
    ],
)
def test_pages(kind: str, page: bytes, wanted: ServerLoad | None) -> None:
    assert parse_metrics_page(kind, page) == wanted


@given(st.text(), st.binary(), st.sampled_from(sorted(PAGE_METRICS)))
def test_never_raises(text: str, page: bytes, kind: str) -> None:
    for form in ("", "JSON ", "TEXT "):
        found = parse_load_header(form + text)
        assert found is None or found.free_share
    for name in PAGE_METRICS[kind][0]:
        parse_metrics_page(kind, name + b" " + page)
        parse_metrics_page(kind, name + b"{" + page)


_WORDS = st.sampled_from(
    [b"tgi_queue_size", b"{", b"}", b" ", b"\t", b"\r", b"\n", b'a="b"', b"1", b"2.5e1", b"NaN", b"x"]
)


@given(st.lists(_WORDS).map(b"".join))
def test_lines_are_read_one_by_one(page: bytes) -> None:
    """As they are read by hand: a name, labels up to the last brace, a value, perhaps a time."""
    values = []
    for line in page.split(b"\n"):
        name, rest = line[:14], line[14:]
        labelled = rest.startswith(b"{") and b"}" in rest
        if name == b"tgi_queue_size" and (labelled or rest.startswith(b" ")):
            words = (rest.rpartition(b"}")[2] if labelled else rest).split()
            values += [float(word) for word in words[:1] if word.replace(b".", b"").replace(b"e", b"").isdigit()]
    found = parse_metrics_page("tgi", page)
    total = sum(value for value in values if value < 1e9)
    assert (found.waiting if found else None) == (total if values and total < 1e9 else None)


def test_every_type_that_sends_the_header_has_a_page() -> None:
    assert set(ORCA_SERVER_TYPES) < set(PAGE_METRICS)


@pytest.mark.parametrize(
    ("page", "utilization"),
    [
        (b'DCGM_FI_DEV_GPU_UTIL{gpu="0",UUID="a"} 25\nDCGM_FI_DEV_GPU_UTIL{gpu="1"} 75\n', 0.5),
        (b'DCGM_FI_DEV_GPU_UTIL{gpu="0"} 90\nDCGM_FI_PROF_GR_ENGINE_ACTIVE{gpu="0"} 0.25\n', 0.25),
        (b'nv_gpu_utilization{gpu_uuid="a"} 0.125\n', 0.125),
        (b'nvidia_smi_utilization_gpu_ratio{uuid="a"} 0.5 1700000000\n', 0.5),
        (b'gpu_gfx_activity{gpu_id="0"} 50\n', 0.5),
    ],
)
def test_gpus(page: bytes, utilization: float) -> None:
    assert parse_gpu_page(page) == ServerLoad(gpu=utilization)
    assert parse_metrics_page("vllm", page + b"vllm:num_requests_waiting 1\n") == ServerLoad(1.0, None, utilization)


@pytest.mark.parametrize("page", [b"", b"up 1\n", b"DCGM_FI_DEV_GPU_UTIL 101\n", b"DCGM_FI_DEV_GPU_UTIL NaN\n"])
def test_what_is_no_utilization(page: bytes) -> None:
    assert parse_gpu_page(page) is None
