"""The map as a component of a page: Leaflet and the script that the report uses, too, in one module without any server."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import streamlit as st

from geoseg.reports.page import read_asset

NAME = "geoseg_map"


def read_own_asset(name: str) -> str:
    return (files("geoseg.app") / "assets" / name).read_text(encoding="utf-8")


def show_map(data: dict[str, Any], key: str) -> object:
    """The map; gives the polygons that were drawn on it."""
    mount = st.components.v2.component(
        NAME,
        html=read_own_asset("app_map.html"),
        css="\n".join([read_asset("leaflet.css"), read_asset("map.css"), read_own_asset("app_map.css")]),
        js="\n".join([read_asset("leaflet.js"), read_asset("map.js"), read_own_asset("app_map.js")]),
    )
    return mount(
        data=data,
        key=key,
        default={"drawn": [], "known": None},
        on_drawn_change=ignore,
        on_known_change=ignore,
    ).drawn


def ask_known(key: str) -> str | None:
    """The map whose images the browser has."""
    known = getattr(st.session_state.get(key), "known", None)
    return known if isinstance(known, str) else None


def ignore() -> None:
    """What the map tells is read when the page runs again, which it does by itself."""
