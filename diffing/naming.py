"""Names for columns that have none, or share one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def unique_names(names: Iterable[str], taken: Iterable[str] = ()) -> list[str]:
    """Each name, or `name (2)`, `name (3)` … where it was used before (or is in `taken`).

    Names that differ by case only are different names.
    """
    used, counts, found = set(taken), {}, []  # type: set[str], dict[str, int], list[str]
    names = list(names)
    written = set(names)
    for name in names:
        unique, n = name, counts.get(name, 1)
        while unique in used or (n > 1 and unique in written):
            n += 1
            unique = f"{name} ({n})"
        counts[name] = n
        used.add(unique)
        found.append(unique)
    return found


def header_names(cells: Sequence[str]) -> list[str]:
    """Column names from a header: an empty one is `column N`, a repeated one gets a number."""
    return unique_names(cell or f"column {i}" for i, cell in enumerate(cells, 1))


def position_names(count: int) -> list[str]:
    """Column names for a file without a header: c1, c2, …"""
    return [f"c{i}" for i in range(1, count + 1)]
