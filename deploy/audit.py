"""Are there known vulnerabilities in what constraints.txt pins?  `make audit` asks pip-audit, which asks PyPI.

Fails where there are some.  Where nobody knows, as with a mirror that carries no advisories, it says that it was
skipped: pip-audit by itself takes that for a pass.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

CONSTRAINTS: Final = Path("constraints.txt")

SKIPPED: Final = "SKIPPED: nothing was audited, since no advisories can be had here"


@dataclass(frozen=True)
class Verdict:
    failed: bool
    lines: tuple[str, ...]


def verdict(report: dict[str, Any]) -> Verdict:
    """report: pip-audit's, as JSON."""
    packages = report["dependencies"]
    unknown = [
        f"not audited: {package['name']}: {package['skip_reason']}" for package in packages if "skip_reason" in package
    ]
    if len(unknown) == len(packages):
        return Verdict(False, (SKIPPED,))
    found = [
        f"{package['name']} {package['version']}: {vulnerability['id']}, mended in "
        f"{', '.join(vulnerability['fix_versions']) or 'no version yet'}"
        for package in packages
        for vulnerability in package.get("vulns", ())
    ]
    total = f"{len(packages) - len(unknown)} of {len(packages)} packages audited: {len(found)} known vulnerabilities"
    return Verdict(bool(found), (*unknown, *found, total))


def audit(requirements: str) -> dict[str, Any]:
    """pip-audit's report; one without packages where it could not make any."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", "/dev/stdin", "--no-deps", "--disable-pip"]
    command += ["--format", "json", "--progress-spinner", "off", "--timeout", "15"]
    ended = subprocess.run(command, input=requirements, capture_output=True, text=True)  # noqa: S603  (our own)
    try:
        report: dict[str, Any] = json.loads(ended.stdout)
    except ValueError:
        print(ended.stderr.strip().splitlines()[-1:], file=sys.stderr)  # noqa: T201
        return {"dependencies": []}
    return report


def main() -> None:
    lines = CONSTRAINTS.read_text().splitlines(keepends=True)
    judged = verdict(audit(lines[0]))  # one look-up tells whether there is anybody to ask
    if SKIPPED not in judged.lines:
        judged = verdict(audit("".join(lines)))
    print("\n".join(judged.lines))  # noqa: T201
    sys.exit(judged.failed)


if __name__ == "__main__":
    main()
