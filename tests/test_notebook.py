"""The example notebook runs from its first cell to its last, as Jupyter would run it."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
NOTEBOOK = EXAMPLES / "first-steps.ipynb"
CELLS = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]


def run_cell(source: str, names: dict[str, Any]) -> Any:
    """Run a cell; gives the value of its last line, as Jupyter shows it."""
    body = ast.parse(source).body
    last = body.pop() if isinstance(body[-1], ast.Expr) else None
    exec(compile(ast.Module(body, []), NOTEBOOK.name, "exec"), names)
    if not isinstance(last, ast.Expr):
        return None
    return eval(compile(ast.Expression(last.value), NOTEBOOK.name, "eval"), names)


def test_it_runs_from_the_first_cell_to_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(EXAMPLES)
    mpl.use("Agg")
    names: dict[str, Any] = {}
    shown = [run_cell("".join(cell["source"]), names) for cell in CELLS if cell["cell_type"] == "code"]
    values = [value for value in shown if value is not None]
    assert all(hasattr(value, "_repr_html_") for value in values)
    assert "<iframe" in values[0]._repr_html_()
    assert names["result"].count > 50
    assert len(values[-1]._repr_html_()) > 100


def test_it_holds_no_outputs() -> None:
    assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in CELLS)
