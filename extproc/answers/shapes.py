"""The shape of every answer that tells more than its status: the table that a newcomer reads first.

Keys are (api, operation) of the rows in ``apis``. What is not here is counted and timed to its end, no more.
Sources: each API's reference, as its module in ``apis`` names it.
"""

from __future__ import annotations

import msgspec

from extproc.answers import usage_fields
from extproc.answers.shape import Message, Shape

_FINISHES = ("/choices/*/finish_reason",)
_FAILURES = ("/object=error", "/choices/*/finish_reason=abort|error")
"""``abort``: vLLM's and SGLang's; ``error``: OpenRouter's, and vLLM's where its engine fails."""
_DELTA = (
    *("content", "reasoning_content", "reasoning", "refusal", "tool_calls", "function_call", "audio"),
    *("reasoning_details", "images"),  # OpenRouter's
)
CHAT = Shape(
    tokens=tuple(f"/choices/*/delta/{name}" for name in _DELTA),
    finishes=_FINISHES,
    failures=_FAILURES,
    usage=usage_fields.CHAT,
)
COMPLETION = Shape(
    tokens=("/choices/*/text", "/choices/*/token_ids"), finishes=_FINISHES, failures=_FAILURES, usage=usage_fields.CHAT
)
RESPONSE = Shape(
    kind=("/type",),
    tokens=(
        *("/delta", "/partial_image_b64"),
        *(
            "/item/name",
            "/item/action",
            "/item/encrypted_content",
            "/part/text",
        ),  # what an item or its text begins with
    ),
    token_kinds=(
        *("response.*.delta", "response.*.partial_image", "response.output_item.added", "response.content_part.added"),
    ),
    end_kinds=("response.completed", "response.incomplete"),
    error_kinds=("response.failed", "error"),
    failures=("/object=error", "/status=failed"),
    usage=(usage_fields.NEWER, usage_fields.OPENAI),
)
IMAGE = Shape(
    kind=("/type",),
    token_kinds=("*.partial_image", "*.completed"),
    end_kinds=("*.completed",),
    usage=(usage_fields.NEWER,),
    counted=False,
)
TRANSCRIPT = Shape(
    kind=("/type",),
    tokens=("/delta", "/choices/*/delta/content"),  # OpenAI's, and vLLM's, whose events name no kind
    token_kinds=("transcript.text.delta", ""),
    end_kinds=("transcript.text.done",),
    finishes=_FINISHES,
    failures=_FAILURES,
    usage=(usage_fields.NEWER, usage_fields.OPENAI),
)
SPEECH = Shape(
    kind=("/type",),
    token_kinds=("speech.audio.delta",),
    end_kinds=("speech.audio.done",),
    usage=(usage_fields.NEWER,),
    counted=False,
    bare=True,
)
_HEARD = "conversation.item.input_audio_transcription"
REALTIME = Shape(  # an answer within a session: OpenAI's, a transcript of OpenAI's, one of vLLM's
    kind=("/type",),
    tokens=("/delta",),
    token_kinds=("response.*.delta", f"{_HEARD}.delta", "transcription.delta"),
    end_kinds=("response.done", f"{_HEARD}.completed", "transcription.done"),
    error_kinds=(f"{_HEARD}.failed",),
    errors=(),
    failures=(),
    usage=usage_fields.REALTIME,
)
INPUT_ONLY = Shape(usage=usage_fields.INPUT)
"""Embeddings, scores and the like."""
OPENAI = {
    "chat.completions": CHAT,
    "completions": COMPLETION,
    "responses": RESPONSE,
    "responses.compact": RESPONSE,
    "embeddings": INPUT_ONLY,
    "images.generations": IMAGE,
    "images.edits": IMAGE,
    "images.variations": IMAGE,
    "audio.transcriptions": TRANSCRIPT,
    "audio.translations": TRANSCRIPT,
    "audio.speech": SPEECH,
}
SESSIONS = {("openai", "realtime"): REALTIME, ("azure", "realtime"): REALTIME}
"""Operations of which an exchange is no answer, but holds many; see ``realtime``."""

ANTHROPIC = Shape(
    kind=("/type",),
    tokens=(
        *("/delta/text", "/delta/thinking", "/delta/partial_json", "/delta/signature", "/delta/citation"),
        *("/content_block/text", "/content_block/thinking"),
        *("/content_block/data", "/content_block/name", "/content_block/content"),  # redacted thinking, calls, results
    ),
    token_kinds=("content_block_delta", "content_block_start"),
    end_kinds=("message_stop",),
    finishes=("/delta/stop_reason",),
    usage=usage_fields.ANTHROPIC,
)
ANTHROPIC_COMPLETE = Shape(tokens=("/completion",), ends=("/stop_reason",))

GEMINI = Shape(
    tokens=tuple(
        f"/candidates/*/content/parts/*/{name}"
        for name in (
            *("text", "functionCall", "inlineData", "executableCode", "codeExecutionResult"),
            "thoughtSignature",  # all that is shown of some thoughts
        )
    ),
    marked=False,
    usage=usage_fields.GEMINI,
)

COHERE = Shape(  # v2's kinds and v1's don't meet
    kind=("/type", "/event_type"),
    tokens=(
        *("/delta/message/content/text", "/delta/message/content/thinking"),
        *("/delta/message/tool_plan", "/delta/message/tool_calls"),
        *("/text", "/tool_call_delta"),
    ),
    token_kinds=(
        *("content-start", "content-delta", "tool-plan-delta", "tool-call-start", "tool-call-delta"),
        *("text-generation", "tool-calls-chunk", ""),
    ),
    end_kinds=("message-end", "stream-end"),
    ends=("/is_finished",),
    errors=("/error", "/delta/error"),
    failures=(
        "/object=error",
        *(f"{at}/finish_reason=ERROR|ERROR_TOXIC|ERROR_LIMIT|TIMEOUT" for at in ("", "/delta", "/response")),
    ),
    usage=usage_fields.COHERE,
)
COHERE_INPUT = msgspec.structs.replace(COHERE, usage=(*usage_fields.COHERE, *usage_fields.INPUT[:3]))
"""Embeddings and ranks; vLLM has some of the same paths, and OpenAI's usage."""

CONVERSE = Shape(
    tokens=("/delta/text", "/delta/toolUse", "/delta/reasoningContent", "/delta/image", "/start/toolUse"),
    token_kinds=("contentBlockStart", "contentBlockDelta"),
    end_kinds=("metadata",),
    last_kinds=("messageStop",),
    usage=(usage_fields.CONVERSE,),
)

_META_INFO = ("/meta_info/finish_reason",)
_ABORTED = ("/meta_info/finish_reason/type=abort",)
GENERATE = Shape(  # TGI's keys and SGLang's don't meet
    tokens=("/token", "/text", "/output_ids"),
    ends=("/generated_text",),
    finishes=_META_INFO,
    failures=("/object=error", *_ABORTED),
    usage=usage_fields.GENERATE,
    headers=("x-prompt-tokens", "x-generated-tokens"),
)
TRITON = Shape(tokens=("/text_output",), marked=False)

OLLAMA_CHAT = Shape(
    tokens=("/message/content", "/message/thinking", "/message/tool_calls"),
    ends=("/done",),
    usage=(usage_fields.OLLAMA,),
)
OLLAMA_GENERATE = Shape(tokens=("/response", "/thinking"), ends=("/done",), usage=(usage_fields.OLLAMA,))
OLLAMA_EMBED = Shape(usage=(usage_fields.OLLAMA,))

ANY = Shape(
    tokens=(
        *(*CHAT.tokens, *COMPLETION.tokens, *ANTHROPIC.tokens, *GEMINI.tokens, *GENERATE.tokens, *TRITON.tokens),
        *("/delta", "/completion", "/generation", "/outputText", "/outputs/*/text", "/contentBlockDelta/delta"),
        "/contentBlockStart/start/toolUse",
    ),
    end_kinds=("message_stop", "response.completed"),
    ends=(f"/{usage_fields.METRICS}", "/generated_text"),
    finishes=(*_FINISHES, *ANTHROPIC.finishes, *_META_INFO),
    failures=(*_FAILURES, *_ABORTED),
    marked=False,
    usage=usage_fields.ANY,
)
"""Where any model may stand behind one path: what the APIs above have, and what models on Bedrock have of their own."""
_INVOKE = msgspec.structs.replace(
    ANY, headers=("x-amzn-bedrock-input-token-count", "x-amzn-bedrock-output-token-count")
)

VLLM_GRPC = Message(
    tokens=("1.1",),
    ends=("2",),
    errors=("2.2=abort|error",),
    input=("1.2", "2.3"),
    output=("1.3", "2.4"),
    cached=("1.4", "2.5"),
)
TRITON_GRPC = Message(tokens=("2.5", "2.6"), errors=("1",))

SHAPES: dict[tuple[str, str], Shape | Message] = {
    **{("openai", name): shape for name, shape in OPENAI.items()},
    **{("azure", name): shape for name, shape in OPENAI.items() if name != "responses.compact"},
    **{("gemini", name): OPENAI[name] for name in ("chat.completions", "embeddings", "images.generations")},
    ("vertex", "chat.completions"): CHAT,
    ("anthropic", "messages"): ANTHROPIC,
    ("anthropic", "complete"): ANTHROPIC_COMPLETE,
    **{(api, name): GEMINI for api in ("gemini", "vertex") for name in ("generateContent", "streamGenerateContent")},
    **{("vertex", name): ANY for name in ("rawPredict", "streamRawPredict", "predict", "serverStreamingPredict")},
    **{(api, "embedContent"): Shape(usage=usage_fields.GEMINI) for api in ("gemini", "vertex")},
    **{("cohere", name): COHERE for name in ("chat", "generate")},
    **{("cohere", name): COHERE_INPUT for name in ("embed", "rerank", "classify")},
    ("bedrock", "converse"): CONVERSE,
    ("bedrock", "converse-stream"): CONVERSE,
    ("bedrock", "invoke"): _INVOKE,
    ("bedrock", "invoke-with-response-stream"): msgspec.structs.replace(_INVOKE, inner="base64"),
    ("sagemaker", "invocations"): ANY,
    ("sagemaker", "invocations-response-stream"): msgspec.structs.replace(ANY, inner="raw"),
    ("sagemaker", "invoke"): ANY,
    ("mlflow", "invocations"): ANY,
    ("ray", "multiplexed"): ANY,
    ("ollama", "chat"): OLLAMA_CHAT,
    ("ollama", "generate"): OLLAMA_GENERATE,
    ("ollama", "embed"): OLLAMA_EMBED,
    ("generate", "generate"): GENERATE,
    ("generate", "generate_stream"): GENERATE,
    ("triton", "generate"): TRITON,
    ("triton", "generate_stream"): TRITON,
    ("torchserve", "predictions"): Shape(counted=False, bare=True, marked=False),
    ("torchserve", "stream_predictions"): Message(tokens=("1",)),
    **{("vllm", name): INPUT_ONLY for name in ("rerank", "score", "pooling", "classify")},
    ("vllm", "generate"): VLLM_GRPC,
    ("vllm", "embed"): Message(input=("2",)),
    ("oip", "stream_infer"): TRITON_GRPC,
}

HEADERS = tuple(sorted({n for s in SHAPES.values() if isinstance(s, Shape) and s.headers for n in s.headers}))
"""Of responses: those that tell tokens."""
