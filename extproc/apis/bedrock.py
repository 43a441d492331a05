"""Amazon Bedrock's runtime.

The path tells the model, an identifier or an ARN with ``%3A`` and ``%2F`` for its colons and slashes; what is started
to be fetched later has it in the body. Source: the Amazon Bedrock API reference, "Amazon Bedrock Runtime".
"""

from __future__ import annotations

import msgspec

from extproc.apis.answer_shape import AnswerShape
from extproc.apis.any_model import AMAZON_USAGE, ANY_MODEL
from extproc.apis.error_shape import MESSAGE, ErrorShape
from extproc.apis.row import Row
from extproc.bodies.json_reader import JsonReader

_STREAMING = ("invoke-with-response-stream", "invoke-with-bidirectional-stream", "converse-stream")

ROWS = (
    *(
        Row(path=f"/model/{{model}}/{action}", api="bedrock", operation=action, stream=action in _STREAMING)
        for action in ("invoke", "converse", "count-tokens", *_STREAMING)
    ),
    Row(
        path="/async-invoke",
        api="bedrock",
        operation="async-invoke",
        reader=JsonReader(model="modelId", stream=""),
        stateful=True,
    ),
    *(
        Row(method="GET", path=f"/async-invoke{path}", api="bedrock", operation=f"async-invoke{call}", stateful=True)
        for path, call in (("", ".list"), ("/{*}", ".retrieve"))
    ),
)

_CONVERSE_ANSWER = AnswerShape(
    output=("/delta/text", "/delta/toolUse", "/delta/reasoningContent", "/delta/image", "/start/toolUse"),
    output_kinds=("contentBlockStart", "contentBlockDelta"),
    end_kinds=("metadata",),
    finish_kinds=("messageStop",),
    usage=(AMAZON_USAGE,),
)
_INVOKE_ANSWER = msgspec.structs.replace(
    ANY_MODEL, usage_headers=("x-amzn-bedrock-input-token-count", "x-amzn-bedrock-output-token-count")
)
ANSWERS = {
    "converse": _CONVERSE_ANSWER,
    "converse-stream": _CONVERSE_ANSWER,
    "invoke": _INVOKE_ANSWER,
    "invoke-with-response-stream": msgspec.structs.replace(_INVOKE_ANSWER, payload="base64"),
}

_ERROR = ErrorShape(
    document={"message": MESSAGE},
    kinds={
        400: "ValidationException",
        404: "ResourceNotFoundException",
        408: "ModelTimeoutException",
        429: "ThrottlingException",
        500: "InternalServerException",
        503: "ServiceUnavailableException",
        504: "ModelTimeoutException",
    },
    header="x-amzn-errortype",
)
ERRORS = {"": _ERROR}
