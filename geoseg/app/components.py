"""Components of the pages, in the browser: the map, by Leaflet and the script of the report, and the pictures of a sample point."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from typing import Any

import streamlit as st

from geoseg.reports.webmap import read_asset

MAP = "geoseg_map"
CHIPS = "geoseg_chips"
CHIPS_KEY = "chips"


def read_own_asset(name: str) -> str:
    return (files("geoseg.app") / "assets" / name).read_text(encoding="utf-8")


def show_map(data: dict[str, Any], key: str) -> None:
    """The map; what it tells is asked for by `ask_map`."""
    mount = st.components.v2.component(
        MAP,
        html=read_own_asset("app_map.html"),
        css="\n".join([read_asset("leaflet.css"), read_asset("map.css"), read_own_asset("app_map.css")]),
        js="\n".join([read_asset("leaflet.js"), read_asset("map.js"), read_own_asset("app_map.js")]),
    )
    mount(
        data=data,
        key=key,
        default={"drawn": None, "known": None, "seen": None},
        on_drawn_change=ignore,
        on_known_change=ignore,
        on_seen_change=ignore,
    )


def ask_map(key: str, name: str, run: str) -> Any:
    """What the map of a run told last: the polygons `drawn` on it, the pictures `known` to it, the part that is `seen`.

    None where it has told nothing.
    """
    told = getattr(st.session_state.get(key), name, None)
    return told.get("value") if isinstance(told, dict) and told.get("run") == run else None


def ignore() -> None:
    """What the map tells is read when the page runs again, which it does by itself."""


def show_chips(data: dict[str, Any], on_answer: Callable[[], None]) -> None:
    """A place and what can be said of it; `on_answer` hears of keys and buttons."""
    mount = st.components.v2.component(
        CHIPS,
        html=read_own_asset("chips.html"),
        css=read_own_asset("chips.css"),
        js=read_own_asset("chips.js"),
    )
    mount(data=data, key=CHIPS_KEY, on_answer_change=on_answer)


def read_answer() -> Any:
    """What was said of a place last: its number and a word, or none to go back."""
    return getattr(st.session_state.get(CHIPS_KEY), "answer", None)
