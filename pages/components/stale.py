"""Answers about a page that its browser has left."""

from __future__ import annotations

from typing import Any

from streamlit.proto.ForwardMsg_pb2 import ForwardMsg


class StaleRuns:
    """Keeps from a browser what the server says about parts of a page that it has left.

    A part of a page that is looked at again and again may ask once more while the next page is being
    opened. Streamlit answers that after the next page is there, in the name of the old one, and the
    browser then drops what it shows.
    """

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "websocket":
            return await self.app(scope, receive, send)
        runs = Runs()

        async def send_current(message: Any) -> None:
            data = message.get("bytes")
            if not data or runs.concerns(ForwardMsg.FromString(data)):
                await send(message)

        await self.app(scope, receive, send_current)


class Runs:
    """What one browser was told: which parts of its page there are, and whether it hears of any other now."""

    def __init__(self) -> None:
        self.parts: set[str] = set()
        """Those of the page that is shown, which can run alone."""
        self.drawn: set[str] = set()
        """Those that were drawn by the run that goes on."""
        self.whole, self.stale = True, False

    def concerns(self, message: ForwardMsg) -> bool:
        """Whether the browser should hear a message."""
        kind = message.WhichOneof("type")
        if kind == "new_session":
            asked = set(message.metadata.run.fragment_ids)
            self.drawn, self.whole, self.stale = set(), not asked, bool(asked) and not asked & self.parts
        elif kind == "delta" and message.delta.fragment_id:
            self.drawn.add(message.delta.fragment_id)
        elif kind == "auto_rerun":
            self.drawn.add(message.auto_rerun.fragment_id)
        elif kind == "script_finished":
            complete = self.whole and message.script_finished == ForwardMsg.FINISHED_SUCCESSFULLY
            self.parts = self.drawn if complete else self.parts | self.drawn
        return kind == "session_status_changed" or not self.stale
