"""TensorFlow Serving over gRPC.

``model_spec`` names the model, and its version by number or by label. Source: tensorflow_serving/apis, model.proto and
prediction_service.proto.
"""

from __future__ import annotations

from extproc.apis.error_shape import TEXT
from extproc.apis.row import Row
from extproc.bodies.grpc_message import GrpcReader

_SERVICE = "/tensorflow.serving.PredictionService/"
ONE = GrpcReader(model="1.1", version_number="1.2.1", version="1.4")
MANY = GrpcReader(model="1.1.1", version_number="1.1.2.1", version="1.1.4")
"""Tasks on one input, each with its ``model_spec``: the server wants the same model in all of them."""

ROWS = (
    Row(path=_SERVICE + "Predict", api="tensorflow", operation="predict", reader=ONE, note="gRPC"),
    Row(path=_SERVICE + "Classify", api="tensorflow", operation="classify", reader=ONE, note="gRPC"),
    Row(path=_SERVICE + "Regress", api="tensorflow", operation="regress", reader=ONE, note="gRPC"),
    Row(path=_SERVICE + "MultiInference", api="tensorflow", operation="multi_inference", reader=MANY, note="gRPC"),
)

ERRORS = {"": TEXT}
