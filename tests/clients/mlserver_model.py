"""A model for MLServer that tells its version and nothing else. Copied to where MLServer looks; never imported here."""

from __future__ import annotations

import importlib
from typing import Any

types = importlib.import_module("mlserver.types")


class Versioned(importlib.import_module("mlserver").MLModel):  # type: ignore[misc]
    """Any input, one number."""

    async def predict(self, payload: Any) -> Any:  # noqa: ARG002 - as MLServer calls it
        """The version is in the answer's ``model_version``."""
        outputs = [types.ResponseOutput(name="y", shape=[1], datatype="INT32", data=[1])]
        return types.InferenceResponse(model_name=self.name, model_version=self.version, outputs=outputs)
