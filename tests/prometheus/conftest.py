"""Rules in the real promtool: series go in, what is recorded and which alerts fire comes out."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from extproc.policy.snapshot import Snapshot
from extproc.render.document import to_yaml
from extproc.render.prometheus.rule_groups import rule_groups
from extproc.render.source_names import Source

STEP = 30
"""Seconds between evaluations, as the rules want it."""

Judge = Callable[..., None]


@pytest.fixture(scope="session")
def promtool() -> str:
    """Its path."""
    return _program("promtool")


@pytest.fixture(scope="session")
def prometheus_program() -> str:
    """Its path."""
    return _program("prometheus")


def _program(name: str) -> str:
    if found := shutil.which(name):
        return found
    pytest.skip(f"{name} is not installed; on Debian: apt-get install prometheus")


def rule_file(path: Path, snapshot: Snapshot, source: Source) -> Path:
    """The rules of ``view`` as a file in the directory ``path``."""
    file = path / f"{source}.rules.yaml"
    file.write_text(to_yaml({"groups": rule_groups(snapshot, source)}))
    return file


@pytest.fixture
def judge(promtool: str, tmp_path: Path) -> Judge:
    """Feeds series to the rules of a view, and holds what comes of it against ``expected``.

    ``series``: values by selector, in promtool's notation, one each 30 s. ``expected``: by expression, evaluated at
    ``after``, the value of each result by its labels; values are compared to four digits.
    """

    def check(
        snapshot: Snapshot,
        source: Source,
        series: Mapping[str, str],
        after: str,
        expected: Mapping[str, Mapping[str, float]],
        alerts: list[dict[str, Any]] | None = None,
    ) -> None:
        test = {
            "interval": f"{STEP}s",
            "input_series": [{"series": name, "values": values} for name, values in series.items()],
            "promql_expr_test": [
                {
                    "expr": f"round({expr}, 0.0001)",
                    "eval_time": after,
                    "exp_samples": [{"labels": labels, "value": value} for labels, value in samples.items()],
                }
                for expr, samples in expected.items()
            ],
            "alert_rule_test": alerts or [],
        }
        rules = rule_file(tmp_path, snapshot, source)
        file = tmp_path / "test.yaml"
        file.write_text(
            yaml.safe_dump({"rule_files": [str(rules)], "evaluation_interval": f"{STEP}s", "tests": [test]})
        )
        ran = subprocess.run([promtool, "test", "rules", str(file)], capture_output=True, text=True, timeout=50)
        assert ran.returncode == 0, ran.stdout + ran.stderr

    return check


def steady(per_second: float, seconds: int, start: float = 0) -> str:
    """A counter that grows evenly, in promtool's notation."""
    return f"{start:g}+{per_second * STEP:g}x{seconds // STEP}"
