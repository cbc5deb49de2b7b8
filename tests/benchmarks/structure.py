"""How the code is built, in figures: modules, functions, names that stand twice, cycles, imports inside functions.

    python tests/benchmarks/structure.py                # as it is
    python tests/benchmarks/structure.py --against REF  # and as it was at a commit

Everything is read with `ast`; nothing is imported.
"""

from __future__ import annotations

import argparse
import ast
import subprocess
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from io import BytesIO
from pathlib import Path
from statistics import median, quantiles

ROOT = Path(__file__).parents[2]
PACKAGES = ("geoseg", "gee")
SMALL_LINES = 60
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """A file of code: its dotted name, number of lines and syntax tree."""

    name: str
    lines: int
    tree: ast.Module

    @classmethod
    def read(cls, path: Path, root: Path) -> Module:
        """Parse a file."""
        text = path.read_text(encoding="utf-8")
        name = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        return cls(name, len(text.splitlines()), ast.parse(text))

    @property
    def is_empty(self) -> bool:
        return not self.tree.body

    def functions(self) -> Iterator[Function]:
        return (node for node in ast.walk(self.tree) if isinstance(node, Function))

    def classes(self) -> list[str]:
        return [node.name for node in ast.walk(self.tree) if isinstance(node, ast.ClassDef)]

    def imports(self, tree: ast.AST | None = None) -> set[str]:
        """Every name that is imported at the top or inside a function, but not for types alone."""
        found: set[str] = set()
        for node in walk_without_types(tree or self.tree):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
        return found


def walk_without_types(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node but those below `if TYPE_CHECKING`."""
    yield tree
    for child in ast.iter_child_nodes(tree):
        if not (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test)):
            yield from walk_without_types(child)


def read_modules(root: Path) -> list[Module]:
    files = (path for package in PACKAGES for path in sorted((root / package).rglob("*.py")))
    return [module for path in files if not (module := Module.read(path, root)).is_empty]


def count_function_lines(modules: list[Module]) -> list[int]:
    """Lines of each function's body, without its docstring."""
    return [
        (function.end_lineno or 0) - first_line(function) + 1
        for module in modules
        for function in module.functions()
    ]


def first_line(function: Function) -> int:
    """Where the work of a function begins."""
    body = function.body
    has_docstring = isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant)
    return body[1].lineno if has_docstring and len(body) > 1 else body[0].lineno


def count_cycles(modules: list[Module]) -> int:
    """Cycles of imports between modules, inside functions as well; each found cycle is cut and counted."""
    names = {module.name for module in modules}
    graph = {module.name: module.imports() & names - {module.name} for module in modules}
    cycles = 0
    while True:
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            cycles += 1
            first, second = error.args[1][:2]
            graph[second] -= {first}
            graph[first] -= {second}
        else:
            return cycles


def count_local_imports(modules: list[Module]) -> int:
    """Statements that import inside a function, outside the command line and the front door."""
    return sum(
        isinstance(node, ast.Import | ast.ImportFrom)
        for module in modules
        if not module.name.startswith(("geoseg.cli", "geoseg.api"))
        for function in module.functions()
        for node in ast.walk(function)
    )


def measure_structure(root: Path) -> Mapping[str, str]:
    """The figures of a checkout."""
    modules = read_modules(root)
    lines = count_function_lines(modules)
    twice = [name for name, count in Counter(c for m in modules for c in m.classes()).items() if count > 1]
    return {
        "modules": f"{len(modules)}",
        f"modules under {SMALL_LINES} lines": f"{sum(module.lines < SMALL_LINES for module in modules)}",
        "lines": f"{sum(module.lines for module in modules):,}",
        "median lines of a module": f"{median(module.lines for module in modules):g}",
        "functions": f"{len(lines):,}",
        "median lines of a function": f"{median(lines):g}",
        "90th percentile": f"{quantiles(lines, n=10)[-1]:g}",
        "class names that stand twice": f"{len(twice)}",
        "cycles": f"{count_cycles(modules)}",
        "imports inside functions": f"{count_local_imports(modules)}",
    }


def extract_commit(reference: str, folder: Path) -> Path:
    """The packages as they were at a commit."""
    archive = subprocess.run(
        ["git", "archive", reference, *PACKAGES], cwd=ROOT, capture_output=True, check=True
    )
    with tarfile.open(fileobj=BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--against", metavar="REF", help="a commit to compare with")
    reference = parser.parse_args().against
    now = measure_structure(ROOT)
    with tempfile.TemporaryDirectory() as folder:
        before = measure_structure(extract_commit(reference, Path(folder))) if reference else {}
    for name, value in now.items():
        print(f"{name:32} {before[name] + '  ->  ' if reference else '':>18}{value}")


if __name__ == "__main__":
    main()
