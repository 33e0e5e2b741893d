"""Does a package that is installed here have a known vulnerability?  python -m tests.audit

Fails if one has. Where nobody can be asked, as without a network, it says so and does not fail.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

ASK = [sys.executable, "-m", "pip_audit", "--local", "--progress-spinner", "off", "--format", "json", "--timeout", "5"]
PATIENCE = 300
"""Seconds."""


def asked() -> list[dict[str, Any]] | None:
    """What is known of each package; None if nothing could be learned."""
    try:
        ran = subprocess.run(ASK, capture_output=True, text=True, timeout=PATIENCE, check=False)
        found: list[dict[str, Any]] = json.loads(ran.stdout)["dependencies"]
        return found
    except (subprocess.TimeoutExpired, json.JSONDecodeError, KeyError, TypeError):
        return None


def _told(package: dict[str, Any], hole: dict[str, Any]) -> str:
    mended = ", ".join(hole["fix_versions"]) or "no version"
    return f"error: {package['name']} {package['version']} has the known vulnerability {hole['id']}; mended in {mended}."


def verdict(packages: list[dict[str, Any]] | None) -> tuple[int, str]:
    """The exit code, and what to say."""
    if packages is None:
        return 0, "warning: known vulnerabilities of packages could not be asked for; is there a network?"
    holes = [_told(each, hole) for each in packages for hole in each.get("vulns", ())]
    unknown = [each["name"] for each in packages if "skip_reason" in each]
    lines = holes + ([f"warning: nothing could be learned about {len(unknown)} of {len(packages)} packages."] if unknown else [])
    return int(bool(holes)), "\n".join(lines) or f"{len(packages)} packages, no known vulnerability."


if __name__ == "__main__":
    code, said = verdict(asked())
    print(said)
    sys.exit(code)
