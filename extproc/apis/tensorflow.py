"""TensorFlow Serving over REST.

The path tells the model and, as a number or a label, the version; the body is never needed. Source: TensorFlow
Serving's documentation, "RESTful API".
"""

from __future__ import annotations

from extproc.apis.error_shape import TEXT
from extproc.apis.row import Row

_VERBS = ("classify", "regress", "predict")

ROWS = (
    *(Row(path=f"/v1/models/{{model}}:{verb}", api="tensorflow", operation=verb) for verb in _VERBS[:2]),
    *(
        Row(path=f"/v1/models/{{model}}/{kind}/{{version}}:{verb}", api="tensorflow", operation=verb)
        for kind in ("versions", "labels")
        for verb in _VERBS
    ),
)

ERRORS = {"": TEXT}
