"""Which endpoint has which prefixes."""

from __future__ import annotations

from collections import OrderedDict

from hypothesis import given
from hypothesis import strategies as st

from extproc.picking.prefix_index import PrefixIndex

ADDRESSES = tuple(f"10.0.0.{number}:80" for number in range(5))


def add(index: PrefixIndex, addresses: tuple[str, ...], address: str, blocks: tuple[int, ...]) -> None:
    """The endpoint gets a prompt, as far as it is one of these."""
    if address in addresses:
        index.add(address, blocks, depths(index, addresses, blocks)[address])


def depths(index: PrefixIndex, addresses: tuple[str, ...], blocks: tuple[int, ...]) -> dict[str, int]:
    """How many of the blocks each endpoint has."""
    found = dict.fromkeys(addresses, 0)
    for endpoints, depth in index.match(blocks):
        for place in index.places(endpoints):
            assert not found[addresses[place]]
            assert endpoints & index.bit(place)
            found[addresses[place]] = depth
    return found


def test_an_endpoint_has_what_it_got() -> None:
    index = PrefixIndex(100)
    index.keep(ADDRESSES)
    index.add(ADDRESSES[1], (1, 2, 3), 0)
    index.add(ADDRESSES[2], (1, 2), 0)
    assert depths(index, ADDRESSES, (1, 2, 3, 4)) == dict(zip(ADDRESSES, (0, 3, 2, 0, 0), strict=True))
    assert depths(index, ADDRESSES, (1, 9, 3)) == dict(zip(ADDRESSES, (0, 1, 1, 0, 0), strict=True))
    assert index.match((9, 2)) == index.match(()) == []


def test_the_end_of_the_oldest_prompt_goes_first() -> None:
    index = PrefixIndex(4)
    index.keep(ADDRESSES[:1])
    index.add(ADDRESSES[0], (1, 2, 3), 0)
    index.add(ADDRESSES[0], (5, 6), 0)
    assert depths(index, ADDRESSES[:1], (1, 2, 3)) == {ADDRESSES[0]: 2}
    assert depths(index, ADDRESSES[:1], (5, 6)) == {ADDRESSES[0]: 2}
    assert len(index) == 4


def test_who_is_gone_is_forgotten_and_comes_back_with_nothing() -> None:
    index = PrefixIndex(100)
    index.keep(ADDRESSES[:2])
    for address in ADDRESSES[:2]:
        index.add(address, (1, 2), 0)
    index.keep(ADDRESSES[1:3])
    assert depths(index, ADDRESSES[1:3], (1, 2)) == {ADDRESSES[1]: 2, ADDRESSES[2]: 0}
    index.keep(ADDRESSES[:2])
    assert depths(index, ADDRESSES[:2], (1, 2)) == {ADDRESSES[0]: 0, ADDRESSES[1]: 2}
    index.add(ADDRESSES[4], (1,), 0)
    assert len(index) == 2


def test_sets_have_any_number_of_endpoints() -> None:
    addresses = tuple(f"10.0.0.{number}:80" for number in range(200))
    index = PrefixIndex(10_000)
    index.keep(addresses)
    for address in addresses[:130]:
        index.add(address, (1, 2), 0)
    index.add(addresses[63], (1, 2, 3), 0)
    index.add(addresses[199], (1,), 0)
    found = depths(index, addresses, (1, 2, 3))
    assert [found[address] for address in addresses] == [*[2] * 63, 3, *[2] * 66, *[0] * 69, 1]


class Model:
    """The same in the plainest way: a list of blocks for each endpoint. ``kept``: of each 8, how many an endpoint keeps
    for certain.
    """

    def __init__(self, capacity: int, kept: int = 8) -> None:
        self.capacity, self.kept = capacity, kept
        self.blocks: dict[str, OrderedDict[int, None]] = {}

    def keep(self, addresses: tuple[str, ...]) -> None:
        self.blocks = {address: self.blocks.get(address, OrderedDict()) for address in addresses}
        self._shorten()

    def add(self, address: str, blocks: tuple[int, ...]) -> None:
        if (own := self.blocks.get(address)) is not None:
            for block in reversed(blocks):
                own[block] = None
                own.move_to_end(block)
            self._shorten()

    def _shorten(self) -> None:
        share = max(1, self.capacity // len(self.blocks))
        for own in self.blocks.values():
            while len(own) > share - share // 8 * (8 - self.kept):
                own.popitem(last=False)

    def depths(self, blocks: tuple[int, ...]) -> dict[str, int]:
        found = {}
        for address, own in self.blocks.items():
            found[address] = next((number for number, block in enumerate(blocks) if block not in own), len(blocks))
        return found


PROMPTS = st.lists(st.integers(0, 3), max_size=6).map(
    lambda texts: tuple(hash(tuple(texts[: n + 1])) for n in range(len(texts)))
)
STEPS = st.one_of(
    st.tuples(st.just("keep"), st.lists(st.sampled_from(ADDRESSES), min_size=1, unique=True).map(tuple)),
    st.tuples(st.sampled_from(ADDRESSES), PROMPTS),
)


@given(st.integers(1, 7), st.lists(STEPS, max_size=30), st.lists(PROMPTS, min_size=1, max_size=5))
def test_it_does_what_the_plainest_way_does(
    capacity: int, steps: list[tuple[str, tuple[str, ...] | tuple[int, ...]]], prompts: list[tuple[int, ...]]
) -> None:
    """To the letter where an endpoint may have less than 8 blocks."""
    index, model, addresses = PrefixIndex(capacity), Model(capacity), ADDRESSES[:3]
    index.keep(addresses)
    model.keep(addresses)
    for what, argument in steps:
        if what == "keep":
            addresses = argument  # type: ignore[assignment]
            index.keep(addresses)
            model.keep(addresses)
        else:
            add(index, addresses, what, argument)  # type: ignore[arg-type]
            model.add(what, argument)  # type: ignore[arg-type]
        assert len(index) == sum(map(len, model.blocks.values())) <= max(capacity, len(addresses))
        for prompt in prompts:
            assert depths(index, addresses, prompt) == model.depths(prompt)


@given(st.integers(8, 200), st.lists(STEPS, max_size=60), st.lists(PROMPTS, min_size=1, max_size=5))
def test_of_eight_blocks_it_keeps_the_seven_used_last(
    capacity: int, steps: list[tuple[str, tuple[str, ...] | tuple[int, ...]]], prompts: list[tuple[int, ...]]
) -> None:
    index, addresses = PrefixIndex(capacity), ADDRESSES[:3]
    index.keep(addresses)
    least, most = Model(capacity, 7), Model(1 << 30)
    least.keep(addresses)
    most.keep(addresses)
    for what, argument in steps:
        if what == "keep":
            addresses = argument  # type: ignore[assignment]
            index.keep(addresses)
            most.keep(addresses)
            least = Model(capacity, 7)  # an endpoint may have another number of blocks from now on
            least.keep(addresses)
        else:
            add(index, addresses, what, argument)  # type: ignore[arg-type]
            least.add(what, argument)  # type: ignore[arg-type]
            most.add(what, argument)  # type: ignore[arg-type]
        assert len(index) <= max(capacity, len(addresses))
        for prompt in prompts:
            found, at_least, at_most = depths(index, addresses, prompt), least.depths(prompt), most.depths(prompt)
            assert all(at_least[address] <= found[address] <= at_most[address] for address in addresses)


def test_a_conversation_that_goes_on_keeps_its_beginning() -> None:
    """Each turn continues a path that is as good as new; all of it is moved to the end now and then."""
    index = PrefixIndex(64)
    index.keep(ADDRESSES[:1])
    others = iter(range(10_000, 20_000))
    talk: tuple[int, ...] = ()
    for turn in range(30):
        talk = (*talk, turn)
        assert index.match(talk[:-1]) in ([], [(1, turn)])
        add(index, ADDRESSES[:1], ADDRESSES[0], talk)
        add(index, ADDRESSES[:1], ADDRESSES[0], (next(others), next(others)))
    assert depths(index, ADDRESSES[:1], talk) == {ADDRESSES[0]: 30}


def test_long_prompts_are_told_apart_at_any_block() -> None:
    index = PrefixIndex(10_000)
    index.keep(ADDRESSES)
    for place, size in enumerate((0, 1, 8, 9, 40)):
        if size:
            index.add(ADDRESSES[place], tuple(range(size)), 0)
    for asked in range(45):
        found = depths(index, ADDRESSES, tuple(range(asked)))
        assert list(found.values()) == [min(size, asked) for size in (0, 1, 8, 9, 40)]
