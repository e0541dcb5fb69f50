"""python -m deploy.compose_check [--only NAME…]: whole, it writes benchmarks/compose.md.

A check that fails does not keep the others from being tried, unless it is the first.  Exit status 1 where one failed;
the containers' logs at that moment are in var/compose-check/containers.log.
"""

import argparse
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from deploy.compose_check import checks, drills, tls
from deploy.compose_check.base_image import base_image
from deploy.compose_check.engine import engine
from deploy.compose_check.report import Line, report
from deploy.compose_check.shell import CheckFailed, run, say
from deploy.compose_check.stack import Stack, cloned
from deploy.signals import STOP_SIGNALS

Check = Callable[[Stack], str]

REPOSITORY = Path(__file__).parents[2]
REPORT = REPOSITORY / "benchmarks" / "compose.md"
FAILED: Final = "FAILED"
FIRST: Final[Check] = checks.the_lines_of_the_readme_start_it
CHECKS: Final[tuple[Check, ...]] = (
    FIRST,
    checks.one_job_by_curl,
    checks.containers_are_locked_down,
    checks.images_are_slim,
    checks.health_checks_are_cheap,
    checks.secrets_are_secret,
    checks.networks_are_closed,
    checks.prometheus_sees_every_process,
    tls.tls_passes_everything,
    drills.each_service_crashes,
    drills.each_service_is_killed,
    drills.workers_that_are_stopped_hand_back_their_jobs,
    drills.two_render_workers_share_the_work,
    drills.everything_restarts,
    drills.everything_is_recreated,
    drills.down_and_up_keep_what_there_is,
    checks.down_v_leaves_nothing,
)


def main() -> int:
    names = {check.__name__: check for check in CHECKS}
    parser = argparse.ArgumentParser(prog="python -m deploy.compose_check", description="docker-compose.yml, for real")
    parser.add_argument("--folder", type=Path, default=REPOSITORY / "var" / "compose-check")
    parser.add_argument("--only", nargs="+", choices=sorted(names), help="these alone, and no report")
    told = parser.parse_args()
    chosen = [check for check in CHECKS if told.only is None or check.__name__ in told.only or check is FIRST]
    for number in STOP_SIGNALS:
        signal.signal(number, signal.default_int_handler)  # whatever ends it, nothing of it goes on
    folder: Path = told.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with engine(folder) as running, base_image(running):
            clone = folder / "clone"
            shutil.rmtree(clone, ignore_errors=True)
            stack = cloned(running, REPOSITORY, clone)
            try:
                lines = [tried(check, stack) for check in chosen]
                if told.only is None:
                    commit = run(["git", "describe", "--always"], folder=clone).strip()
                    versions = f"Docker {running.version}, Compose {stack.compose('version --short').strip()}"
                    REPORT.write_text(report(lines, commit, versions))
            finally:
                stack.compose("--profile observability down --volumes --remove-orphans")
    except CheckFailed as complaint:
        say(f"FAILED: {complaint}")
        return 1
    failed = sum(line.seen.startswith(FAILED) for line in lines)
    say(f"{len(lines) - failed} passed, {failed} failed")
    return 1 if failed else 0


def tried(check: Check, stack: Stack) -> Line:
    name = check.__name__.replace("_", " ")
    say(name)
    begin = time.monotonic()
    try:
        seen = check(stack)
    except CheckFailed as complaint:
        if check is FIRST:
            raise
        seen = f"{FAILED}: {complaint}"
        (stack.log.parent / "containers.log").write_text(stack.compose("logs --no-color --timestamps"))
        stack.compose("up --detach --remove-orphans")  # for the others
        stack.wait_until_healthy()
    say(f"    {seen}")
    return Line(name, seen, time.monotonic() - begin)


if __name__ == "__main__":
    sys.exit(main())
