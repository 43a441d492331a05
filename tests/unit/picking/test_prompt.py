"""Prompts as chains of hashes."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise, takewhile
from zlib import crc32

from hypothesis import given
from hypothesis import strategies as st

from extproc.picking.prompt import BLOCKS_OF_A_LENGTH, GROWTH, MAX_BLOCKS, block_ends, prompt_of


def common(first: bytes, second: bytes) -> int:
    """Bytes with which both begin."""
    return len(list(takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False))))


@given(st.binary(max_size=200), st.binary(max_size=200), st.binary(max_size=200), st.sampled_from([4, 16, 64]))
def test_chains_are_equal_as_far_as_whole_blocks_of_the_prompts_are(
    prefix: bytes, first: bytes, second: bytes, size: int
) -> None:
    one, other = prefix + first, prefix + second
    blocks, others = prompt_of(one, size).blocks, prompt_of(other, size).blocks
    alike = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(blocks, others, strict=False))))
    assert alike == sum(end <= common(one, other) for end in block_ends(size))


def test_a_block_tells_of_all_that_is_before_it() -> None:
    one, other = prompt_of(b"aaaa" + b"cccc", 4).blocks, prompt_of(b"bbbb" + b"cccc", 4).blocks
    assert one[1] != other[1]


def test_models_have_nothing_in_common() -> None:
    assert not set(prompt_of(b"x" * 64, 16, "base").blocks) & set(prompt_of(b"x" * 64, 16, "adapter").blocks)


def test_later_blocks_are_longer_and_their_number_is_bounded() -> None:
    ends = (0, *block_ends(256))
    sizes = [end - start for start, end in pairwise(ends)]
    assert sizes == [256 * GROWTH ** (number // BLOCKS_OF_A_LENGTH) for number in range(MAX_BLOCKS)]
    prompt = prompt_of(bytes(8 << 20), 256)
    assert (len(prompt.blocks), prompt.size) == (MAX_BLOCKS, 8 << 20)
    assert ends[-1] == 2_093_056


def test_a_common_prefix_is_found_but_for_a_small_part() -> None:
    ends = block_ends(256)
    for size in range(16 << 10, ends[-1], 4099):
        found = max(end for end in ends if end <= size)
        assert size - found < 0.07 * size, size


@given(st.binary(max_size=40), st.integers(0, 5000), st.integers(0, 5000))
def test_marks_are_of_the_first_kilobytes(text: bytes, first: int, second: int) -> None:
    one, other = (prompt_of((text + b"-" * 5000)[:size], 256, "m") for size in (first, second))
    assert len(one.marks) == sum(first >= size for size in (1024, 2048, 4096))
    both = min(len(one.marks), len(other.marks))
    assert one.marks[:both] == other.marks[:both]
    assert not set(one.marks) & set(prompt_of(text + b"-" * 5000, 256, "n").marks)


def test_marks_are_the_same_in_every_process_and_bounded() -> None:
    assert prompt_of(b"x" * 1024, 256).marks == (crc32(b"x" * 1024),)
    assert len(prompt_of(bytes(8 << 20), 256).marks) == 11


def test_hashes_of_two_processes_differ() -> None:
    code = "from extproc.picking.prompt import prompt_of; print(prompt_of(b'x' * 64, 16).blocks)"
    run = [sys.executable, "-c", code]
    found = {
        subprocess.run(run, check=True, capture_output=True, env={"PYTHONHASHSEED": "random"}).stdout for _ in "ab"
    }
    assert len(found) == 2
