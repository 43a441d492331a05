"""The loads: who asks what, when, by seed. A token is 4 characters of random text.

``shared``: the sizes of llm-d's benchmark of prefixes, 150 system prompts of 6,000 tokens (llm-d-benchmark, workload
``shared_prefix``), as conversations of several turns. The others: log-normal lengths, as traces of services have them.
"""

from __future__ import annotations

import itertools
from base64 import b64encode
from collections.abc import Iterator
from random import Random

import msgspec

from benchmarks.picking.gpus import H100, L40S, Gpu
from benchmarks.picking.server import BLOCK

BYTES = 4
"""Of a token: three random ones in base64."""
SYSTEM_PROMPTS, SYSTEM_TOKENS = 150, 6000
TURNS, THINKING = 3.0, 8.0
"""Of a conversation, on the average: turns; seconds between an answer and the next question."""


_numbers = itertools.count(1)


class Text(msgspec.Struct, frozen=True):
    """A text, and what identifies its whole blocks: they are numbered. What was added to it by itself has others."""

    raw: bytes
    blocks: tuple[int, ...]

    @property
    def tokens(self) -> int:
        """How many it has."""
        return len(self.raw) // BYTES

    def with_more(self, raw: bytes) -> Text:
        """The text with more behind it."""
        whole = self.raw + raw
        return Text(
            whole, (*self.blocks, *itertools.islice(_numbers, len(whole) // (BLOCK * BYTES) - len(self.blocks)))
        )


NOTHING = Text(b"", ())


class Turn(msgspec.Struct, frozen=True):
    """A question and its answer."""

    question: bytes
    answer: bytes
    thinking: float
    """Seconds before it, after the answer to the one before."""


class Conversation(msgspec.Struct, frozen=True):
    """Questions that build on each other."""

    at: float
    """When it begins, in seconds."""
    number: int
    start: Text
    turns: tuple[Turn, ...]
    adapter: str = ""


class Load(msgspec.Struct, frozen=True):
    """What is asked, and of whom."""

    name: str
    title: str
    rate: float
    """Conversations a second."""
    servers: tuple[Gpu, ...]
    system_prompts: int = 0
    system_tokens: int = 0
    turns: float = 1.0
    """On the average."""
    question: tuple[float, float] = (1000.0, 0.6)
    """Tokens: the median, and the standard deviation of the logarithm."""
    answer: tuple[float, float] = (200.0, 0.6)
    adapters: int = 0

    def part(self, parts: int) -> Load:
        """One of so many parts: each of its servers has as much to do, and less is shared."""
        fewer = {name: getattr(self, name) // parts for name in ("system_prompts", "adapters")}
        return msgspec.structs.replace(
            self, rate=self.rate / parts, servers=self.servers[: len(self.servers) // parts], **fewer
        )

    def conversations(self, seconds: float, seed: int) -> Iterator[Conversation]:
        """All that begin within so many seconds."""
        random = Random(f"{self.name} {seed}")
        count = self.system_prompts or self.adapters or 1
        starts = [NOTHING.with_more(_text(random, self.system_tokens)) for _ in range(count)]
        at, number = 0.0, 0
        while (at := at + random.expovariate(self.rate)) < seconds:
            number += 1
            which = _popular(random, self.adapters) if self.adapters else random.randrange(count)
            turns = 1
            while random.random() > 1 / self.turns and turns < 12:
                turns += 1
            yield Conversation(
                at,
                number,
                starts[which],
                tuple(self._turn(random) for _ in range(turns)),
                f"adapter-{which}" if self.adapters else "",
            )

    def _turn(self, random: Random) -> Turn:
        question, answer = (_length(random, *each) for each in (self.question, self.answer))
        return Turn(_text(random, question), _text(random, answer), random.expovariate(1 / THINKING))


def _text(random: Random, tokens: int) -> bytes:
    return b64encode(random.randbytes(3 * tokens))


def _length(random: Random, median: float, spread: float) -> int:
    return max(8, min(30_000, round(random.lognormvariate(0, spread) * median)))


def _popular(random: Random, count: int) -> int:
    """One of so many, the n-th being asked for 1/n as often as the first (Zipf)."""
    return random.choices(range(count), [1 / (number + 1) for number in range(count)])[0]


SIXTEEN = (H100,) * 16
SLOW = msgspec.structs.replace(H100, name="H100, four times as slow", slowness=4.0)
LOADS = (
    Load(
        *("shared", "chat with shared prefixes", 24.0, SIXTEEN, SYSTEM_PROMPTS, SYSTEM_TOKENS, TURNS),
        question=(150.0, 0.8),
    ),
    Load("mixed", "mixed lengths, nothing shared", 100.0, SIXTEEN, question=(600.0, 1.3), answer=(150.0, 1.0)),
    Load("unique", "no shared prefix", 160.0, SIXTEEN),
    Load("slow", "one slow server", 90.0, (SLOW, *SIXTEEN[1:])),
    Load("gpus", "half H100, half L40S", 70.0, (H100, L40S) * 8),
    Load("lora", "many LoRA adapters", 100.0, SIXTEEN, system_tokens=500, question=(400.0, 0.6), adapters=40),
)
