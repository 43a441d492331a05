"""A Grafana dashboard from policies, on the series that ``render.prometheus`` records: the same for every source.

There are rows for canaries and objectives if some policy has them. Only heatmaps and the processor's row query raw
metrics, which the processor exports itself, and the rows of stages those of their proxies.
"""

from __future__ import annotations

from collections.abc import Sequence

from extproc.policy.snapshot import Snapshot
from extproc.render.document import Doc
from extproc.render.grafana.panel_layout import Row, layout
from extproc.render.grafana.panels import DATASOURCE, heatmap, stat, time_series
from extproc.render.grafana.rollout_row import rollout_row
from extproc.render.grafana.stage_rows import stage_rows
from extproc.render.prometheus import golden_rules as golden
from extproc.render.prometheus import slo_rules as slo
from extproc.render.prometheus.canary_rules import RATIO
from extproc.render.source_names import Proxies

UID = "aimesh-inference"
SCHEMA = 42
"""Version of the dashboard JSON model: that of Grafana 12 and 13; newer ones migrate it."""

VARIABLES = {"policy": "policy", "model": "model", "version": "version", "pool": "gpu_pool"}
"""The dashboard's variables, and the label that each selects."""

_ALL_VARIABLES = ", ".join(f'{label}=~"${name}"' for name, label in VARIABLES.items())
_VERSION = 'policy=~"$policy", version=~"$version"'
_MODEL = 'policy=~"$policy", model=~"$model", version=~"$version"'
_RAW_VARIABLES = 'model=~"$model", version=~"$version", gpu_pool=~"$pool"'
_VERSION_LEGEND = "{{model}} {{version}}"
_POOL_LEGEND = "{{model}} {{version}} {{gpu_pool}}"
_GREEN = ("green", None)


def dashboard(snapshot: Snapshot, stages: Sequence[str] = (), proxies: Proxies = "istio") -> Doc:
    """The dashboard as plain data, to be imported or provisioned. ``stages``: services of the pipeline around the
    models, each for a row, by the series of these ``proxies``.
    """
    rows = [_golden(), _tokens()]
    if any(len(policy.answering) > 1 for policy in snapshot.policies):
        rows.insert(1, _canaries())
    if any(policy.rollout for policy in snapshot.policies):
        rows.insert(1, rollout_row())
    if any(policy.slo for policy in snapshot.policies):
        rows.insert(1, _objectives(snapshot))
    if any(pool.metrics_type for pool in snapshot.pools):
        rows.append(_pools())
    return {
        "uid": UID,
        "title": "Inference by model version",
        "description": "Success, rate, latency, tokens and error budgets. Made by `extproc render dashboard`.",
        "tags": ["aimesh", "inference"],
        "schemaVersion": SCHEMA,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": [_datasource(), *(_variable(name, label) for name, label in VARIABLES.items())]},
        "annotations": {"list": [_alerts()]},
        "panels": layout([*rows, *stage_rows(stages, proxies), _processor()]),
    }


def _datasource() -> Doc:
    return {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus", "current": {}}


def _variable(name: str, label: str) -> Doc:
    """A query variable with the label's recorded values. "All" matches series without the label too (Linkerd's)."""
    earlier = list(VARIABLES)[: list(VARIABLES).index(name)]
    chosen = ", ".join(f'{VARIABLES[one]}=~"${one}"' for one in earlier)
    query = f"label_values({golden.REQUESTS}{{{chosen}}}, {label})"
    return {
        "name": name,
        "label": name.capitalize(),
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": query, "refId": f"variable-{name}", "qryType": 1},
        "includeAll": True,
        "allValue": ".*",
        "multi": True,
        "refresh": 2,
        "sort": 1,
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def _alerts() -> Doc:
    return {
        "name": "Alerts",
        "datasource": DATASOURCE,
        "enable": True,
        "iconColor": "red",
        "expr": 'ALERTS{alertname=~"Inference.+", alertstate="firing"}',
        "titleFormat": "{{alertname}}",
        "textFormat": "{{policy}} {{version}}",
        "step": "60s",
    }


def _sum(metric: str, *by: str) -> str:
    return f"sum by ({', '.join(by)}) ({metric}{{{_ALL_VARIABLES}}})" if by else f"sum({metric}{{{_ALL_VARIABLES}}})"


def _success(*by: str) -> str:
    """Computed from failures and requests: the recorded ratios can't be averaged."""
    return f"1 - {_sum(golden.FAILURES, *by)} / ({_sum(golden.REQUESTS, *by)} > 0)"


def _worst(metric: str, quantile: str) -> str:
    return f'max({metric}{{quantile="{quantile}", {_ALL_VARIABLES}}})'


def _quantiles(metric: str) -> list[tuple[str, str]]:
    return [
        (f'{metric}{{quantile="{q}", {_ALL_VARIABLES}}}', f"P{float(q) * 100:g} {_POOL_LEGEND}")
        for q in golden.QUANTILES
    ]


def _golden() -> Row:
    bad_below = (("red", None), ("orange", 0.99), ("green", 0.999))
    firing = 'count(ALERTS{alertname=~"Inference.+", alertstate="firing"}) or vector(0)'
    answered = f'sum({golden.TOKENS}{{type="output", {_ALL_VARIABLES}}})'
    version = ("model", "version")
    return Row(
        "Golden metrics",
        [
            stat("Success", "No 5xx, and no answer that broke.", "percentunit", _success(), *bad_below),
            stat("Requests", "A second, over 5 minutes.", "reqps", _sum(golden.REQUESTS), ("blue", None)),
            stat("P95 of durations", "The slowest version's.", "s", _worst(golden.DURATION, "0.95"), ("blue", None)),
            stat("P95 to first token", "The slowest version's.", "s", _worst(golden.TTFT, "0.95"), ("blue", None)),
            stat("Tokens", "Of answers, a second.", "short", answered, ("blue", None)),
            stat("Alerts", "Of all policies.", "short", firing, _GREEN, ("red", 1)),
            time_series(
                "Success", "By version.", "percentunit", (_success(*version), _VERSION_LEGEND), width=8, max_value=1
            ),
            time_series("Requests", "A second.", "reqps", (_sum(golden.REQUESTS, *version), _VERSION_LEGEND), width=8),
            time_series("Failures", "A second.", "reqps", (_sum(golden.FAILURES, *version), _VERSION_LEGEND), width=8),
            time_series("Durations", "From the request to the end of its answer.", "s", *_quantiles(golden.DURATION)),
            time_series(
                "Requests by GPU pool", "A second.", "reqps", (_sum(golden.REQUESTS, "gpu_pool"), "{{gpu_pool}}")
            ),
        ],
    )


def _canaries() -> Row:
    shares = (f"{golden.SHARE}{{{_VERSION}}}", "{{policy}} {{version}}")
    weights = (f"{golden.WEIGHT}{{{_VERSION}}}", "{{policy}} {{version}} by weight")
    text = "What versions get, beside what their weights say. Matches, pins and few users make a difference."
    failing = (f"{RATIO}{{{_VERSION}}}", "{{policy}} {{version}}")
    return Row(
        "Canaries",
        [
            time_series("Shares", text, "percentunit", shares, weights, max_value=1),
            time_series("Failing, over 30 minutes", "What the canary alert compares.", "percentunit", failing),
        ],
    )


def _tokens() -> Row:
    def buckets(metric: str) -> str:
        return f"sum by (le) (rate({metric}_bucket{{{_RAW_VARIABLES}}}[$__rate_interval]))"

    first, between = "inference_time_to_first_token_seconds", "inference_time_per_output_token_seconds"
    return Row(
        "Tokens",
        [
            time_series("Time to first token", "TTFT of streamed answers.", "s", *_quantiles(golden.TTFT)),
            heatmap("Time to first token", "By model, version and pool as chosen above.", buckets(first)),
            time_series("Time per output token", "TPOT: between two tokens.", "s", *_quantiles(golden.TPOT)),
            heatmap("Time per output token", "By model, version and pool as chosen above.", buckets(between)),
            time_series(
                "Tokens",
                "A second. Cached ones are among the input.",
                "short",
                (_sum(golden.TOKENS, "model", "version", "type"), f"{_VERSION_LEGEND} {{{{type}}}}"),
            ),
            time_series(
                "Observed",
                "Share of the answers that are read for all of this; they stand for the others.",
                "percentunit",
                (
                    f"{_sum(golden.OBSERVED, 'model', 'version')} / {_sum(golden.REQUESTS, 'model', 'version')}",
                    _VERSION_LEGEND,
                ),
                max_value=1,
            ),
        ],
    )


def _pools() -> Row:
    def by_pool(title: str, text: str, unit: str, what: str, max_value: float | None = None) -> Doc:
        query = f'avg by (gpu_pool) (inference_pool_{what}{{gpu_pool=~"$pool"}})'
        return time_series(title, text, unit, (query, "{{gpu_pool}}"), width=8, max_value=max_value)

    tokens = f'sum by (gpu_pool) ({golden.TOKENS}{{type="output", {_ALL_VARIABLES}}})'
    per_gpu = f'{tokens} / on (gpu_pool) (avg by (gpu_pool) (inference_pool_gpu_utilization{{gpu_pool=~"$pool"}}) > 0)'
    up = 'min by (policy, version, gpu_pool) (inference_target_up{policy=~"$policy", version=~"$version"})'
    return Row(
        "GPU pools",
        [
            by_pool(
                "GPU utilization",
                "Share of the time in which they were busy.",
                "percentunit",
                "gpu_utilization",
                1,
            ),
            by_pool("KV cache", "Share in use.", "percentunit", "kv_cache_usage", 1),
            by_pool("Waiting", "Requests in the queue of a server.", "short", "waiting"),
            by_pool("Free", "What requests are spread by.", "percentunit", "free", 1),
            time_series(
                "Tokens for each busy GPU-second",
                "Output tokens a second over utilization: what falls while the GPUs are busy is worth a look.",
                "short",
                (per_gpu, "{{gpu_pool}}"),
                width=8,
            ),
            time_series(
                "Reachable",
                "1 where a server of the version can be reached.",
                "short",
                (up, "{{policy}} {{version}} {{gpu_pool}}"),
                width=8,
                max_value=1,
            ),
        ],
    )


def _objectives(snapshot: Snapshot) -> Row:
    days = min(policy.slo.days for policy in snapshot.policies if policy.slo)
    what = "{{slo}} of {{model}} {{version}}"
    burning = [
        time_series(
            f"Burn rate over {alert.long}",
            "How many times as fast as it may: 1 uses up the budget exactly within the policy's window. "
            f"Beyond the line, here and over {alert.short}, somebody is paged.",
            "short",
            (f"{slo.BURN}{alert.long}{{{_MODEL}}}", what),
            width=8,
            limit=slo.factor(alert, days),
        )
        for alert in slo.ALERTS
        if alert.severity == "page"
    ]
    return Row(
        "Error budgets",
        [
            *burning,
            time_series(
                "Budget spent",
                "Of the policy's window. Beyond 100 % the promise is broken.",
                "percentunit",
                (f"{slo.SPENT}{{{_MODEL}}}", what),
                width=8,
                limit=1,
            ),
        ],
    )


def _processor() -> Row:
    def rate(metric: str, by: str) -> tuple[str, str]:
        return f"sum by ({by}) (rate({metric}[$__rate_interval]))", f"{{{{{by}}}}}"

    took = "sum by (le, phase) (rate(extproc_message_duration_seconds_bucket[$__rate_interval]))"
    errors, none = rate("extproc_errors_total", "reason")
    return Row(
        "The processor",
        [
            time_series(
                "Message durations",
                "P50 and P99 of what the processor takes for one message: on the way of every request.",
                "s",
                *((f"histogram_quantile({q}, {took})", f"P{float(q) * 100:g} {{{{phase}}}}") for q in ("0.5", "0.99")),
            ),
            time_series("Errors", "By reason.", "short", (f"{errors} or vector(0)", none)),
            time_series(
                "Unmatched", "Requests that passed on unrouted.", "reqps", rate("inference_unmatched_total", "reason")
            ),
            time_series(
                "Streams", "Open, by instance.", "short", ("sum by (instance) (extproc_streams)", "{{instance}}")
            ),
            time_series(
                "Policy",
                "Replicas whose generations stay apart have not loaded the same; restarts begin with 1 anew.",
                "short",
                ("count by (generation) (extproc_policy_info)", "processors with generation {{generation}}"),
                ("sum by (result) (increase(extproc_policy_reloads_total[1h]))", "reloads in an hour: {{result}}"),
            ),
        ],
    )
