"""How our processor is run: compiled, as a wheel has it, or as it is written."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from functools import cache
from pathlib import Path

from rich.console import Console

ROOT = Path(__file__).parents[1]


@cache
def compiled(root: Path = ROOT) -> Path | str:
    """Where the compiled package is, or why there is none. What is there already is only brought up to date.

    ``root``: this tree, or another checkout of it.
    """
    built = root / "build" / f"compiled-{sys.implementation.cache_tag}"
    command = [sys.executable, "setup.py", "--quiet", "build", "--build-lib", str(built)]
    run = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if run.returncode:
        return f"setup.py failed: {run.stderr.strip()[-500:]}"
    suffix = str(sysconfig.get_config_var("EXT_SUFFIX"))
    if not any(built.rglob(f"*{suffix}")):
        return f"no C compiler, or no headers of this Python: {run.stderr.strip()[-500:]}"
    return built


def prepare(console: Console) -> None:
    """Compiles it, and says where it can't."""
    console.print("Compiling ours …", style="dim")
    if isinstance(built := compiled(), str):
        console.print(f"Ours is not compiled: {built}")


def command(*, written: bool = False, root: Path = ROOT) -> list[str]:
    """What runs ``extproc``, compiled where that can be and unless ``written`` asks for it as it is written."""
    if written or isinstance(built := compiled(root), str):
        built = root
    return ["env", f"PYTHONPATH={built}", sys.executable, "-P", "-m", "extproc"]
