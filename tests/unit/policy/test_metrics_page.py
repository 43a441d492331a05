"""Metrics pages: what each type of server tells, by one page and by one after the other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.policy import metrics_page
from extproc.policy.metrics_page import (
    MAX_ADAPTERS,
    NOTHING,
    PAGE_METRICS,
    READ_WHOLE_EVERY,
    PageLoad,
    PageReader,
    read_page,
)
from extproc.policy.page_series import MAX_SERIES

VLLM = b"""\
vllm:num_requests_running{engine="0",model_name="a"} 4.0
vllm:num_requests_running{engine="1",model_name="a"} 3.0
vllm:num_requests_waiting{engine="0",model_name="a"} 2.0
vllm:num_requests_waiting{engine="1",model_name="a"} 0.0
vllm:kv_cache_usage_perc{engine="0",model_name="a"} 0.25
vllm:kv_cache_usage_perc{engine="1",model_name="a"} 0.75
vllm:cache_config_info{block_size="32",engine="0",num_gpu_blocks="7000"} 1.0
vllm:lora_requests_info{max_lora="4",running_lora_adapters="old",waiting_lora_adapters=""} 1.7e+09
vllm:lora_requests_info{max_lora="4",running_lora_adapters="sql,chat ",waiting_lora_adapters="law"} 1.8e+09
vllm:lora_requests_info{max_lora="4",running_lora_adapters="",waiting_lora_adapters="old"} 1.6e+09
"""
TRITON = b"""\
nv_inference_pending_request_count{model="ensemble",version="1"} 9
nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="waiting",version="1"} 2
nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="scheduled",version="1"} 5
nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="max",version="1"} 512
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="fraction",model="tensorrt_llm",version="1"} 0.5
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="tokens_per",model="tensorrt_llm",version="1"} 64
nv_gpu_utilization{gpu_uuid="a"} 0.5
"""
TRTLLM = b"""\
trtllm_num_requests_waiting 1
trtllm_num_requests_running 2
trtllm_kv_cache_utilization 0.5
trtllm_kv_cache_tokens_per_block 32
"""
SGLANG = b"""\
sglang:num_running_reqs{model_name="a",tp_rank="0"} 3
sglang:num_queue_reqs{model_name="a",tp_rank="0"} 1
sglang:token_usage{model_name="a",tp_rank="0"} 0.5
sglang:cache_config_info{page_size="1",num_pages="9"} 1
"""


@pytest.mark.parametrize(
    ("kind", "page", "wanted"),
    [
        ("vllm", VLLM, PageLoad(2, 7, 0.75, None, 32, frozenset({"sql", "chat"}), frozenset({"law"}))),
        ("triton", TRITON, PageLoad(2, 5, 0.5, 0.5, 64)),
        ("triton", b'nv_inference_pending_request_count{model="a"} 9\n', PageLoad(9)),
        ("sglang", SGLANG, PageLoad(1, 3, 0.5, None, 1)),
        ("tgi", b"tgi_queue_size 2\ntgi_batch_current_size 8\n", PageLoad(2, 8)),
        ("trtllm", TRTLLM, PageLoad(1, 2, 0.5, None, 32)),
        ("nim", b"num_requests_waiting 1\nnum_requests_running 2\ngpu_cache_usage_perc 0.5\n", PageLoad(1, 2, 0.5)),
        ("vllm", b'vllm:cache_config_info{block_size="0"} 1\n', NOTHING),
        ("vllm", b'vllm:cache_config_info{block_size="many"} 1\n', NOTHING),
        ("vllm", b'vllm:lora_requests_info{max_lora="4"} 1\n', NOTHING),
        ("vllm", b"vllm:num_requests_running " + b"1" * 65 + b"\n", NOTHING),
    ],
)
def test_pages(kind: str, page: bytes, wanted: PageLoad) -> None:
    assert read_page(kind, page) == wanted


@pytest.mark.parametrize(
    ("labels", "waiting"),
    [
        (['dp_rank="0",tp_rank="0"', 'dp_rank="0",tp_rank="1"', 'dp_rank="1",tp_rank="0"'], 1 + 2),
        (['tp_rank="0"', 'tp_rank="1"', 'tp_rank="2"'], 0 + 1 + 2),
        (['pp_rank="0",tp_rank="0"', 'pp_rank="1",tp_rank="0"', 'pp_rank="0",tp_rank="1"'], 1 + 2),
        (['model="a"', 'model="b"', ""], 0 + 1 + 2),
        (['le="1"', 'le="1"', 'le="1"'], 0 + 1 + 2),
    ],
)
def test_ranks_that_tell_the_same_requests_count_once(labels: list[str], waiting: int) -> None:
    page = "".join(f"sglang:num_queue_reqs{{{each}}} {number}\n" for number, each in enumerate(labels))
    assert read_page("sglang", page.encode()).waiting == waiting


def page_of(waiting: int, *, before: int = 60, after: int = 200, more: bytes = b"") -> bytes:
    """A page with lines of others before and after."""
    other = b'process_bucket{le="%d"} 1\n'
    lines = b'vllm:num_requests_waiting{engine="0"} %d\n%svllm:kv_cache_usage_perc 0.5\n' % (waiting, more)
    return b"".join(other % n for n in range(before)) + lines + b"".join(other % n for n in range(after))


def test_most_pages_are_read_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    whole: list[int] = []
    read_whole = PageReader._read_whole

    def counting(self: PageReader, page: bytes) -> PageLoad:
        whole.append(len(page))
        return read_whole(self, page)

    monkeypatch.setattr(PageReader, "_read_whole", counting)
    reader = PageReader("vllm")
    for waiting in range(READ_WHOLE_EVERY):
        assert reader.read(page_of(waiting)) == PageLoad(waiting, None, 0.5)
    assert len(whole) == 1
    assert reader._part.stop - reader._part.start < 1200 < len(page_of(0)) / 4
    found = reader.read(page_of(0) + VLLM[VLLM.index(b"vllm:cache") :])
    assert len(whole) == 2
    assert found.block_size == 32


@given(
    st.lists(
        st.tuples(
            st.integers(0, 99999),
            st.integers(0, 120),
            st.integers(0, 30),
            st.sampled_from(
                [
                    b"",
                    b'vllm:num_requests_waiting{engine="1"} 5\n',
                    b"vllm:num_requests_running 3\n",
                    b"x" * 600 + b"\n",
                ]
            ),
        ),
        max_size=15,
    )
)
def test_parts_tell_what_whole_pages_tell(pages: list[tuple[int, int, int, bytes]]) -> None:
    """Wherever lines move and whatever comes in between, as long as lines of a metric stand together."""
    reader = PageReader("vllm")
    for waiting, before, after, more in pages:
        page = page_of(waiting, before=before, after=after, more=more)
        assert reader.read(page) == read_page("vllm", page)


@pytest.mark.parametrize(
    "line",
    [
        b'vllm:num_requests_waiting{engine="0"} 7 } 8',
        b'vllm:num_requests_waiting{engine="0"}  7',
        b'vllm:num_requests_waiting{engine="0"}7',
        b'vllm:num_requests_waiting{engine="0"} ',
        b'vllm:num_requests_waiting{engine="0"} 7 1700000000',
        b'vllm:num_requests_waiting{engine="0"} nan',
        b'vllm:num_requests_waiting_by_reason{engine="0"} 7',
        b'vllm:num_requests_waiting{engine="0"} 7\r',
    ],
)
@pytest.mark.parametrize("end", [b"\n", b""])
def test_a_line_that_is_another_one_is_read_as_on_a_whole_page(line: bytes, end: bytes) -> None:
    reader = PageReader("vllm")
    before = b"# x\n" * 3 + b'vllm:num_requests_waiting{engine="0"} 5' + end
    assert reader.read(before).waiting == 5
    page = b"# x\n" * 3 + line + end
    assert reader.read(page) == read_page("vllm", page)
    assert reader.read(before).waiting == 5


def test_what_is_too_much_is_not_known() -> None:
    line = b'vllm:num_requests_waiting{engine="%d"} 1\n'
    page = b"".join(line % n for n in range(MAX_SERIES))
    assert read_page("vllm", page).waiting == MAX_SERIES
    assert read_page("vllm", page + line % MAX_SERIES) == NOTHING
    names = ",".join(f"adapter-{n}" for n in range(MAX_ADAPTERS + 1))
    assert (
        len(read_page("vllm", b'vllm:lora_requests_info{running_lora_adapters="%s"} 1' % names.encode()).adapters) == 64
    )


@pytest.mark.parametrize(
    "piece",
    [
        *(b"vllm:num_requests_waiting{", b'vllm:num_requests_waiting{a="', b"a", b'a="', b'\\"', b"\n", b"{", b" "),
        *(
            b"\nvllm:num_requests_waiting{} ",
            b"\nvllm:num_requests_waiting{x} 1",
            b'\nvllm:num_requests_waiting{a="b",} 1',
        ),
    ],
)
def test_hostile_pages_take_time_in_proportion_to_their_bytes(piece: bytes) -> None:
    """Some hundred kilobytes of it; not by the clock, but for the test's own time limit."""
    line = b'\nvllm:num_requests_waiting{a="1"} 1\nvllm:num_requests_waiting{%s} 1\n'
    whole = piece * ((1 << 18) // len(piece))
    for page in (
        whole,
        line % whole,
        b"vllm:num_requests_waiting " + whole,
        b"vllm:lora_requests_info{" + whole + b"} 1",
    ):
        assert read_page("vllm", page).waiting in (None, 0, 1, 2)


@given(st.binary(), st.sampled_from(sorted(PAGE_METRICS)))
def test_never_raises(page: bytes, kind: str) -> None:
    reader = PageReader(kind)
    for name in (selector for selectors in PAGE_METRICS[kind] for selector in selectors):
        bare = metrics_page._name(name)
        for text in (bare + b" " + page, bare + b"{" + page, bare + b'{a="' + page, page):
            reader.read(text)
