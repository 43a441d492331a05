"""The same users by REST and by gRPC, with Triton's official clients: ``python mlserver_calls.py HOST:PORT USERS``.

Prints a line of JSON for each user: which version answered by which protocol. Run by ``tests.clients.mlserver``, never
imported.
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any


def asked(protocol: str, address: str, user: str) -> str:
    """The version that the server's own answer names."""
    module: Any = importlib.import_module(f"tritonclient.{protocol}")
    tensor = module.InferInput("x", [1], "INT32")
    zeros = importlib.import_module("numpy").zeros(1, "int32")
    tensor.set_data_from_numpy(zeros, **({"binary_data": False} if protocol == "http" else {}))
    with module.InferenceServerClient(address) as client:
        response = client.infer("m", [tensor], headers={"x-user-id": user}).get_response()
    return str(response["model_version"] if protocol == "http" else response.model_version)


for number in range(int(sys.argv[2])):
    versions = {protocol: asked(protocol, sys.argv[1], f"u{number}") for protocol in ("http", "grpc")}
    print(json.dumps(versions), flush=True)
