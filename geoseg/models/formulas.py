"""Formulas of derived bands: what a network sees beside a scene's own bands, written in the names of the bands."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

SMALLEST_DIVISOR = 1e-6
LONGEST_FORMULA = 500


def divide(above: Any, below: Any) -> Tensor:
    above, below = torch.as_tensor(above), torch.as_tensor(below)
    nothing = below.abs() < SMALLEST_DIVISOR
    return torch.where(nothing, torch.zeros_like(above / 1), above / torch.where(nothing, 1, below))


# What a formula may be made of. Anything else is refused, so that a card can bring no code along.
OPERATIONS: dict[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: divide,
}
FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "abs": torch.abs,
    "sqrt": lambda values: values.clamp(min=0).sqrt(),
}


@dataclass(frozen=True)
class Formula:
    """A checked formula of band names, such as `(nir - red) / (nir + red)`. A division by zero gives zero."""

    text: str
    tree: ast.expr

    @classmethod
    def parse(cls, text: str, bands: Sequence[str]) -> Formula:
        """Check a formula against the names it may use; a `ValueError` tells what is wrong with it."""
        try:
            if len(text) > LONGEST_FORMULA:
                raise ValueError(f"it is longer than {LONGEST_FORMULA} letters")
            tree = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError) as error:
            raise ValueError(
                f"formula {text[:60]!r} cannot be read; write it like (nir - red) / (nir + red)"
            ) from error
        refuse_unknown(tree, text, bands)
        return cls(text, tree)

    def __call__(self, bands: Mapping[str, Tensor]) -> Tensor:
        anyone = next(iter(bands.values()))
        return torch.as_tensor(evaluate_node(self.tree, bands)).to(anyone).expand_as(anyone)


def refuse_unknown(node: ast.expr, text: str, bands: Sequence[str]) -> None:
    """Refuse whatever is neither a number, a band, one of four operations nor a known function."""
    match node:
        case ast.Constant(value=int() | float()) if not isinstance(node.value, bool):
            return
        case ast.Name(id=name):
            if name not in bands:
                raise ValueError(f"formula {text!r} names {name!r}; the bands are {', '.join(bands)}")
        case ast.BinOp(left=left, op=operation, right=right) if type(operation) in OPERATIONS:
            refuse_unknown(left, text, bands)
            refuse_unknown(right, text, bands)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            refuse_unknown(operand, text, bands)
        case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in FUNCTIONS:
            refuse_unknown(argument, text, bands)
        case _:
            known = ", ".join(FUNCTIONS)
            raise ValueError(
                f"formula {text!r} holds {ast.unparse(node)!r}; only + - * / numbers, bands, {known} may stand in it"
            )


def evaluate_node(node: ast.expr, bands: Mapping[str, Tensor]) -> Any:
    match node:
        case ast.Constant(value=value):
            return float(value)  # type: ignore[arg-type]
        case ast.Name(id=name):
            return bands[name]
        case ast.BinOp(left=left, op=operation, right=right):
            return OPERATIONS[type(operation)](evaluate_node(left, bands), evaluate_node(right, bands))
        case ast.UnaryOp(operand=operand):
            return -evaluate_node(operand, bands)
        case ast.Call(func=ast.Name(id=name), args=[argument]):
            return FUNCTIONS[name](torch.as_tensor(evaluate_node(argument, bands)))
    raise AssertionError(f"unchecked formula: {ast.unparse(node)}")
