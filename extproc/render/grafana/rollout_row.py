"""The dashboard's row of rollouts, there if some policy has one."""

from __future__ import annotations

from extproc.render.document import Doc
from extproc.render.grafana.panel_layout import Row
from extproc.render.grafana.panels import time_series

_CHOSEN = 'policy=~"$policy", version=~"$version"'


def rollout_row() -> Row:
    """How far rollouts are, and what their guards say."""

    def panel(title: str, text: str, unit: str, metric: str, *more: str, **axis: float) -> Doc:
        by = ("policy", "version", *more)
        query = f"max by ({', '.join(by)}) ({metric}{{{_CHOSEN}}})"
        return time_series(title, text, unit, (query, " ".join(f"{{{{{label}}}}}" for label in by)), width=6, **axis)

    verdict = "1: it holds; 0: not known yet; -1: it is broken."
    return Row(
        "Rollouts",
        [
            panel(
                "New version's share", "Of what weights distribute.", "percent", "inference_rollout_step", max_value=100
            ),
            panel("Guards", verdict, "short", "inference_rollout_verdict", "guard", min_value=-1, max_value=1),
            panel("Phase", "1: it is in this one.", "short", "inference_rollout_phase", "phase", max_value=1),
            panel("Faults", "1: the last look at it failed.", "short", "inference_rollout_fault", max_value=1),
        ],
    )
