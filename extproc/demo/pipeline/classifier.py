"""A classifier of irises behind the Open Inference Protocol v2 over gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import numpy as np

from extproc._pb import oip_pb2 as oip
from extproc.demo.pipeline.stages import CLASSIFIER, Arrival, arrival

SERVICE = "inference.GRPCInferenceService"
INFER = f"/{SERVICE}/ModelInfer"
CLASSES = ("setosa", "versicolor", "virginica")
_CENTRES = np.array([[5.0, 3.4, 1.5, 0.2], [5.9, 2.8, 4.3, 1.3], [6.6, 3.0, 5.6, 2.0]])
"""Mean measures of each class."""


class Classifier:
    """Scores measures by how near they are to those of each class."""

    def __init__(self, model: str, think: float, seed: int | None = None) -> None:
        """``think``: seconds that an answer takes, about."""
        self.model = model
        self.arrivals: list[Arrival] = []
        self.endpoint = ""
        """``127.0.0.1:PORT`` while it runs."""
        self._think = think
        self._random = np.random.default_rng(seed)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serves on a free port for as long as the block lasts."""
        server = grpc.aio.server()
        infer = grpc.unary_unary_rpc_method_handler(
            self._infer, oip.ModelInferRequest.FromString, oip.ModelInferResponse.SerializeToString
        )
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, {"ModelInfer": infer})])
        self.endpoint = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        try:
            yield
        finally:
            await server.stop(0.5)

    async def _infer(
        self,
        request: oip.ModelInferRequest,
        call: grpc.aio.ServicerContext[oip.ModelInferRequest, oip.ModelInferResponse],
    ) -> oip.ModelInferResponse:
        sent = call.invocation_metadata() or ()
        self.arrivals.append(arrival(CLASSIFIER, ((str(key), str(value)) for key, value in sent)))
        if request.model_name != self.model:
            await call.abort(grpc.StatusCode.NOT_FOUND, f"model '{request.model_name}' is not found")
        await asyncio.sleep(self._think * float(self._random.lognormal(0.0, 0.12)))
        measures = np.array(request.inputs[0].contents.fp32_contents)
        scores = -np.linalg.norm(_CENTRES - measures, axis=1)
        answer = oip.ModelInferResponse(model_name=self.model, model_version="1", id=request.id)
        tensor = answer.outputs.add(name="scores", datatype="FP32", shape=[1, len(CLASSES)])
        tensor.contents.fp32_contents.extend(scores)
        return answer
