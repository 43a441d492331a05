"""``python -m tests.mutants``: do a module's own tests notice a mistake in it.

Small mistakes (``<`` for ``<=``, a condition negated, a statement left out) are planted one at a time, a sample of them
chosen by seed, and the unit test of the module's own name is run. Mistakes that change nothing that a caller can see
stand in ``equivalent.toml``, each with the reason, and do not count.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from queue import SimpleQueue
from random import Random
from tempfile import TemporaryDirectory

from tests.mutants.mistakes import Mistake, Site, known_equivalents, mistake_at, sites
from tests.mutants.trial import TreeCopy

PACKAGES = ("policy", "exchange", "answers", "bodies", "http2", "route_selection", "policy_controller")
WANTED = 0.95
"""Share of the mistakes that must be noticed."""


def main() -> int:
    """The exit status: 0 where enough were noticed."""
    parser = argparse.ArgumentParser(prog="tests.mutants", description=__doc__, formatter_class=argparse.HelpFormatter)
    parser.add_argument("--sample", type=int, default=150, metavar="N", help="mistakes to try (%(default)s); 0: all")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of the sample (%(default)s)")
    parser.add_argument("--only", default="", metavar="TEXT", help="modules whose name has this in it")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), metavar="N")
    parser.add_argument("--json", action="store_true", help="the result as JSON on stdout")
    arguments = parser.parse_args()
    found = [site for package in PACKAGES for site in sites(package, arguments.only)]
    tried = chosen(found, arguments.sample or len(found), Random(arguments.seed))
    if not tried:
        parser.error(f"no module's name has {arguments.only!r} in it")
    lived = survivors(tried, arguments.jobs)
    share = 1 - len(lived) / len(tried)
    report(tried, lived, share, as_json=arguments.json)
    return 0 if share >= WANTED else 1


def chosen(found: list[Site], sample: int, random: Random) -> list[Mistake]:
    """So many mistakes, each another one and none that is known to change nothing."""
    equivalent = known_equivalents()
    picked: dict[tuple[str, str, str], Mistake] = {}
    for site in random.sample(found, len(found)):
        mistake = mistake_at(site)
        if mistake is not None and mistake.key not in equivalent:
            picked[mistake.key] = mistake
        if len(picked) == sample:
            break
    return list(picked.values())


def survivors(tried: list[Mistake], jobs: int) -> list[Mistake]:
    """Those that no test noticed, in the order of their modules; each job has a copy of the tree of its own."""
    with ExitStack() as stack:
        copies: SimpleQueue[TreeCopy] = SimpleQueue()
        for _ in range(jobs):
            directory = Path(stack.enter_context(TemporaryDirectory(prefix="mutants-")))
            copies.put(copy := stack.enter_context(closing(TreeCopy(directory))))
        for module in sorted({mistake.module for mistake in tried}):
            if copy.fails(module):
                sys.exit(f"the tests of {module} fail without any mistake")
        done = 0

        def noticed(mistake: Mistake) -> bool:
            nonlocal done
            copy = copies.get()
            try:
                return copy.notices(mistake)
            finally:
                copies.put(copy)
                done += 1
                print(f"\r{done} of {len(tried)}", end="", file=sys.stderr, flush=True)

        with ThreadPoolExecutor(jobs) as pool:
            results = list(pool.map(noticed, tried))
    print(file=sys.stderr)
    return sorted((m for m, seen in zip(tried, results, strict=True) if not seen), key=lambda m: (m.module, m.line))


def report(tried: list[Mistake], lived: list[Mistake], share: float, *, as_json: bool) -> None:
    """For people or as JSON."""
    if as_json:
        json.dump({"tried": len(tried), "noticed": share, "lived": [m.as_dict() for m in lived]}, sys.stdout, indent=2)
        sys.stdout.write("\n")
        return
    for mistake in lived:
        print(mistake)
    print(f"{len(tried) - len(lived)} of {len(tried)} mistakes were noticed: {share:.1%} ({WANTED:.0%} wanted)")


if __name__ == "__main__":
    sys.exit(main())
