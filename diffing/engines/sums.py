"""Sums of decimals that neither overflow nor depend on the order of rows."""

from __future__ import annotations

from decimal import Decimal, localcontext

from diffing.sql import DECIMAL, Sql

PARTS = 4
"""How many SQL items make a sum."""
SMALL = 10_000_000_000
"""Decimals up to this can be added up ten thousand million times before a DECIMAL(38,18) overflows."""


def exact_item(sql: Sql, text: str) -> str:
    """SQL for a number cell as an exact decimal; NULL if it does not fit one."""
    return f"CASE WHEN {sql.fits(text)} THEN TRY_CAST({text} AS {DECIMAL}) END"


def exact_plain_item(text: str) -> str:
    """The same for a number that is known to be in plain notation."""
    return f"CASE WHEN strpos({text}, '.') = 0 OR length({text}) - strpos({text}, '.') <= 18 THEN TRY_CAST({text} AS {DECIMAL}) END"


def sum_items(sql: Sql, text: str, exact: str) -> list[str]:
    """SQL for a sum of number cells in four parts: small decimals, of others whole parts and fractions, and what only doubles hold.

    `exact` names the column with the cells' `exact_item`.
    """
    small = f"{exact} BETWEEN -{SMALL} AND {SMALL}"
    rough = f"CASE WHEN {exact} IS NULL AND {text} IS NOT NULL THEN CASE WHEN {sql.is_number(text)} THEN TRY_CAST({text} AS DOUBLE) END END"
    return [
        f"sum(CASE WHEN {small} THEN {exact} END)",
        f"sum(CASE WHEN NOT {small} THEN CAST(trunc({exact}) AS HUGEINT) END)",
        f"sum(CASE WHEN NOT {small} THEN {exact} - trunc({exact}) END)",
        f"list_sum(list_sort(list({rough}) FILTER (WHERE {exact} IS NULL)))",
    ]


def exact_sum(small: Decimal | None, whole: int | None, fraction: Decimal | None, rough: float | None) -> str:
    """The four parts together, as a plain decimal."""
    with localcontext(prec=400):
        total = (small or Decimal(0)) + Decimal(whole or 0) + (fraction or Decimal(0)) + Decimal(repr(rough or 0.0))
        text = f"{total:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("", "-0") else text
