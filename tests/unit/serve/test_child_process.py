"""Child processes: what they say, how they end, and that none outlives its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from extproc.errors import SetupError
from extproc.serve import child_process
from extproc.serve.child_process import ChildProcess
from tests.waiting import until


def python(code: str, *, echo: bool = False, output: bool = True, inherits: Sequence[int] = ()) -> ChildProcess:
    return ChildProcess("the child", [sys.executable, "-c", code], echo=echo, output=output, inherits=inherits)


def test_the_end_of_its_log_is_kept() -> None:
    child = python("import sys; [print(n, file=sys.stderr) for n in range(50)]; sys.exit(3)")
    child.process.wait()
    first, *lines = child.exit_report().splitlines()
    assert first == "the child ended with exit status 3; its last words:"
    assert lines == [f"  {number}" for number in range(30, 50)]
    assert child.last_line() == "49"
    assert not child.alive


def test_one_that_said_nothing_has_no_last_words() -> None:
    child = python("raise SystemExit(3)")
    child.process.wait()
    assert child.exit_report() == "the child ended with exit status 3"


def test_what_is_no_text_does_not_end_the_reader() -> None:
    child = python("import os; os.write(2, b'\\xff\\n')")
    child.process.wait()
    assert child.exit_report().endswith("\N{REPLACEMENT CHARACTER}")


def test_stubborn_ones_are_killed() -> None:
    child = python("from signal import *; import sys; signal(SIGTERM, SIG_IGN); print(file=sys.stderr); pause()")
    until(lambda: child._lines)
    assert child.last_line() == ""
    child.terminate(0.1)
    assert child.process.returncode == -signal.SIGKILL
    assert "signal SIGKILL" in child.exit_report()


def test_a_signal_reaches_it_and_later_ones_nobody() -> None:
    child = python("import signal; signal.pause()")
    assert child.alive
    child.send_signal(signal.SIGTERM)
    assert child.process.wait(10) == -signal.SIGTERM
    child.send_signal(signal.SIGTERM)
    child.terminate(0)
    assert child.last_line() == ""


def test_its_log_is_ours_where_that_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    for echo in (True, False):
        child = python(f"import sys; print('echo {echo}', file=sys.stderr)", echo=echo)
        child.process.wait()
        child.exit_report()
    assert capsys.readouterr().err == "echo True\n"


def test_its_output_is_ours_or_nowhere(capfd: pytest.CaptureFixture[str]) -> None:
    for output in (True, False):
        python(f"print('output {output}', flush=True)", output=output).process.wait()
    assert capfd.readouterr().out == "output True\n"


def test_a_session_of_its_own() -> None:
    child = python("import signal; signal.pause()")
    assert os.getsid(child.process.pid) == child.process.pid != os.getsid(0)
    child.terminate(5)


def test_what_can_not_be_started_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_process, "_die_with_parent", list)
    with pytest.raises(SetupError, match=r"cannot start the child \(/none/such\): No such file or directory"):
        ChildProcess("the child", ["/none/such"])


PARENT = """
import sys
from extproc.serve.child_process import ChildProcess
from tests.waiting import until
child = ChildProcess("it", [sys.executable, "-c", "import signal, sys; print('up', file=sys.stderr); signal.pause()"])
until(child.last_line)
print(child.process.pid, flush=True)
sys.stdin.read()
"""


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


@pytest.mark.parametrize("setpriv", [True, False])
def test_it_dies_with_a_parent_that_is_killed(setpriv: bool) -> None:
    code = PARENT if setpriv else "import shutil; shutil.which = lambda _: None" + PARENT
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert not gone(pid)
        parent.kill()
    until(lambda: gone(pid))


def test_it_has_the_files_that_it_is_to_inherit_and_no_others(tmp_path: Path) -> None:
    with (tmp_path / "a").open("w") as given, (tmp_path / "b").open("w") as kept:
        code = f"import os, sys; os.write({given.fileno()}, b'x'); os.write({kept.fileno()}, b'y')"
        child = python(code, inherits=[given.fileno()])
        until(lambda: not child.alive)
        assert "Bad file descriptor" in child.exit_report()
    assert [(tmp_path / name).read_text() for name in "ab"] == ["x", ""]
