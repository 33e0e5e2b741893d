"""Which engine runs a comparison: the embedded one, unless another is asked for."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from diffing.engines import Engine
from diffing.errors import EngineError
from diffing.plan import EngineName
from diffing.result import Result


@dataclass
class Engines:
    """The engines of a process, made when first needed."""

    embedded: Callable[[], Engine]
    usual: EngineName = EngineName.DUCKDB
    """What runs comparisons for which nobody asks for another."""
    master: str | None = None
    """Where Spark is, as `local[2]`, `spark://host:7077` or `sc://host:15002`; None: on this machine, all cores."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Of Spark, by its own names."""
    made: dict[EngineName, Engine] = field(default_factory=dict)

    def get(self, name: EngineName | None = None) -> Engine:
        """An engine; the usual one without a name.

        Raises:
            EngineError: the address of Spark is none.
        """
        name = name or self.usual
        if name not in self.made:
            self.made[name] = self._spark() if name is EngineName.SPARK else self.embedded()
        return self.made[name]

    def _spark(self) -> Engine:
        from diffing.engines.spark import SparkEngine  # takes a while, and is not always there

        return SparkEngine(self.master or "local[*]", self.settings)


def spark_settings(text: str) -> dict[str, str]:
    """Settings of Spark as people write them: `spark.executor.memory=8g spark.jars.packages=…`.

    Raises:
        EngineError: one of them is none.
    """
    found = {}
    for said in text.split():
        if not re.fullmatch(r"spark\.[A-Za-z0-9_.-]+=.+", said):
            raise EngineError(f"“{said}” is no setting of Spark.", "Write it as spark.executor.memory=8g; several with spaces between.")
        name, _, value = said.partition("=")
        found[name] = value
    return found


def engine_name(text: str) -> EngineName:
    """An engine by its name.

    Raises:
        EngineError: there is none of this name.
    """
    if text not in tuple(EngineName):
        raise EngineError(f"There is no engine “{text}”.", f"The engines are {' and '.join(EngineName)}.")
    return EngineName(text)


def made_by(result: Result) -> EngineName:
    """The engine that made a result, and so can read its files: a cluster writes parts."""
    return EngineName.SPARK if result.rows_file.is_dir() else EngineName.DUCKDB
