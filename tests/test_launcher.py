"""Does the app start as people start it?"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).parents[1]
USUAL = 8501


def answered(url: str) -> bytes:
    """What a server answers, which may need a moment to listen."""
    for _ in range(100):
        with suppress(OSError), urllib.request.urlopen(url) as answer:
            return bytes(answer.read())
        time.sleep(0.1)
    raise TimeoutError(f"{url} does not answer.")


def test_the_app_and_its_api_are_served_at_the_next_port_where_the_usual_one_is_taken(tmp_path):
    (tmp_path / "metrics.toml").write_text("")
    environment = os.environ | {"DIFFING_HOME": str(tmp_path / "store"), "DIFFING_METRICS": str(tmp_path / "metrics.toml")}
    with socket.socket() as holder:
        with suppress(OSError):  # another program has it
            holder.bind(("127.0.0.1", USUAL))
            holder.listen()
        with subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as app:
            try:
                url = next(found[0] for line in app.stdout if (found := re.search(r"http://127\.0\.0\.1:(\d+)", line)))
                assert int(url.rpartition(":")[2]) > USUAL
                assert b"<title>" in answered(url)
                assert json.loads(answered(f"{url}/api/diffing/metrics")) is not None
            finally:
                app.terminate()
