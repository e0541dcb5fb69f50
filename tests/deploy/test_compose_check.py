"""The compose check's own parts that need no engine."""

import pytest

from deploy.compose_check.report import Line, report
from deploy.compose_check.shell import CheckFailed, run, until


def test_the_report_has_a_row_for_each_check() -> None:
    lines = [Line("it starts", "FAILED: a | b\nc", 30.2), Line("it stops", "at once", 89.8)]
    *_, about, _, _, _, first, second = report(lines, "abc", "Docker 20").splitlines()
    assert ", commit abc, Docker 20, " in about
    assert about.endswith(", 2 minutes:")
    assert (first, second) == ("| it starts | FAILED: a \\| b c | 30 |", "| it stops | at once | 90 |")


def test_a_command_that_fails_or_hangs_says_which_and_why() -> None:
    with pytest.raises(CheckFailed, match=r"(?s)sh -c .*: exit status 3\nno such engine"):
        run(["sh", "-c", "echo no such engine >&2; exit 3"])
    with pytest.raises(CheckFailed, match="sleep 9: not done after 0 s"):
        run(["sleep", "9"], seconds=0.05)
    with pytest.raises(CheckFailed, match="there is no 'no-such-program'"):
        run(["no-such-program"])
    with pytest.raises(CheckFailed, match="not yet: never"):
        until("never", lambda: False, seconds=0.0)
