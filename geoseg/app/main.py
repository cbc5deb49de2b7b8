"""What Streamlit runs: the pages of the app. A page is a thin script; add one to the list."""

from __future__ import annotations

import streamlit as st

st.set_page_config(page_title="geoseg", page_icon="🏠", layout="wide", menu_items={"about": "geoseg"})
PAGES = [
    st.Page("find_page.py", title="Find buildings", default=True),
    st.Page("sample_page.py", title="Sample points", url_path="points"),
]
st.navigation(PAGES, position="hidden" if len(PAGES) == 1 else "top").run()
