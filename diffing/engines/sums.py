"""Sums of decimals that neither overflow nor depend on the order of rows."""

from __future__ import annotations

from decimal import Decimal, localcontext

from diffing.sql import DECIMAL, Sql

PARTS = 3
"""How many SQL items make a sum."""


def sum_items(sql: Sql, text: str) -> list[str]:
    """SQL for a sum of number cells in three parts: whole parts, fractions, and what only doubles hold."""
    exact, fits = f"TRY_CAST({text} AS {DECIMAL})", sql.fits(text)
    rough = f"list(TRY_CAST({text} AS DOUBLE)) FILTER (WHERE NOT {fits} AND {sql.is_number(text)})"
    return [
        f"sum(CAST(trunc({exact}) AS HUGEINT)) FILTER (WHERE {fits})",
        f"sum({exact} - trunc({exact})) FILTER (WHERE {fits})",
        f"list_sum(list_sort({rough}))",
    ]


def exact_sum(whole: int | None, fraction: Decimal | None, rough: float | None) -> str:
    """The three parts together, as a plain decimal."""
    with localcontext(prec=400):
        total = Decimal(whole or 0) + (fraction or Decimal(0)) + Decimal(repr(rough or 0.0))
        text = f"{total:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("", "-0") else text
