"""Fields of a form for the options of a command: each kind of option has its widget, and its help and limits with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from geoseg.app.forms import OPEN_CHOICES, format_label, list_fields
from geoseg.options import Option
from geoseg.reports.report import write_numbers

LARGEST = 1e9
STYLE = """<style>
.numbers { display: grid; grid-template-columns: repeat(auto-fit, minmax(135px, 1fr)); gap: 0.6rem; list-style: none; }
ul.numbers, ul.numbers li { margin: 0 !important; padding: 0 !important; }
ul.numbers li { background: rgba(128, 128, 128, 0.12); border-radius: 10px; padding: 0.6rem 0.8rem !important; }
.numbers strong { display: block; font-size: 1.25rem; line-height: 1.25; font-variant-numeric: tabular-nums; }
.numbers span { font-size: 0.8rem; opacity: 0.8; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(280px, 1fr)); gap: 1rem; }
.charts figure { margin: 0; } .charts figcaption { font-weight: 600; }
.charts text { fill: currentColor; font-size: 11px; } .charts rect { fill: #3b82c4; }
</style>"""

TIGHT = "<style>.stMainBlockContainer { padding-top: 3.5rem; padding-bottom: 3rem; } h1 { padding: 0 !important; }</style>"


def show_fields(names: Sequence[str], models: Sequence[str]) -> dict[str, Any]:
    """Fields for options of `infer`, and what people put in."""
    return {option.name: show_field(option, models) for option in list_fields(names)}


def show_field(option: Option, models: Sequence[str]) -> Any:
    """The widget that suits an option; its value is in the address of the page."""
    shared: dict[str, Any] = {
        "label": format_label(option.name), "key": option.name, "help": option.help, "bind": "query-params",
    }  # fmt: skip
    if option.name == "model":
        return st.selectbox(options=models, **shared)
    if option.choices:
        return st.selectbox(options=[str(choice) for choice in option.choices], **shared)
    if option.kind is bool:
        return OPEN_CHOICES[st.selectbox(options=list(OPEN_CHOICES), **shared)]
    if option.kind in (int, float):
        return show_number(option, shared)
    return st.text_input(value="" if option.default is None else str(option.default), **shared)


def show_number(option: Option, shared: dict[str, Any]) -> float | None:
    """A number within the limits of an option; empty where geoseg is to decide."""
    kind = option.kind
    least = kind(option.limits.least) if option.limits else kind(-LARGEST)
    most = kind(min(option.limits.most, LARGEST)) if option.limits else kind(LARGEST)
    step = kind(1) if kind is int or most > 1 else 0.01
    value: float | None = st.number_input(
        min_value=least, max_value=most, value=option.default, step=step, placeholder="automatic", **shared
    )
    return value


def show_numbers(numbers: Mapping[str, str], label: str) -> None:
    """Figures side by side, each with what it is below it."""
    st.html(STYLE + f'<ul class="numbers" aria-label="{label}">{write_numbers(numbers)}</ul>')
