"""`make helm`: builds helm where there is none, for the tests of the chart."""

from __future__ import annotations

from tests.charts.helm import build, find
from tests.go_program import CannotBuild

if __name__ == "__main__":
    try:
        print(find() or build())
    except CannotBuild as error:
        print(f"no helm: {error}")
