"""Calls by official SDKs, each in the environment that has them; JSON lines on stdout.

``python calls.py answered URL``: what each call shows of an answer; after each it waits for a line on stdin.
``python calls.py refused URLS``: what each raises. ``URLS``: a JSON object of base URLs by model.

Run by ``tests.clients``, never imported: the project's own environment has none of these SDKs.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Callable
from typing import Any

MESSAGES = [{"role": "user", "content": "Why?"}]
LONG_ID = "1" * 100
"""gRPC compresses no message that it would not make shorter."""
Call = Callable[[str, str], object]


def sdk(name: str) -> Any:
    """The module, whose types are not known here."""
    return importlib.import_module(name)


def openai_chat(base: str, model: str, stream: bool = False, path: str = "/v1") -> object:
    client = sdk("openai").OpenAI(base_url=base + path, api_key="k", max_retries=0)
    return list(client.chat.completions.create(model=model, messages=MESSAGES, stream=stream))


def openai_responses(base: str, model: str) -> object:
    return sdk("openai").OpenAI(base_url=base, api_key="k", max_retries=0).responses.create(model=model, input="Why?")


def azure_chat(base: str, model: str) -> object:
    client = sdk("openai").AzureOpenAI(azure_endpoint=base, api_key="k", api_version="2024-10-21", max_retries=0)
    return client.chat.completions.create(model=model, messages=MESSAGES)


def anthropic_messages(base: str, model: str, stream: bool = False) -> object:
    client = sdk("anthropic").Anthropic(base_url=base, api_key="k", max_retries=0)
    return list(client.messages.create(model=model, max_tokens=9, messages=MESSAGES, stream=stream))


def _genai(base: str) -> Any:
    genai = sdk("google.genai")
    return genai.Client(api_key="k", http_options=genai.types.HttpOptions(base_url=base))


def genai_content(base: str, model: str) -> object:
    client = _genai(base)
    return client.models.generate_content(model=model, contents="Why?")


def genai_stream(base: str, model: str) -> object:
    client = _genai(base)
    return list(client.models.generate_content_stream(model=model, contents="Why?"))


def _cohere(base: str) -> Any:
    return sdk("cohere").ClientV2(api_key="k", base_url=base)


def cohere_chat(base: str, model: str) -> object:
    return _cohere(base).chat(model=model, messages=MESSAGES, request_options={"max_retries": 0})


def cohere_stream(base: str, model: str) -> object:
    return list(_cohere(base).chat_stream(model=model, messages=MESSAGES, request_options={"max_retries": 0}))


def ollama_chat(base: str, model: str, stream: bool = False) -> object:
    return list(sdk("ollama").Client(host=base).chat(model=model, messages=MESSAGES, stream=stream))


def _mistral(base: str) -> Any:
    try:
        made = sdk("mistralai.client").Mistral
    except (ImportError, AttributeError):
        made = sdk("mistralai").Mistral
    return made(api_key="k", server_url=base)


def mistral_chat(base: str, model: str) -> object:
    return _mistral(base).chat.complete(model=model, messages=MESSAGES, retries=None)


def mistral_fim_stream(base: str, model: str) -> object:
    return list(_mistral(base).fim.stream(model=model, prompt="def f"))


def _boto(service: str, base: str) -> Any:
    keys = {"aws_access_key_id": "k", "aws_secret_access_key": "k", "region_name": "us-east-1"}
    config = sdk("botocore.config").Config(retries={"total_max_attempts": 1})
    return sdk("boto3").client(service, endpoint_url=base, config=config, **keys)


def bedrock_converse(base: str, model: str, stream: bool = False) -> object:
    client = _boto("bedrock-runtime", base)
    called = client.converse_stream if stream else client.converse
    return called(modelId=model, messages=[{"role": "user", "content": [{"text": "Why?"}]}])


def sagemaker_invoke(base: str, model: str) -> object:
    return _boto("sagemaker-runtime", base).invoke_endpoint(EndpointName=model, Body=b"{}")


def triton_infer(base: str, model: str) -> object:
    http = sdk("tritonclient.http")
    tensor = http.InferInput("x", [1], "INT32")
    tensor.set_data_from_numpy(sdk("numpy").zeros(1, "int32"))
    return http.InferenceServerClient(base.removeprefix("http://")).infer(model, [tensor])


def triton_grpc_infer(base: str, model: str) -> object:
    grpc = sdk("tritonclient.grpc")
    tensor = grpc.InferInput("x", [1], "INT32")
    tensor.set_data_from_numpy(sdk("numpy").zeros(1, "int32"))
    client = grpc.InferenceServerClient(base.removeprefix("http://"))
    return client.infer(model, [tensor], request_id=LONG_ID, compression_algorithm="gzip")


class Told(Exception):  # noqa: N818
    """A gRPC status with the names of its details."""

    def __init__(self, shown: str, message: str, again: str) -> None:
        super().__init__(message)
        self.shown, self.again = shown, again


def grpc_status(base: str, model: str) -> object:
    grpc, message = sdk("grpc"), b"\x0a" + bytes([len(model)]) + model.encode()
    message += b"\x1a" + bytes([len(LONG_ID)]) + LONG_ID.encode()
    with grpc.insecure_channel(base.removeprefix("http://")) as channel:
        try:
            call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
            return call(message, compression=grpc.Compression.Gzip)
        except grpc.RpcError as error:
            status = sdk("grpc_status.rpc_status").from_call(error)
            kinds = [detail.type_url.rpartition(".")[2] for detail in status.details]
            again = sdk("google.rpc.error_details_pb2").RetryInfo()
            waits = any(detail.Unpack(again) for detail in status.details)
            shown = f"{error.code().name}, {', '.join(kinds)}"
            raise Told(shown, status.message, str(again.retry_delay.seconds) if waits else "") from error


def _hugging_face(base: str) -> Any:
    return sdk("huggingface_hub").InferenceClient(base_url=base, api_key="k")


def hugging_face_chat(base: str, model: str, stream: bool = False) -> object:
    client = _hugging_face(f"{base}/v1")  # which closes its streams when it goes
    made = client.chat_completion(MESSAGES, model=model, stream=stream)
    return list(made) if stream else made


def hugging_face_text(base: str, _: str, stream: bool = False) -> object:
    client = _hugging_face(base)
    made = client.text_generation("Why?", stream=stream)
    return list(made) if stream else made


def hugging_face_embeddings(base: str, _: str) -> object:
    return _hugging_face(base).feature_extraction("Why?")


CALLS: dict[str, Call] = {
    "openai chat.completions": openai_chat,
    "openai chat.completions, streamed": lambda base, model: openai_chat(base, model, stream=True),
    "openai chat.completions, no /v1": lambda base, model: openai_chat(base, model, path=""),
    "openai responses, no /v1": openai_responses,
    "openai (Azure) chat.completions": azure_chat,
    "anthropic messages": anthropic_messages,
    "anthropic messages, streamed": lambda base, model: anthropic_messages(base, model, stream=True),
    "google-genai generate_content": genai_content,
    "google-genai generate_content_stream": genai_stream,
    "cohere chat": cohere_chat,
    "cohere chat_stream": cohere_stream,
    "ollama chat": ollama_chat,
    "ollama chat, streamed": lambda base, model: ollama_chat(base, model, stream=True),
    "mistralai chat.complete": mistral_chat,
    "mistralai fim.stream": mistral_fim_stream,
    "boto3 bedrock converse": bedrock_converse,
    "boto3 bedrock converse_stream": lambda base, model: bedrock_converse(base, model, stream=True),
    "boto3 sagemaker invoke_endpoint": sagemaker_invoke,
    "tritonclient http infer": triton_infer,
    "tritonclient grpc infer": triton_grpc_infer,
    "grpcio-status ModelInfer": grpc_status,
    "huggingface_hub chat_completion": hugging_face_chat,
    "huggingface_hub chat_completion, streamed": lambda base, model: hugging_face_chat(base, model, stream=True),
    "huggingface_hub text_generation": hugging_face_text,
    "huggingface_hub text_generation, streamed": lambda base, model: hugging_face_text(base, model, stream=True),
    "huggingface_hub feature_extraction": hugging_face_embeddings,
}
UNNAMED = ("huggingface_hub text_generation", "huggingface_hub feature_extraction")
"""Beginnings of the names of calls that name no model, by a path that others have too."""
NAMED = ("unowned", "malformed", "large")
"""Where such calls are not refused, since what can't be read there may be anybody's."""


INPUT = "prompt_tokens|input_tokens|prompt_token_count|inputTokens|prompt_eval_count"
OUTPUT = "completion_tokens|output_tokens|candidates_token_count|outputTokens|eval_count"
"""Names of token counts in what SDKs show."""


def retry_after(error: Exception) -> str:
    """What the exception shows of when to come again; empty where it shows nothing."""
    if isinstance(error, Told):
        return error.again
    for one in (error, error.__cause__):
        response = getattr(one, "response", None)
        headers = getattr(response, "headers", None) or getattr(one, "headers", None) or {}
        if isinstance(response, dict):  # boto3
            headers = response["ResponseMetadata"]["HTTPHeaders"]
        if found := headers.get("retry-after"):
            return str(found)
    return ""


def shown(result: Any) -> str:
    """What an SDK made of an answer, as text."""
    if isinstance(result, bytes):
        return result.decode(errors="replace")
    if isinstance(result, dict):  # boto3
        lazy = {"body", "Body", "stream"} & result.keys()
        return str(dict(result) | {key: shown(result[key]) for key in lazy})
    if type(result).__name__ == "EventStream":
        return str(list(result))
    if hasattr(result, "get_response"):  # tritonclient
        return str(result.get_response())
    return shown(result.read()) if hasattr(result, "read") else str(result)


def _tokens(text: str, names: str) -> int | None:
    """The last number with one of these names."""
    found = re.findall(rf"\b(?:{names})['\"]?[=:,] ?([0-9]+)", text)
    return int(found[-1]) if found else None


def answered(url: str) -> None:
    """Makes every call and prints what came of it."""
    for name, call in CALLS.items():
        found: dict[str, object] = {"call": name, "error": "", "text": "", "tokens": [None, None]}
        try:
            found["text"] = text = shown(call(url, "any"))
            found["tokens"] = [_tokens(text, INPUT), _tokens(text, OUTPUT)]
        except ImportError as error:
            found["skipped"] = str(error)
        except Exception as error:
            found["error"] = f"{type(error).__name__}: {error}"
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()
        sys.stdin.readline()


def refused(urls: dict[str, str]) -> None:
    """Makes every call and prints what it raised."""
    for name, call in CALLS.items():
        for model, url in urls.items():
            found = {"call": name, "model": model, "class": "", "message": "", "again": ""}
            if model in NAMED and name.startswith(UNNAMED):
                continue
            try:
                call(url, model)
            except ImportError as error:
                found["skipped"] = str(error)
            except Exception as error:
                found["class"] = getattr(error, "shown", type(error).__name__)
                found["again"] = retry_after(error)
                found["message"] = str(getattr(error, "body", None) or "") + " " + str(error)
            sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    if sys.argv[1] == "answered":
        answered(sys.argv[2])
    else:
        refused(json.loads(sys.argv[2]))
