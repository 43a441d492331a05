"""Counts of tokens: where servers really write them, that they never fall, and that what is kept is bounded."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.answers.json_pointers import MAX_ELEMENTS
from extproc.answers.token_counts import CountsByPart, UsageCounter, total_counts
from extproc.answers.wire.bounded_buffer import MAX_WHOLE
from extproc.apis.answer_shape import Usage
from tests.unit.answers.answered import document, read

COUNTED = Usage(("/u",), ("a", "b/c"), ("d",), ("b/c",), part_index="/n")
COUNTS = st.none() | st.integers(-2, 50) | st.floats(allow_nan=True) | st.text(max_size=2)
NODES = st.fixed_dictionaries(
    {}, optional={"a": COUNTS, "d": COUNTS, "b": COUNTS | st.fixed_dictionaries({"c": COUNTS})}
)


@given(st.lists(st.tuples(st.integers(0, 3), NODES)))
def test_counts_never_fall(told: list[tuple[int, Any]]) -> None:
    counting, tokens = UsageCounter(0, COUNTED), CountsByPart()
    before: tuple[int, ...] = (0, 0, 0)
    for part, node in told:
        counting.add(tokens, part, node)
        now = total_counts([counting], tokens)
        assert all(value is None or value >= least for value, least in zip(now, before, strict=True))
        before = tuple(value or 0 for value in now)


@given(st.lists(NODES))
def test_what_is_missing_changes_nothing(told: list[Any]) -> None:
    counting, tokens, again = UsageCounter(0, COUNTED), CountsByPart(), CountsByPart()
    for node in told:
        counting.add(tokens, 0, node)
        counting.add(again, 0, node)
        counting.add(again, 0, dict.fromkeys(node, 0))
    for ours, theirs in zip(total_counts([counting], tokens), total_counts([counting], again), strict=True):
        assert ours in (theirs, None)
        assert ours is not None or not theirs


def test_parts_are_bounded() -> None:
    counting, tokens = UsageCounter(0, COUNTED), CountsByPart()
    for part in range(MAX_ELEMENTS + 10):
        counting.add(tokens, part, {"d": 1})
    assert total_counts([counting], tokens) == (None, MAX_ELEMENTS, None)


def test_of_several_usages_the_first_that_tells_more_than_nothing_counts() -> None:
    every = [UsageCounter(0, COUNTED), UsageCounter(1, Usage(("/v",), ("x",), ("y",)))]
    tokens: CountsByPart = {}
    every[0].add(tokens, 0, {"a": 0, "d": 3})
    every[1].add(tokens, 0, {"x": 5, "y": 7})
    assert total_counts(every, tokens) == (5, 3, None)


def test_the_last_value_that_can_be_read_is_found() -> None:
    counting, tokens = UsageCounter(0, COUNTED), CountsByPart()
    counting.add_truncated(tokens, b'{"u":{"a":1},"u" : {"a":2},"x":"\\"u\\":{}","u":{"a"')
    assert total_counts([counting], tokens) == (2, None, None)


def chunk(content: str = "", finish: str | None = None, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": content}, "finish_reason": finish, **more}]}


SAID = {"prompt_tokens": 20, "completion_tokens": 9}
MOONSHOT = {"prompt_tokens": 20, "completion_tokens": 9, "cached_tokens": 8}
DEEPSEEK = SAID | {"prompt_cache_hit_tokens": 8, "prompt_cache_miss_tokens": 12}


@pytest.mark.parametrize(
    ("last", "tokens"),
    [
        (chunk(finish="stop", usage=MOONSHOT), (20, 9, 8)),
        (chunk(finish="stop") | {"x_groq": {"id": "r", "usage": SAID}}, (20, 9, None)),
        (chunk(finish="stop") | {"usage": DEEPSEEK}, (20, 9, 8)),
        (chunk(finish="stop") | {"usage": DEEPSEEK | {"prompt_tokens_details": {"cached_tokens": 8}}}, (20, 9, 8)),
        (chunk(finish="stop") | {"usage": MOONSHOT}, (20, 9, 8)),
        (chunk("b", "length") | {"usage": {"input_tokens": 20, "completion_tokens": 9}}, (20, 9, None)),
        (chunk(finish="stop") | {"usage": {"input_tokens": 20, "output_tokens": 9}}, (20, 9, None)),
        (chunk(finish="stop") | {"usage": {"prompt_tokens": 0, "completion_tokens": 0}, "x_groq": {"usage": SAID}},
         (20, 9, None)),
    ],
)  # fmt: skip
@pytest.mark.parametrize(("api", "operation"), [("openai", "chat.completions"), ("azure", "completions")])
def test_usage_of_chats(api: str, operation: str, last: Any, tokens: tuple[int | None, ...]) -> None:
    assert read(api, operation, chunk("a"), last).counts() == tokens
    assert document(api, operation, last).counts() == tokens


def test_usage_of_each_choice() -> None:
    choices = [{"index": n, "finish_reason": "stop", "usage": MOONSHOT | {"completion_tokens": n}} for n in (4, 5)]
    assert document("openai", "chat.completions", {"choices": choices}).counts() == (20, 9, 8)


UNITS = {"input_tokens": 5, "output_tokens": 7}


@pytest.mark.parametrize(
    "event",
    [
        {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": {"billed_units": UNITS}}},
        {"event_type": "stream-end", "response": {"meta": {"billed_units": UNITS}}},
    ],
)
def test_billed_units_where_no_tokens_are_told(event: Any) -> None:
    assert read("cohere", "chat", event).counts() == (5, 7, None)


def test_tgi_tells_the_input_in_the_last_event() -> None:
    details = {"finish_reason": "length", "generated_tokens": 1, "input_length": 17}
    last = {"token": {"id": 2, "text": "b"}, "generated_text": "b", "details": details}
    assert read("generate", "generate_stream", last).counts() == (17, 1, None)


def sglang(prompt: int, output: int, index: int | None = None) -> dict[str, Any]:
    info = {"meta_info": {"prompt_tokens": prompt, "completion_tokens": output, "cached_tokens": 1}}
    return {"text": "a", **info, **({} if index is None else {"index": index})}


def test_parts_of_a_batch_are_summed() -> None:
    events = [sglang(4, 1, 0), sglang(6, 1, 1), sglang(4, 2, 0), sglang(6, 3, 1)]
    assert read("generate", "generate", *events, b"[DONE]").counts() == (10, 5, 2)
    assert document("generate", "generate", [sglang(4, 2), sglang(6, 3)]).counts() == (10, 5, 2)
    assert document("generate", "generate", [sglang(4, 2, 0), sglang(6, 3, 1)]).counts() == (10, 5, 2)
    assert read("generate", "generate", sglang(4, 1), sglang(4, 2)).counts() == (4, 2, 1)


LONG = {"data": [{"index": 0, "embedding": [0.5] * (MAX_WHOLE // 4)}]}
USAGE = {"usage": {"prompt_tokens": 9, "total_tokens": 9}}


@pytest.mark.parametrize("body", [USAGE | LONG, LONG | USAGE, {"usage": {"total_tokens": 9}} | LONG])
def test_usage_before_and_behind_large_data(body: Any) -> None:
    assert document("openai", "embeddings", body).counts()[0] == 9


@pytest.mark.parametrize("name", ["type", "usage"])
def test_an_image_in_one_event(name: str) -> None:
    told = {"usage": {"input_tokens": 9, "output_tokens": 4}, "type": "image_generation.completed"}
    event = {name: told[name], "type": told["type"], "b64_json": "x" * MAX_WHOLE} | told
    assert read("openai", "images.generations", event).counts() == (9, 4, None)


def test_the_kind_of_a_long_event_that_the_wire_does_not_name() -> None:
    found = read("openai", "images.generations", {"type": "image_generation.completed", "b64_json": "x" * MAX_WHOLE})
    assert (found.state.complete, found.state.output_events) == (True, 1)


@pytest.mark.parametrize("order", [1, -1])
def test_numbers_of_a_long_document_itself(order: int) -> None:
    pairs = [("embeddings", [[0.5] * (MAX_WHOLE // 4)]), ("prompt_eval_count", 9)][::order]
    assert document("ollama", "embed", dict(pairs)).counts() == (9, None, None)


def test_of_a_long_batch_nothing_is_told_rather_than_its_last_part() -> None:
    batch = [sglang(4, 2) | {"text": "x" * 1000} for _ in range(MAX_WHOLE // 1000)]
    assert document("generate", "generate", batch).counts() == (None, None, None)


ZERO = {"prompt_tokens": 0, "completion_tokens": 0}


@pytest.mark.parametrize("later", [ZERO, {}, None, {"completion_tokens": 3}, {"prompt_tokens": 2}])
def test_what_is_less_or_missing_replaces_nothing(later: Any) -> None:
    events = [chunk("a") | {"usage": SAID}, chunk("b") | {"usage": later}, chunk(finish="stop") | {"usage": later}]
    assert read("openai", "chat.completions", *events).counts() == (20, 9, None)


def anthropic(**usage: int) -> dict[str, Any]:
    return {"type": "message_delta", "delta": {}, "usage": usage}


START = {"type": "message_start", "message": {"usage": {"input_tokens": 100, "output_tokens": 1}}}


@pytest.mark.parametrize(
    ("ends", "tokens"),
    [
        ([anthropic(output_tokens=5)], (100, 5, None)),
        ([anthropic(input_tokens=0, output_tokens=5)], (100, 5, None)),
        # Some estimate the input first, and tell later which of it was cached: it is not more for that.
        ([anthropic(input_tokens=20, cache_read_input_tokens=80, output_tokens=5)], (100, 5, 80)),
        ([anthropic(input_tokens=30, cache_read_input_tokens=80, output_tokens=5)], (110, 5, 80)),
        ([anthropic(output_tokens=5), anthropic(output_tokens=0)], (100, 5, None)),
    ],
)
def test_counts_of_messages_never_fall(ends: list[Any], tokens: tuple[int | None, ...]) -> None:
    assert read("anthropic", "messages", START, *ends).counts() == tokens


def test_thoughts_that_only_the_first_events_tell() -> None:
    events = [
        {"usageMetadata": {"promptTokenCount": 9, "thoughtsTokenCount": 50}},
        {"usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 30}},
        {"usageMetadata": {"candidatesTokenCount": 0}},
    ]
    assert read("gemini", "streamGenerateContent", *events).counts() == (9, 80, None)


@pytest.mark.parametrize(
    ("count", "taken"),
    [
        (0, 0),
        (2**53 - 1, 2**53 - 1),
        (2**53, None),
        (2**53 + 1, None),
        (-1, None),
        (9.0, 9),
        (9.5, None),
        (True, None),
        ("9", None),
    ],
)
def test_what_a_count_may_be(count: Any, taken: int | None) -> None:
    tokens: CountsByPart = {}
    UsageCounter(0, COUNTED).add(tokens, 0, {"d": count})
    assert total_counts([UsageCounter(0, COUNTED)], tokens) == (None, taken, None)


@pytest.mark.parametrize(("others", "found"), [(3, 2), (4, None)])
def test_the_last_four_places_are_searched(others: int, found: int | None) -> None:
    tokens: CountsByPart = {}
    UsageCounter(0, COUNTED).add_truncated(tokens, b'"u":{"a":2}' + b',"x":"u"' * others)
    assert total_counts([UsageCounter(0, COUNTED)], tokens) == (found, None, None)


def test_of_equal_prompts_the_longest_counts_and_outputs_are_summed() -> None:
    same = UsageCounter(0, Usage(("/u",), ("a",), ("d",), ("c",), same_prompt=True))
    tokens: CountsByPart = {}
    for part, node in enumerate([{"a": 5, "d": 1, "c": 2}, {"a": 5, "d": 2, "c": 3}]):
        same.add(tokens, part, node)
    assert total_counts([same], tokens) == (5, 3, 3)


@pytest.mark.parametrize(("pointer", "text"), [("/u", b'"u":{"d":2}}'), ("", b'"d":2}')])
def test_what_an_event_that_is_cut_tells_is_not_added_to_what_another_told(pointer: str, text: bytes) -> None:
    counter, tokens = UsageCounter(0, Usage((pointer,), ("a",), ("d",))), CountsByPart()
    counter.add(tokens, 0, {"d": 1})
    counter.add_truncated(tokens, text)
    assert total_counts([counter], tokens) == (None, 2, None)


@pytest.mark.parametrize("text", [b'ab:{"a":2}', b'"v":{"a":2}', b'"u" {"a":2}', b'"u"', b'"u":', b""])
def test_a_text_without_the_member_tells_nothing(text: bytes) -> None:
    tokens: CountsByPart = {}
    UsageCounter(0, COUNTED).add_truncated(tokens, text)
    assert total_counts([UsageCounter(0, COUNTED)], tokens) == (None, None, None)


def test_of_several_members_of_a_count_the_last_values_are_summed() -> None:
    counter, tokens = UsageCounter(0, Usage(("/u",), ("a", "b", "c/d"), ("e",))), CountsByPart()
    for node, total in (({"a": 1}, 1), ({"b": 2}, 3), ({"c": {"d": 4}}, 7), ({"a": 8, "b": 1}, 13), ({"a": 0}, 13)):
        counter.add(tokens, 0, node)
        assert total_counts([counter], tokens) == (total, None, None)


def test_the_part_is_the_one_that_is_told() -> None:
    counter = UsageCounter(0, COUNTED)
    assert [counter.part_of(told, 7) for told in ({"n": 3}, {"n": 0}, {"n": "3"}, {"n": None}, {})] == [3, 0, 7, 7, 7]
