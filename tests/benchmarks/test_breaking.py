"""The figures of the breakers' benchmark, of answers that are made up."""

from __future__ import annotations

from benchmarks.breaking import AFTER, NORMAL, WEAK, Answer, Run, summary, table


def made_up(weak: float, refused: int) -> Run:
    """An answer a second, whose first token takes 0.2 s, or ``weak``; then each ``refused``-th one is refused."""
    answers = []
    for at in range(int(NORMAL + WEAK + AFTER)):
        is_weak = NORMAL <= at < NORMAL + WEAK
        if is_weak and at % refused == 0:
            answers.append(Answer(at, 429, None))
        else:
            answers.append(Answer(at, 200, weak if is_weak else 0.2))
    return Run("made up", answers, [])


def test_what_is_accepted_in_time_is_goodput() -> None:
    found = summary(made_up(0.25, 2))
    assert (found["normal"], found["during"], found["ratio"], found["settled"]) == (0.2, 0.25, 1.25, 1.25)
    assert (found["accepted"], found["goodput"], found["refused"], found["recovered"]) == (0.5, 0.5, 0.5, 0.0)


def test_what_is_late_is_not() -> None:
    found = summary(made_up(2.0, 10))
    assert found["goodput"] == 0
    assert (
        table([found])
        .splitlines()[-1]
        .startswith("| made up | 0.20 s | 2.00 s | 10.00 | 10.00 | 0.9/s | 0.0/s | 10 % |")
    )
