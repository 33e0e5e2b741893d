"""Sums of decimals that neither overflow nor depend on the order of rows."""

from __future__ import annotations

from decimal import Decimal, localcontext

from diffing.sql import DECIMAL, Sql


def sum_items(sql: Sql, text: str) -> list[str]:
    """SQL for a sum in three parts that neither overflow nor depend on order; see `exact_sum`."""
    exact = f"TRY_CAST({text} AS {DECIMAL})"
    fits = sql.fits(text)
    return [
        f"sum(CAST(trunc({exact}) AS HUGEINT)) FILTER (WHERE {fits})",
        f"sum({exact} - trunc({exact})) FILTER (WHERE {fits})",
        f"list_sum(list_sort(list(TRY_CAST({text} AS DOUBLE)) FILTER (WHERE {text} IS NOT NULL AND NOT {fits})))",
    ]


def exact_sum(whole: int | None, part: Decimal | None, rough: float | None) -> str:
    """The sum of whole parts, of fractions and of what only fits doubles, as a plain decimal."""
    with localcontext(prec=400):
        total = Decimal(whole or 0) + (part or Decimal(0)) + Decimal(repr(rough or 0.0))
        text = f"{total:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("", "-0") else text
