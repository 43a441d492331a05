"""``docs/linkerd-lint.md``, made from the rules."""

from __future__ import annotations

from textwrap import dedent

from extproc.lint.findings import table
from linkerd_adapter.lint import RULES

SUBJECTS = {
    "0": "Reading, fields and limits",
    "1": "Parents: to what a route is attached",
    "2": "Matches: which requests a rule takes",
    "3": "Filters",
    "4": "Backends and weights",
    "5": "What keeps Linkerd from looking at routes",
    "6": "Timeouts, retries, circuit breaking",
    "7": "What a live route's status tells",
}
"""By the first digit of their codes."""

HEAD = dedent("""\
    # `linkerd-adapter lint`

    <!-- made by `make docs` from linkerd_adapter/lint: edit the rules there -->

    Linkerd takes HTTPRoutes, GRPCRoutes and Services that the API server accepts, and then does something else with
    some of them than their authors mean: it ignores the route, voids it, sends 500, or cuts streams off, and often no
    status says so. This looks for every such trap that is known to us, before anything is applied:

    ```
    linkerd-adapter lint routes.yaml services.yaml
    linkerd-adapter lint manifests/ --json | jq '.findings[].code'
    kubectl get httproutes,grpcroutes,services,serviceprofiles,endpointslices -A -o yaml | linkerd-adapter lint -
    ```

    Files, directories of `*.yaml` and `-` for stdin; YAML or JSON, several documents, `List`s. What is given together
    is judged together: a route can be held against its Services only where they are there, too. Routes of Gateways are
    none of Linkerd's and are left alone, but for their being counted.

    Each finding has a file, a line, a code that stays, what is wrong and what to do. Exit status 1 where there is an
    error; warnings alone exit with 0. Codes refer to Linkerd 2.20 (edge-26.8.3) and the Gateway API fields of 1.2.1.
    """)
TAIL = dedent("""\
    ## What no manifest can tell

    - Request bodies over 64 KiB are never retried, whatever `retry.linkerd.io/*` says: long prompts are such bodies.
    - A client that dials pod addresses (Envoy's EDS, a headless Service), that speaks TLS itself, or that isn't meshed
      gets no routes at all. Linkerd finds a route by the ClusterIP and port that the client dials.
    - A route in another namespace than its Service's counts for clients in its own namespace only. That may be meant.
    - A backend whose pods are not ready is skipped, but not quietly: requests drawn to it wait 3 s and get 504, some
      each time that it has idled. Only EndpointSlices tell, where they are given, too.
    - A port with `appProtocol: kubernetes.io/h2c` takes HTTP/2 alone: clients that speak HTTP/1.1 are reset.
    - A ServiceProfile that comes while clients are at work masks routes later: once their discovery has idled.
    - Linkerd writes no `observedGeneration`: a status may be about an older version of the route.
    - Behind a gateway, backends see the gateway's ServiceAccount: an AuthorizationPolicy must allow that one.
    """)


def markdown() -> str:
    """The whole page."""
    parts = [HEAD]
    for digit, subject in SUBJECTS.items():
        rules = [rule for rule in RULES if rule.code.removeprefix("LNK").startswith(digit)]
        parts.append(f"## {subject}\n\n{table(rules)}")
    return "\n".join([*parts, TAIL])
