"""Ray Serve's multiplexed models: any path of an application, with the model in a header.

Source: Ray Serve's documentation, "Model Multiplexing".
"""

from __future__ import annotations

from extproc.apis.any_model import ANY_MODEL
from extproc.apis.row import ANY_PATH, Row

_NOTE = "any path that no other row has; many proxies drop headers with an underscore unless told not to"

ROWS = tuple(
    Row(method=method, path=ANY_PATH, api="ray", operation="multiplexed", header=header, note=_NOTE)
    for header in ("ray_serve_multiplexed_model_id", "serve_multiplexed_model_id")
    for method in ("POST", "GET")
)

ANSWERS = {"multiplexed": ANY_MODEL}
