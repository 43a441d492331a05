"""Compiles what every request passes through: the same Python, by Cython, where a wheel is built. See decision 0012.

Without a C compiler or Python's headers the wheel is as good, slower, and for any Python 3 (``py3-none-any``). An
installation that can be edited stays as it is written: compiled modules beside their sources would hide what is changed
in them.
"""

from __future__ import annotations

import gc
import os
import sys
import sysconfig
from pathlib import Path
from tempfile import TemporaryDirectory
from zlib import crc32

from setuptools import Extension, setup
from setuptools.command.build_py import build_py

COMPILED = (
    "headers",
    *(f"http2.{name}" for name in ("connection", "control_frames", "frames", "header_fields", "hpack")),
    *(f"http2.{name}" for name in ("huffman", "request_headers", "stream")),
    *("http2.stream_states", "http2.windows"),
    *("grpc_server.call", "grpc_server.client_socket", "grpc_server.metadata"),
    *("envoy.canonical", "envoy.canonical_log", "envoy.codec", "envoy.endpoint_picker"),
    *("bodies.ambiguous_keys", "bodies.json_reader", "bodies.json_scan", "bodies.request"),
    *("apis.__init__", "apis.path_pattern"),
    *("answers.answer_reader", "answers.answer_state", "answers.event_inspector", "answers.json_pointers"),
    *("answers.message_inspector", "answers.token_counts"),
    *(f"answers.wire.{name}" for name in ("decoder", "json_array", "sse")),
    *(
        "policy.breaker",
        "policy.change_test",
        "policy.decision",
        "policy.model_patterns",
        "policy.pool_load",
        "policy.rendezvous",
        "policy.sticky_key",
        "policy.target_choice",
        "policy.usual_time",
    ),
    *(f"picking.{name}" for name in ("picker", "prefix_index", "prompt", "standing")),
    *(
        "exchange.body_mode",
        "exchange.breakers",
        "exchange.endpoint_breakers",
        "exchange.observe",
        "exchange.picks",
        "exchange.replies",
        "exchange.request_body",
        "exchange.route",
    ),
    *("exchange.request_outcome", "exchange.metric_labels", "exchange.sampling", "exchange.timed_answer"),
    *("telemetry.histogram", "telemetry.metrics", "serve.access_log_service", "serve.open_streams", "serve.servicer"),
)
"""Modules of ``extproc``. Not ``grpc_server.event_loop``: Python handles signals between interpreted instructions."""

FLAGS = [
    # -O1 compiles in half of the time of -O2, and nearly all that these modules do are calls of functions of Python's,
    # which it does not change. Of -O2 it has what keeps unlikely code out of the way.
    *("-g0", "-w", "-O1", "-freorder-blocks-and-partition", "-foptimize-sibling-calls"),
    # Passes of -O1 that take a quarter of the compiler's time, and change next to nothing where all is calls.
    *("-fno-tree-pta", "-fno-tree-dse", "-fno-tree-slsr", "-fno-tree-sink", "-fno-tree-bit-ccp", "-fno-ssa-phiopt"),
    *("-fno-ipa-pure-const", "-fno-ipa-profile", "-fno-ipa-reference", "-fno-ipa-reference-addressable"),
    *("-fno-forward-propagate", "-fno-if-conversion", "-fno-if-conversion2", "-fno-move-loop-invariants"),
    *("-fno-dse", "-fno-ipa-modref", "-fno-cprop-registers", "-fno-ssa-backprop"),
    *("-fno-tree-ccp", "-fno-tree-fre", "-fno-tree-loop-optimize", "-fno-tree-reassoc"),
    # Python's own flags have -Wall, by which gcc looks for what -w then keeps it from telling: a twelfth of its time.
    "-Wno-all",
    # What runs once, when a module is imported, is a fifth of the code.
    '-DCYTHON_SMALL_CODE=__attribute__((cold, optimize("O0")))',
    # Between two requests caches are others': what is not fetched anew is won. So code stands close together, and does
    # not check its own frames: all that stands there is of a fixed size.
    *(f"-falign-{what}=1" for what in ("functions", "jumps", "labels", "loops")),
    *("-fcf-protection=none", "-fno-plt", "-fno-stack-protector"),
]
PLAIN_FLAGS = ["-g0", "-w", "-O1", "-fno-stack-protector"]
"""For compilers that do not know all of gcc's: clang."""

DIRECTIVES = {
    "language_level": "3",
    "annotation_typing": False,  # Python's own meaning of annotations holds, to the letter: they are no types in C
    "binding": False,  # functions as those of C extensions are: nothing asks for their code or sets attributes on them
    "auto_pickle": False,  # nothing pickles these classes, and the methods for it were a seventh of the code
    "emit_code_comments": False,  # a tenth of the C that is written and read
}

SHARED = "extproc._cython_shared"
"""The module with Cython's own functions, which each of the others would have a copy of otherwise."""
SCRATCH = TemporaryDirectory(prefix="aimesh-setup-")
HEADER = Path(SCRATCH.name, "python.h")
"""Python's headers as the compiler keeps them once it has read them, in a file beside: they are read once for all."""
CPUS = len(os.sched_getaffinity(0))


def hindrance(flags: list[str]) -> str:
    """Why C can't be compiled here for this Python with the flags; empty where it can.

    What is compiled to find out is ``HEADER``.
    """
    from distutils.ccompiler import new_compiler
    from distutils.errors import DistutilsExecError, DistutilsPlatformError
    from distutils.sysconfig import customize_compiler

    HEADER.write_text("#define PY_SSIZE_T_CLEAN\n#include <Python.h>\n")
    compiler = new_compiler()
    customize_compiler(compiler)
    folders = [f"-I{sysconfig.get_path(name)}" for name in ("include", "platinclude")]
    made = ["-x", "c-header", str(HEADER), "-o", f"{HEADER}.gch"]
    try:
        compiler.spawn([*compiler.compiler_so, *flags, *folders, *made])
    except (DistutilsExecError, DistutilsPlatformError) as error:
        return str(error)
    return ""


def extensions() -> list[Extension]:
    """None where nothing is to be compiled, or nothing can be."""
    if "editable_wheel" in sys.argv or not {"build", "build_ext", "bdist_wheel", "install"} & set(sys.argv):
        return []
    flags = FLAGS
    if (why := hindrance(flags)) and (why := hindrance(flags := PLAIN_FLAGS)):
        print(f"Nothing is compiled, so it will be slower: no C compiler, or no headers of this Python ({why})")
        return []
    from Cython.Build import cythonize

    print(f"Compiling {len(COMPILED)} modules on {CPUS} CPUs, some 40 seconds of one …", flush=True)
    flags = [*flags, "-include", str(HEADER)]
    found = [
        Extension(f"extproc.{name}", [f"extproc/{name.replace('.', '/')}.py"], extra_compile_args=flags)
        for name in COMPILED
    ]
    gc.disable()  # a third of Cython's time: its trees live until a module is written. 100 MB more for each process
    made: list[Extension] = cythonize(
        [*found, Extension(SHARED, [], extra_compile_args=flags)],
        build_dir=f"build/cython-{crc32(Path(__file__).read_bytes()):08x}",  # what this file says is in the C
        nthreads=CPUS,
        compiler_directives=DIRECTIVES,
        shared_utility_qualified_name=SHARED,
        quiet=True,
    )
    gc.enable()
    return made


class BuildPy(build_py):
    """Without modules of an earlier build, in the same folder, that are compiled no longer: Python would take them."""

    def run(self) -> None:
        """See ``Command``."""
        suffix = sysconfig.get_config_var("EXT_SUFFIX")
        compiled = {extension.name for extension in self.distribution.ext_modules or ()}
        for path in Path(self.build_lib).rglob(f"*{suffix}"):
            name = str(path.relative_to(self.build_lib)).removesuffix(suffix).replace(os.sep, ".")
            if name not in compiled:
                path.unlink()
        super().run()


if __name__ == "__main__":  # and not where a process that Cython starts imports it
    setup(ext_modules=extensions(), cmdclass={"build_py": BuildPy}, options={"build_ext": {"parallel": CPUS}})
