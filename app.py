"""The launcher: `streamlit run app.py`, or `python app.py`. Pages and HTTP API in one process."""

from pathlib import Path

import streamlit as st

from diffing.api import routes
from diffing.asgi import lifespan, middleware
from diffing.services import services
from pages.components import sight
from pages.components.stale import StaleRuns

app = st.App(
    Path(__file__).with_name("pages") / "main.py",
    routes=routes(services),
    middleware=middleware(services, StaleRuns, scripts=[sight.SCRIPT]),
    lifespan=lifespan,
)

if __name__ == "__main__":
    app.run()
