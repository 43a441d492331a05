"""`make istioctl`: builds istioctl and holds every Istio manifest against it. 1 where it finds fault with one."""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.house.tree import ROOT
from tests.istioctl.judge import POLICIES, CannotBuild, build, checked_in, find, judged, rendered


def main() -> int:
    """Prints a line for each manifest. 0 also where there can be no istioctl: the line says why."""
    try:
        istioctl = find() or build()
    except CannotBuild as error:
        print(f"istioctl did not run: {error}")
        return 0
    wrong = 0
    with TemporaryDirectory() as directory:
        fresh = (path for policy in POLICIES for path in rendered(policy, Path(directory)))
        for path in (*checked_in(), *fresh):
            said = judged(istioctl, path)
            name = path.relative_to(ROOT) if path.is_relative_to(ROOT) else f"rendered {path.stem}"
            print("\n".join([f"{'wrong' if said else 'ok'}: {name}", *said]), flush=True)
            wrong += bool(said)
    print(f"{istioctl}: {wrong} wrong" if wrong else f"{istioctl}: content with all of them")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
