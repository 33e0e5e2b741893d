"""What tests share: the engines that the same tests run on."""

from __future__ import annotations

import pytest

from diffing.engines import Engine
from diffing.engines.duckdb import DuckDBEngine
from tests import comparing
from tests.on_spark import LEFT_OUT, spark_engine


@pytest.fixture(params=["duckdb", "spark"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """Each engine in turn; `comparing` compares on it."""
    chosen: Engine = spark_engine() if request.param == "spark" else DuckDBEngine(threads=2)
    monkeypatch.setattr(comparing, "ENGINE", chosen)
    return chosen


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if any(LEFT_OUT in str(report.longrepr) for report in terminalreporter.stats.get("skipped", [])):
        terminalreporter.write_line(LEFT_OUT[0].upper() + LEFT_OUT[1:] + ".")
