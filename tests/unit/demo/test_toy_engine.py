"""The toy engine: slots in order, prompts that are known as far as others had the same beginning, and no more."""

from __future__ import annotations

import asyncio

import pytest

from extproc.demo.toy_engine import BLOCK, BLOCKS, READ_RATE, ToyEngine, prefix_blocks


def test_blocks_tell_of_all_before_them() -> None:
    whole, other = prefix_blocks(b"a" * 200), prefix_blocks(b"b" + b"a" * 199)
    assert len(whole) == 3
    assert prefix_blocks(b"a" * 128) == whole[:2]
    assert not set(whole) & set(other)
    assert len(prefix_blocks(b"a" * 200, 100)) == 2


async def read(engine: ToyEngine, prompt: bytes) -> int:
    """Bytes that had to be read."""
    async with engine.turn(prompt) as seconds:
        return round(seconds * READ_RATE)


def test_the_beginning_of_a_prompt_is_read_once() -> None:
    async def run() -> list[int]:
        engine, prompt = ToyEngine(), b"p" * 10 * BLOCK
        prompts = prompt + b"x", prompt + b"y" * BLOCK, prompt[:100], b"q" + prompt, b""
        return [await read(engine, one) for one in prompts]

    assert asyncio.run(run()) == [10 * BLOCK + 1, BLOCK, 100 - BLOCK, 10 * BLOCK + 1, 0]


def test_what_was_not_used_for_the_longest_time_is_forgotten_from_its_end() -> None:
    async def run() -> list[int]:
        engine = ToyEngine()
        old, used, new = (letter * (BLOCKS // 2) * BLOCK for letter in (b"o", b"u", b"n"))
        for one in (old, used, new[: 10 * BLOCK], used):
            await read(engine, one)
        return [await read(engine, one) for one in (used, new[: 10 * BLOCK], old)]

    assert asyncio.run(run()) == [0, 0, 10 * BLOCK]


def test_a_prompt_longer_than_the_memory() -> None:
    async def run() -> tuple[int, float]:
        engine, prompt = ToyEngine(), b"l" * (BLOCKS + 5) * BLOCK
        await read(engine, prompt)
        async with engine.turn(prompt) as seconds:
            return round(seconds * READ_RATE), engine.cache

    assert asyncio.run(run()) == (5 * BLOCK, 1.0)


def test_slots_are_taken_in_order() -> None:
    asyncio.run(_slots())


async def _slots() -> None:
    engine, order = ToyEngine(2), list[int]()
    ends = [asyncio.Event() for _ in range(5)]

    async def ask(number: int) -> None:
        async with engine.turn(b"z" * BLOCK * 10):
            order.append(number)
            await ends[number].wait()

    asked = [asyncio.create_task(ask(number)) for number in range(5)]
    await asyncio.sleep(0)
    assert (engine.running, engine.waiting, order) == (2, 3, [0, 1])
    assert engine.cache == pytest.approx(10 / BLOCKS), "of a prompt that two have, once"
    asked[2].cancel()
    ends[1].set()
    await asyncio.gather(asked[1], asked[2], return_exceptions=True)
    assert (engine.running, engine.waiting, order) == (2, 1, [0, 1, 3])
    for end in ends:
        end.set()
    await asyncio.gather(*asked, return_exceptions=True)
    assert (engine.running, engine.waiting, engine.cache, order) == (0, 0, 0, [0, 1, 3, 4])


def test_who_leaves_gives_back_the_slot() -> None:
    async def run() -> tuple[int, int]:
        engine = ToyEngine(1)
        with pytest.raises(ConnectionError):
            async with engine.turn(b"w" * 1000):
                raise ConnectionError
        return await read(engine, b"w" * 1000), engine.running

    assert asyncio.run(run()) == (1000, 0), "and its prompt was not read to the end"
