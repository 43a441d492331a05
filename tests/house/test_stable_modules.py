"""What other packages may import of ours: ``linkerd_adapter``, the first of them, imports just that."""

from __future__ import annotations

import subprocess
import sys

from extproc import STABLE_MODULES
from tests.house.tree import ROOT, imports, modules, within


def test_the_adapter_imports_stable_modules_and_every_one_of_them() -> None:
    known = modules(ROOT)
    used = {
        target
        for module, tree in known.items()
        if within(module, "linkerd_adapter")
        for target in imports(module, tree, known)
        if within(target, "extproc")
    }
    assert used - {"extproc"} == set(STABLE_MODULES)
    assert list(STABLE_MODULES) == sorted(STABLE_MODULES)


def test_every_stable_module_is_there_and_has_public_names() -> None:
    for name in STABLE_MODULES:
        module = __import__(name, fromlist=["*"])
        own = [public for public in vars(module) if not public.startswith("_")]
        assert own, name


def test_importing_the_package_imports_none_of_its_modules() -> None:
    """Commands start fast, and no import of a submodule goes in a circle."""
    code = "import sys, extproc; print(*[name for name in sys.modules if name.startswith('extproc.')])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == []
