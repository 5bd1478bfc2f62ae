"""What the code imports, read off its sources."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.support.paths import ROOT


@cache
def tree_of(path: Path) -> ast.Module:
    """Parse a module of this project; the tree is shared, so it must not be changed."""
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def module_file(name: str) -> Path | None:
    """Give the file of a module of this project, where it lies in the repository."""
    base = ROOT.joinpath(*name.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path.resolve()
    return None


def imported(tree: ast.AST) -> Iterator[str]:
    """Dotted names of the modules that code imports, inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if module_file(name) else node.module


def named_modules(tree: ast.AST) -> set[Path]:
    """Files of this project that code imports by name."""
    return {path for name in imported(tree) if name.split(".")[0] == "mechtag" and (path := module_file(name))}


def own_modules(tree: ast.AST) -> set[Path]:
    """Files of this project that code imports, and the ``__init__`` of their packages that do something."""
    found = named_modules(tree)
    packages = {parent / "__init__.py" for path in found for parent in path.parents if ROOT in parent.parents}
    return found | {path for path in packages if path.is_file() and len(tree_of(path).body) > 1}


class _AtRunTime(ast.NodeTransformer):
    """Takes out what is imported for type checkers alone."""

    def visit_If(self, node: ast.If) -> ast.AST | None:
        return None if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING" else node


@cache
def _imported_at_run_time(path: Path) -> set[Path]:
    # Parsed again, because what is imported for type checkers alone is taken out of the tree.
    return own_modules(_AtRunTime().visit(ast.parse(path.read_text(encoding="utf-8"))))


def closure(start: set[Path]) -> set[Path]:
    """Files that are imported from ``start`` when it runs, directly or through others."""
    todo, done = set(start), set[Path]()
    while todo:
        path = todo.pop()
        done.add(path)
        todo |= _imported_at_run_time(path) - done
    return done
