"""What Streamlit runs: the pages of the app. A page is a thin script; add one to the list."""

from __future__ import annotations

import streamlit as st

from geoseg.app.options import read_app_options

st.set_page_config(page_title="geoseg", page_icon="🏠", layout="wide", menu_items={"about": "geoseg"})
ASKS_FOR_ANSWERS = bool(read_app_options().points)
PAGES = [
    st.Page("find_page.py", title="Find buildings", url_path="find", default=not ASKS_FOR_ANSWERS),
    st.Page("sample_page.py", title="Sample points", url_path="points", default=ASKS_FOR_ANSWERS),
]
st.navigation(PAGES, position="hidden" if len(PAGES) == 1 else "top").run()
