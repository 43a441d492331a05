"""The shape of every answer that tells more than its status: the table that a newcomer reads first.

Keys are (api, operation) of the rows in ``apis``. What is not here is counted and timed to its end, no more.
Sources: each API's reference, as its module in ``apis`` names it.
"""

from __future__ import annotations

import msgspec

from extproc.answers.shape import Message, Shape, Usage

_OPENAI_USAGE = Usage(("/usage",), ("prompt_tokens",), ("completion_tokens",), ("prompt_tokens_details/cached_tokens",))
_NEWER_USAGE = Usage(
    ("/usage", "/response/usage"), ("input_tokens",), ("output_tokens",), ("input_tokens_details/cached_tokens",)
)
_DELTA = ("content", "reasoning_content", "reasoning", "refusal", "tool_calls", "function_call", "audio")
CHAT = Shape(tokens=tuple(f"/choices/*/delta/{name}" for name in _DELTA), usage=(_OPENAI_USAGE,))
COMPLETION = Shape(tokens=("/choices/*/text",), usage=(_OPENAI_USAGE,))
RESPONSE = Shape(
    kind=("/type",),
    tokens=("/delta",),
    token_kinds=("response.*.delta",),
    end_kinds=("response.completed", "response.incomplete"),
    error_kinds=("response.failed", "error"),
    usage=(_NEWER_USAGE,),
)
IMAGE = Shape(
    kind=("/type",),
    token_kinds=("*.partial_image", "*.completed"),
    end_kinds=("*.completed",),
    usage=(_NEWER_USAGE,),
    counted=False,
)
TRANSCRIPT = Shape(
    kind=("/type",),
    tokens=("/delta", "/choices/*/delta/content"),  # OpenAI's, and vLLM's, whose events name no kind
    token_kinds=("transcript.text.delta", ""),
    end_kinds=("transcript.text.done",),
    usage=(_NEWER_USAGE, _OPENAI_USAGE),
)
SPEECH = Shape(
    kind=("/type",),
    token_kinds=("speech.audio.delta",),
    end_kinds=("speech.audio.done",),
    usage=(_NEWER_USAGE,),
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
    usage=(
        Usage(
            ("/response/usage", "/usage"),
            ("input_tokens",),
            ("output_tokens",),
            ("input_token_details/cached_tokens", "input_tokens_details/cached_tokens"),
        ),
        _OPENAI_USAGE,
    ),
)
INPUT_ONLY = Shape(usage=(Usage(("/usage",), ("prompt_tokens",)),))
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

_CACHED = "cache_read_input_tokens"
ANTHROPIC_USAGE = (
    Usage(("/usage", "/message/usage"), ("input_tokens", _CACHED, "cache_creation_input_tokens"), (), (_CACHED,)),
    Usage(("/usage",), (), ("output_tokens",)),  # message_start's is no more than a beginning
)
ANTHROPIC = Shape(
    kind=("/type",),
    tokens=("/delta/text", "/delta/thinking", "/delta/partial_json", "/delta/signature", "/delta/citation"),
    token_kinds=("content_block_delta",),
    end_kinds=("message_stop",),
    usage=ANTHROPIC_USAGE,
)
ANTHROPIC_COMPLETE = Shape(tokens=("/completion",), ends=("/stop_reason",))

GEMINI = Shape(
    tokens=tuple(
        f"/candidates/*/content/parts/*/{name}"
        for name in ("text", "functionCall", "inlineData", "executableCode", "codeExecutionResult")
    ),
    marked=False,
    usage=(
        Usage(
            ("/usageMetadata",),
            ("promptTokenCount", "toolUsePromptTokenCount"),
            ("candidatesTokenCount", "thoughtsTokenCount"),
            ("cachedContentTokenCount",),
        ),
    ),
)

COHERE = Shape(  # v2's kinds and v1's don't meet
    kind=("/type", "/event_type"),
    tokens=(
        *("/delta/message/content/text", "/delta/message/content/thinking"),
        *("/delta/message/tool_plan", "/delta/message/tool_calls"),
        *("/text", "/tool_call_delta"),
    ),
    token_kinds=(
        *("content-delta", "tool-plan-delta", "tool-call-start", "tool-call-delta"),
        *("text-generation", "tool-calls-chunk", ""),
    ),
    end_kinds=("message-end", "stream-end"),
    ends=("/is_finished",),
    errors=("/error", "/delta/error"),
    usage=(
        Usage(
            ("/usage", "/delta/usage", "/meta", "/response/meta"),
            ("tokens/input_tokens",),
            ("tokens/output_tokens",),
            ("cached_tokens",),
        ),
        Usage(("/meta",), ("billed_units/input_tokens",), ("billed_units/output_tokens",)),
    ),
)

_CONVERSE_USAGE = Usage(
    ("/usage", "/metadata/usage"),
    ("inputTokens", "cacheReadInputTokens", "cacheWriteInputTokens"),
    ("outputTokens",),
    ("cacheReadInputTokens",),
)
CONVERSE = Shape(
    tokens=("/delta/text", "/delta/toolUse", "/delta/reasoningContent"),
    token_kinds=("contentBlockDelta",),
    end_kinds=("metadata",),
    last_kinds=("messageStop",),
    usage=(_CONVERSE_USAGE,),
)

_GENERATED = (
    Usage(("/details",), (), ("generated_tokens",)),
    Usage(("/meta_info",), ("prompt_tokens",), ("completion_tokens",), ("cached_tokens",)),
)
GENERATE = Shape(  # TGI's keys and SGLang's don't meet
    tokens=("/token", "/text", "/output_ids"),
    ends=("/generated_text",),
    usage=_GENERATED,
    headers=("x-prompt-tokens", "x-generated-tokens"),
)
TRITON = Shape(tokens=("/text_output",), marked=False)

_OLLAMA_USAGE = Usage(("",), ("prompt_eval_count",), ("eval_count",))
OLLAMA_CHAT = Shape(
    tokens=("/message/content", "/message/thinking", "/message/tool_calls"), ends=("/done",), usage=(_OLLAMA_USAGE,)
)
OLLAMA_GENERATE = Shape(tokens=("/response", "/thinking"), ends=("/done",), usage=(_OLLAMA_USAGE,))
OLLAMA_EMBED = Shape(usage=(_OLLAMA_USAGE,))

_METRICS = "amazon-bedrock-invocationMetrics"
ANY = Shape(
    tokens=(
        *(*CHAT.tokens, *COMPLETION.tokens, *ANTHROPIC.tokens, *GEMINI.tokens, *GENERATE.tokens, *TRITON.tokens),
        *("/delta", "/completion", "/generation", "/outputText", "/outputs/*/text", "/contentBlockDelta/delta"),
    ),
    end_kinds=("message_stop", "response.completed"),
    ends=(f"/{_METRICS}", "/generated_text"),
    marked=False,
    usage=(
        Usage(
            (f"/{_METRICS}",),
            ("inputTokenCount", "cacheReadInputTokenCount", "cacheWriteInputTokenCount"),
            ("outputTokenCount",),
            ("cacheReadInputTokenCount",),
        ),
        *(_OPENAI_USAGE, *ANTHROPIC_USAGE, *GEMINI.usage, _CONVERSE_USAGE, *_GENERATED),
    ),
)
"""Where any model may stand behind one path: what the APIs above have, and what models on Bedrock have of their own."""
_INVOKE = msgspec.structs.replace(
    ANY, headers=("x-amzn-bedrock-input-token-count", "x-amzn-bedrock-output-token-count")
)

VLLM_GRPC = Message(tokens=("1.1",), ends=("2",), input=("1.2", "2.3"), output=("1.3", "2.4"), cached=("1.4", "2.5"))
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
    **{("cohere", name): COHERE for name in ("chat", "generate", "embed", "rerank", "classify")},
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
