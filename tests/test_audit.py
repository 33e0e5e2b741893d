"""Does the audit fail for a known hole, and only for one?"""

from __future__ import annotations

import pytest

from tests import audit

FINE = {"name": "duckdb", "version": "2.0.0", "vulns": []}
HOLE = {"name": "pillow", "version": "1.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["1.1", "2.0"]}]}
UNKNOWN = {"name": "numpy", "skip_reason": "not found"}


def test_a_known_hole_fails_and_says_where_it_is_mended() -> None:
    assert audit.verdict([FINE, HOLE]) == (1, "error: pillow 1.0 has the known vulnerability PYSEC-1; mended in 1.1, 2.0.")


def test_what_nobody_knows_is_said_and_does_not_fail() -> None:
    assert audit.verdict([FINE, UNKNOWN]) == (0, "warning: nothing could be learned about 1 of 2 packages.")
    assert audit.verdict([HOLE, UNKNOWN])[0] == 1
    assert audit.verdict([FINE]) == (0, "1 packages, no known vulnerability.")


@pytest.mark.parametrize("said", ["", "no JSON", "[]", "{}"])
def test_without_a_network_it_says_so_and_does_not_fail(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "ASK", ["printf", "%s", said])
    assert audit.verdict(audit.asked()) == (0, "warning: known vulnerabilities of packages could not be asked for; is there a network?")
