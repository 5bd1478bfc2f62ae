"""The imports of this project's modules, found in their source code."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.support.paths import ROOT


@cache
def tree_of(path: Path) -> ast.Module:
    """Parse a module of this project. The tree is cached and shared, so it must not be changed."""
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def module_file(name: str) -> Path | None:
    """Return the resolved path of a module of this project, or ``None`` if there is no such module."""
    base = ROOT.joinpath(*name.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path.resolve()
    return None


def imported(tree: ast.AST) -> Iterator[str]:
    """Yield the dotted names of the modules that code imports, including imports inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if module_file(name) else node.module


def named_modules(tree: ast.AST) -> set[Path]:
    """Return the files of this project's modules that code imports by name."""
    return {path for name in imported(tree) if name.split(".")[0] == "mechtag" and (path := module_file(name))}


def own_modules(tree: ast.AST) -> set[Path]:
    """Return the files of this project that code imports, including ``__init__`` files that contain code."""
    found = named_modules(tree)
    packages = {parent / "__init__.py" for path in found for parent in path.parents if ROOT in parent.parents}
    return found | {path for path in packages if path.is_file() and len(tree_of(path).body) > 1}


class _AtRunTime(ast.NodeTransformer):
    """Removes the imports that only type checkers need."""

    def visit_If(self, node: ast.If) -> ast.AST | None:
        return None if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING" else node


@cache
def _imported_at_run_time(path: Path) -> set[Path]:
    # Parsed again and not taken from `tree_of`, because the transformer changes the tree.
    return own_modules(_AtRunTime().visit(ast.parse(path.read_text(encoding="utf-8"))))


def closure(start: set[Path]) -> set[Path]:
    """Return ``start`` and all files that are imported when these run, directly or indirectly."""
    todo, done = set(start), set[Path]()
    while todo:
        path = todo.pop()
        done.add(path)
        todo |= _imported_at_run_time(path) - done
    return done
