"""python -m deploy.compose_check [--only NAME…] [--keep]

A check that fails does not keep the others from being tried, unless it is the first.  Exit status 1 where one failed.
"""

import argparse
import shutil
import sys
import time
from pathlib import Path
from typing import Final

from deploy.compose_check import checks, drills, tls
from deploy.compose_check.base_image import base_image
from deploy.compose_check.engine import Engine, engine
from deploy.compose_check.report import Line, write_report
from deploy.compose_check.shell import CheckFailed, run, say
from deploy.compose_check.stack import Stack, cloned

REPOSITORY = Path(__file__).parents[2]
REPORT = REPOSITORY / "benchmarks" / "compose.md"
FIRST: Final = checks.the_readmes_lines_start_it
CHECKS: Final = (
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
    parser.add_argument("--only", nargs="+", choices=sorted(names), help="no report is written then")
    told = parser.parse_args()
    chosen = [check for check in CHECKS if told.only is None or check.__name__ in told.only or check is FIRST]
    folder: Path = told.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    lines: list[Line] = []
    failed = 0
    try:
        with engine(folder) as running, base_image(running):
            stack = fresh(running, folder)
            try:
                for check in chosen:
                    name = check.__name__.replace("_", " ")
                    say(name)
                    begin = time.monotonic()
                    try:
                        seen = check(stack)
                    except CheckFailed as complaint:
                        if check is FIRST:
                            raise
                        failed, seen = failed + 1, f"FAILED: {complaint}"
                    lines.append(Line(name, seen, time.monotonic() - begin))
                    say(f"    {seen}")
            finally:
                (folder / "containers.log").write_text(stack.compose("--profile observability logs --no-color"))
                stack.compose("--profile observability down --volumes --remove-orphans")
            versions = f"Docker {running.version}, Compose {stack.compose('version --short').strip()}"
    except CheckFailed as complaint:
        say(f"FAILED: {complaint}")
        return 1
    if told.only is None and not failed:
        commit = run(["git", "describe", "--always", "--dirty"], folder=REPOSITORY).strip()
        write_report(REPORT, lines, commit, versions)
    say(f"{len(lines) - failed} passed, {failed} failed")
    return 1 if failed else 0


def fresh(running: Engine, folder: Path) -> Stack:
    """A clone in which nothing runs; what a run before left behind is gone."""
    clone = folder / "clone"
    shutil.rmtree(clone, ignore_errors=True)
    (folder / "readme.log").unlink(missing_ok=True)
    stack = cloned(running, REPOSITORY, clone)
    return stack


if __name__ == "__main__":
    sys.exit(main())
