"""The pictures of a sample point with its keys, as a component of a page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from geoseg.app.map_component import read_own_asset

KEY = "chips"


def show_chips(data: dict[str, Any], on_answer: Callable[[], None]) -> None:
    """A place and what can be said of it; `on_answer` hears of keys and buttons."""
    mount = st.components.v2.component(
        "geoseg_chips",
        html=read_own_asset("chips.html"),
        css=read_own_asset("chips.css"),
        js=read_own_asset("chips.js"),
    )
    mount(data=data, key=KEY, on_answer_change=on_answer)
