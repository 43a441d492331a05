"""What routes change in requests on their way to a target: host and path."""

from __future__ import annotations

import re

from extproc.policy.target import Target
from extproc.render.document import Doc


def literal(text: str) -> str:
    """A regular expression that matches ``text`` only. RE2 rejects a backslash before some characters."""
    return re.sub(r"[^A-Za-z0-9_%/:@=,~-]", lambda m: f"[{m[0]}]" if m[0] not in "^[]\\" else f"\\{m[0]}", text)


def rewriting(target: Target, *, grpc: bool) -> Doc:
    """Fields of the route to ``target`` that change the request's host, which is the server's own where TLS is spoken,
    and its path; gRPC's paths name services, and are never changed.
    """
    found: Doc = {"auto_host_rewrite": True} if target.upstream.tls else {}
    if (path := target.upstream.path_rewrite) and not grpc:
        pattern = {"regex": f"^{literal(path.prefix)}/"}
        found["regex_rewrite"] = {"pattern": pattern, "substitution": f"{path.replacement}/"}
    return found


def split(shares: list[tuple[Target, int]], *, grpc: bool) -> list[tuple[Doc, list[tuple[Target, int]]]]:
    """The shares of each route, and the condition by which it gets them.

    One route rewrites in one way. Envoy draws one number for each request, to which it compares the fraction of every
    route, so that fractions add up from one to the next.
    """
    if all(rewriting(target, grpc=grpc) == rewriting(shares[0][0], grpc=grpc) for target, _ in shares):
        return [({}, shares)]
    total, sum_, found = sum(weight for _, weight in shares), 0, []
    for target, weight in shares:
        sum_ += weight
        fraction = {"numerator": round(sum_ * 1_000_000 / total), "denominator": "MILLION"}
        found.append(({"runtime_fraction": {"default_value": fraction}} if sum_ < total else {}, [(target, 1)]))
    return found
