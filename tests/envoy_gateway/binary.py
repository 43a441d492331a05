"""Envoy Gateway's program: found in a cache outside the tree, or built into it from Go's module proxy."""

from __future__ import annotations

from pathlib import Path

from tests import go_program

NAME = "envoy-gateway"
PACKAGE = "github.com/envoyproxy/gateway/cmd/envoy-gateway@v1.9.1"


def find() -> Path | None:
    """The program of an earlier build."""
    return go_program.built(NAME)


def build() -> Path:
    """Builds it: ten minutes to half an hour on two cores. Raises ``CannotBuild``."""
    return go_program.build(NAME, PACKAGE, "Go is at https://go.dev/dl")
