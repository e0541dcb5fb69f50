"""The compose check's own parts that need no engine."""

from pathlib import Path

import pytest

from deploy.compose_check.report import Line, replace_lines, write_report
from deploy.compose_check.shell import CheckFailed, run, until


def test_what_is_tried_again_replaces_its_own_line(tmp_path: Path) -> None:
    report = tmp_path / "compose.md"
    write_report(
        report, [Line("it starts", "FAILED: a | b\nc", 3.2), Line("it stops", "at once", 0.6)], "abc", "Docker 20"
    )
    assert "| it starts | FAILED: a \\| b c | 3 |" in report.read_text().splitlines()
    replace_lines(report, [Line("it starts", "healthy", 2.0)], "def")
    *_, first, second = report.read_text().splitlines()
    assert (first, second) == ("| it starts | healthy (commit def) | 2 |", "| it stops | at once | 1 |")


def test_a_command_that_fails_or_hangs_says_which_and_why() -> None:
    with pytest.raises(CheckFailed, match=r"(?s)sh -c .*: exit status 3\nno such engine"):
        run(["sh", "-c", "echo no such engine >&2; exit 3"])
    with pytest.raises(CheckFailed, match="sleep 9: not done after 0 s"):
        run(["sleep", "9"], seconds=0.05)
    with pytest.raises(CheckFailed, match="there is no 'no-such-program'"):
        run(["no-such-program"])
    with pytest.raises(CheckFailed, match="not yet: never"):
        until("never", lambda: False, seconds=0.0)
