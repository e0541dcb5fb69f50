"""What is said of pip-audit's report."""

from deploy.audit import SKIPPED, verdict

SOUND = {"name": "sound", "version": "1.2", "vulns": []}
BROKEN = {"name": "broken", "version": "0.3", "vulns": [{"id": "PYSEC-2026-7", "fix_versions": ["0.4", "1.0"]}]}
HOPELESS = {"name": "hopeless", "version": "9", "vulns": [{"id": "PYSEC-2026-8", "fix_versions": []}]}
UNKNOWN = {"name": "own", "skip_reason": "not found on PyPI"}


def test_vulnerabilities_fail_and_say_what_mends_them() -> None:
    found = verdict({"dependencies": [SOUND, BROKEN, HOPELESS]})
    assert found.failed
    assert found.lines == (
        "broken 0.3: PYSEC-2026-7, mended in 0.4, 1.0",
        "hopeless 9: PYSEC-2026-8, mended in no version yet",
        "3 of 3 packages audited: 2 known vulnerabilities",
    )


def test_what_could_not_be_audited_is_named() -> None:
    found = verdict({"dependencies": [SOUND, UNKNOWN]})
    assert not found.failed
    assert found.lines == ("not audited: own: not found on PyPI", "1 of 2 packages audited: 0 known vulnerabilities")


def test_where_nothing_could_be_audited_nothing_has_passed() -> None:
    assert verdict({"dependencies": [UNKNOWN]}).lines == verdict({"dependencies": []}).lines == (SKIPPED,)
