"""Sums of decimals that neither overflow nor depend on the order of rows."""

from __future__ import annotations

from decimal import Decimal, localcontext

from diffing.sql import DECIMAL, Sql

PARTS = 3
"""How many SQL items make a sum."""


def exact_item(sql: Sql, text: str) -> str:
    """SQL for a number cell as an exact decimal; NULL if it does not fit one."""
    return f"CASE WHEN {sql.fits(text)} THEN TRY_CAST({text} AS {DECIMAL}) END"


def sum_items(sql: Sql, text: str, exact: str) -> list[str]:
    """SQL for a sum of number cells in three parts: whole parts, fractions, and what only doubles hold.

    `exact` names the column with the cells' `exact_item`.
    """
    rough = f"CASE WHEN {exact} IS NULL AND {text} IS NOT NULL THEN CASE WHEN {sql.is_number(text)} THEN TRY_CAST({text} AS DOUBLE) END END"
    return [
        f"sum(CAST(trunc({exact}) AS HUGEINT))",
        f"sum({exact} - trunc({exact}))",
        f"list_sum(list_sort(list({rough}) FILTER (WHERE {exact} IS NULL)))",
    ]


def exact_sum(whole: int | None, fraction: Decimal | None, rough: float | None) -> str:
    """The three parts together, as a plain decimal."""
    with localcontext(prec=400):
        total = Decimal(whole or 0) + (fraction or Decimal(0)) + Decimal(repr(rough or 0.0))
        text = f"{total:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("", "-0") else text
