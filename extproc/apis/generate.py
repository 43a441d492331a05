"""``/generate``, as TGI and SGLang have it: one server, one model, which nobody names.

Each has its own body; the keys of the two don't meet, so one reader serves both. A body with none of `inputs`, `text`,
`input_ids`, `input_embeds` and `prompt` (vLLM's demonstration server) is no request of theirs. Source: Text Generation
Inference's API documentation, and SGLang's documentation, "SGLang Native APIs" and "Sampling Parameters".
"""

from __future__ import annotations

from extproc.apis.answer_shape import AnswerShape, Usage
from extproc.apis.error_shape import KIND, MESSAGE, ErrorShape
from extproc.apis.row import Row
from extproc.bodies.json_reader import JsonReader

_PROMPT = ("/inputs", "/text", "/input_ids")
_LIMIT = ("/parameters/max_new_tokens", "/sampling_params/max_new_tokens")
_ADAPTER = ("/parameters/adapter_id", "/lora_path")
_KEYS = ("inputs", "text", "input_ids", "input_embeds", "prompt")
_GENERATE = JsonReader(model="", prompt=_PROMPT, limit=_LIMIT, adapter=_ADAPTER, required=_KEYS)
_TGI = JsonReader(model="", prompt=_PROMPT, limit=_LIMIT, adapter=_ADAPTER, required=("inputs",))

ROWS = (
    Row(
        path="/generate",
        api="generate",
        operation="generate",
        reader=_GENERATE,
        unnamed=True,
        note="TGI's and SGLang's: the bodies tell them apart, the answer goes to the same model",
    ),
    Row(
        path="/",
        api="generate",
        operation="generate",
        reader=_TGI,
        unnamed=True,
        shared=True,
        note="TGI's, which Hugging Face's clients call where they are given a server's URL: with `inputs`",
    ),
    Row(
        path="/generate_stream",
        api="generate",
        operation="generate_stream",
        reader=_GENERATE,
        unnamed=True,
        stream=True,
        note="TGI's",
    ),
)

USAGE = (
    Usage(("/details",), ("input_length",), ("generated_tokens",)),
    Usage(("/meta_info",), ("prompt_tokens",), ("completion_tokens",), ("cached_tokens",), part_index="/index"),
)
ABORTED = ("/meta_info/finish_reason/type=abort",)
ANSWER = AnswerShape(
    output=("/token", "/text", "/output_ids"),
    ends=("/generated_text",),
    finishes=("/meta_info/finish_reason",),
    failures=("/object=error", *ABORTED),
    usage=USAGE,
    usage_headers=("x-prompt-tokens", "x-generated-tokens"),
)
ANSWERS = {"generate": ANSWER, "generate_stream": ANSWER}

_ERROR = ErrorShape(
    document={"error": MESSAGE, "error_type": KIND},
    kinds={400: "validation", 429: "overloaded", 500: "generation", 503: "overloaded"},
)
ERRORS = {"": _ERROR}
