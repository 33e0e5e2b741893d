"""The command line: python -m diffing OLD NEW --key id."""

from __future__ import annotations

if __name__ == "__main__":
    from diffing.cli import script

    script()
