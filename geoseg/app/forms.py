"""The options of a run as fields of a form: which ones the app shows, what they are called, and what is made of the answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from geoseg.models.store import list_builtin_models
from geoseg.options import PARAMETER, UNITS, Option, list_options
from geoseg.workflows.options import InferOptions

FIRST_FIELDS = ("model", "threshold", "min_area_m2", "split", "regularize", "gsd")
MORE_FIELDS = ("simplify_m", "max_hole_m2", "connectivity", "tta", "overlap", "bands", "assume_crs")
LABELS = {
    "gsd": "Pixel size",
    "tta": "Average over views",
    "min_area_m2": "Minimum area (m²)",
    "max_hole_m2": "Largest hole filled (m²)",
    "split": "Splitting",
    "regularize": "Straightening",
    "assume_crs": "CRS of the image",
}
UNIT_WORDS = {"_m2": " (m²)", "_m": " (m)"}
OPEN_CHOICES: Mapping[str, bool | None] = {"automatic": None, "on": True, "off": False}
"""What a yes or no that may be left to geoseg is called."""


def list_fields(names: Sequence[str]) -> list[Option]:
    """Options of `infer` by their names."""
    known = {option.name: option for option in list_options(InferOptions)}
    return [known[name] for name in names]


def format_label(name: str) -> str:
    """What a field is called: `simplify_m` is Simplify (m)."""
    if name in LABELS:
        return LABELS[name]
    unit = UNITS.search(name)
    words = UNITS.sub("", name).replace("_", " ").capitalize()
    return words + (UNIT_WORDS[unit[0]] if unit else "")


def show_labels(text: str) -> str:
    """A message in which parameters stand as the form knows them: `min_area_m2` becomes Minimum area (m²)."""
    return PARAMETER.sub(lambda match: format_label(match[1]), text)


def list_models(more: Sequence[str]) -> list[str]:
    """The models that can be chosen, the default one first."""
    builtin = list_builtin_models()
    return sorted(builtin, key=lambda name: name != InferOptions().model) + list(more)


def make_options(answers: Mapping[str, Any]) -> InferOptions:
    """Options of a run by the answers of a form; what is empty is left to geoseg."""
    given = {name: value for name, value in answers.items() if value not in (None, "")}
    return InferOptions().replace(given)
