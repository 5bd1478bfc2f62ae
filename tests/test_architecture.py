"""Test the layout of the code: which modules may import which, and what DVC must watch."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
import yaml

from mechtag.core.codebook import Strict
from mechtag.core.settings import Settings, TrainSettings
from tests.support.layout import closure, imported, named_modules, own_modules, tree_of
from tests.support.paths import ROOT

# The folders that each folder may import besides itself.
LAYERS = {
    "core": set(),
    "models": {"core"},
    "pipeline": {"core", "models"},
    "training": {"core", "models", "pipeline"},
    "evaluation": {"core", "pipeline"},
    "review": {"core", "models", "pipeline", "training", "evaluation", "mechtag"},
    "mechtag": {"core", "models", "pipeline", "training", "evaluation", "review"},
}
# Heavy or third-party libraries, and the only modules that may import them.
HOMES = {
    "torch": ("models/", "training/"),
    "transformers": ("models/", "training/"),
    "spacy": (
        "pipeline/reading/text/sentences.py",
        "pipeline/tagging/spacy_component.py",
        "pipeline/export/evidence_roles/suggest.py",
    ),
    "mlflow": ("training/mlflow_runs.py", "training/mlflow_model.py"),
    "pyarrow": ("core/parquet.py", "pipeline/tagging/storage.py"),
    "httpx": ("pipeline/fetch/transport.py", "pipeline/fulltext/grobid.py"),
    "pypdfium2": ("pipeline/fulltext/",),
    "lxml": ("pipeline/fulltext/", "pipeline/export/refi_qda.py", "pipeline/export/label_studio.py"),
    "docx": ("pipeline/fulltext/formats/docx.py", "pipeline/export/matrix.py"),
    "ray": ("pipeline/tagging/ray_engine.py",),
    "datasets": ("training/dataset.py", "mechtag/api.py"),
    "openvino": ("models/runtimes/",),
    "nncf": ("models/runtimes/openvino_encoder.py",),
    "sqlalchemy": ("review/",),
    "starlette": ("review/",),
    "uvicorn": ("review/",),
}
# Blocks of settings by their key in params.yaml; `NAMED` has them by the name of their class.
BLOCKS = {
    name: field.annotation
    for block in (Settings, TrainSettings)
    for name, field in block.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, Strict)
}
NAMED = {block.__name__: block for block in (Settings, *BLOCKS.values())}
# Modules that find the project or show progress do not affect what a stage computes.
SAME_RESULT = {ROOT / "mechtag" / name for name in ("__init__.py", "project.py", "workflows/reporter.py")}
OPTIONS = ROOT / "mechtag/cli/options.py"
SOURCES = sorted(path for layer in LAYERS for path in (ROOT / layer).rglob("*.py") if not path.parent.is_symlink())


def layer_of(path: Path) -> str:
    """Return the top-level folder of the repository that contains a module."""
    return path.relative_to(ROOT).parts[0]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(path: Path) -> None:
    relative, layer = path.relative_to(ROOT), layer_of(path)
    tree = tree_of(path)
    allowed = LAYERS[layer] | {layer}
    wrong = {str(other.relative_to(ROOT)) for other in own_modules(tree) if layer_of(other) not in allowed}
    if layer != "mechtag":
        wrong -= {"mechtag/__init__.py"}  # It has the version, which all may read.
    assert not wrong, f"{relative} imports {wrong}; a {layer} module may import {allowed}"
    names = set(imported(tree))
    assert not {name for name in names if name.split(".")[0] in LAYERS.keys() - {"mechtag"}}, "import from mechtag"
    for library, homes in HOMES.items():
        if any(name.split(".")[0] == library for name in names):
            assert str(relative).startswith(homes), f"{relative} imports {library}, which only {homes} may"


def test_no_module_imports_itself_through_others() -> None:
    graph = {path: named_modules(tree_of(path)) - {path} for path in SOURCES}
    order = TopologicalSorter(graph)
    order.prepare()  # Raises CycleError, which names the cycle.


def library_texts(tree: ast.Module) -> Iterator[str]:
    """Yield the texts of a module other than docstrings and the parameter ``options`` of errors."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "MechtagError"]
    keywords = [keyword for call in calls for keyword in call.keywords if keyword.arg == "options"]
    named = {inner.id for node in keywords for inner in ast.walk(node.value) if isinstance(inner, ast.Name)}
    skipped = {id(inner) for node in keywords for inner in ast.walk(node)}
    for node in ast.walk(tree):
        documented = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        of_options = isinstance(node, ast.Assign) and not named.isdisjoint(
            target.id for target in node.targets if isinstance(target, ast.Name)
        )
        if documented or of_options:
            skipped |= {id(inner) for inner in ast.walk(node)}
        if id(node) in skipped:
            continue
        if isinstance(node, ast.JoinedStr):
            skipped |= {id(part) for part in node.values if isinstance(part, ast.Constant)}
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "..." for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@pytest.mark.parametrize(
    "path",
    [path for path in SOURCES if ROOT / "mechtag/cli" not in path.parents],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_only_the_command_line_speaks_of_its_options(path: Path) -> None:
    # Whole commands in quotation marks, and texts that are only an option, for example in a list, are allowed.
    texts = [re.sub(r"'mechtag [^']*'", "", text) for text in library_texts(tree_of(path))]
    wrong = [text for text in texts if re.search(r"(?<![\w-])--(?!hash=)[a-z]", text) and " " in text]
    assert not wrong, "pass options to the parameter 'options' of MechtagError"


def test_pipeline_has_few_packages() -> None:
    """A newcomer can take in the jobs of the pipeline at a glance; see docs/decisions/2026-11-30-layout.md."""
    packages = {path.parent.name for path in (ROOT / "pipeline").glob("*/__init__.py")}
    assert len(packages) <= 9, f"move a package that serves only one job into the package of that job: {packages}"
    assert {path.name for path in (ROOT / "pipeline").glob("*.py")} == {"__init__.py"}


def test_tests_import_shared_helpers_only() -> None:
    """Test modules share helpers in ``tests/support`` only, so that each can be moved or deleted on its own."""
    for path in (ROOT / "tests").rglob("*.py"):
        names = {name for name in imported(tree_of(path)) if name.split(".")[0] == "tests"}
        wrong = {name for name in names if not name.startswith("tests.support.")}
        assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


def stages() -> Iterator[tuple[str, dict[str, object]]]:
    """Yield the name and content of each DVC stage; the content of a repeated stage is its template."""
    for name, stage in yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"].items():
        yield name, stage.get("do", stage)


def command_modules() -> Iterator[tuple[Path, dict[str, ast.FunctionDef]]]:
    """Yield each module of ``mechtag/cli`` with its functions by name."""
    for path in sorted((ROOT / "mechtag/cli").glob("*.py")):
        body = tree_of(path).body
        yield path, {node.name: node for node in body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize(("name", "stage"), list(stages()), ids=[name for name, _ in stages()])
def test_stage_depends_on_every_module_it_imports(name: str, stage: dict[str, list[str]]) -> None:
    command = str(stage["cmd"]).split()
    assert command[0] == "mechtag", "stages call the command that users call"
    modules = dict(command_modules())
    module = next(path for path, functions in modules.items() if command[1] in functions)
    functions = modules[OPTIONS] | modules[module]
    bodies: list[ast.AST] = [functions[command[1]]]
    called = {node.id for node in ast.walk(bodies[0]) if isinstance(node, ast.Name)}
    bodies += [functions[helper] for helper in called & functions.keys()]
    needed = closure(set().union(*(own_modules(body) for body in bodies)))
    watched = [ROOT / dep for dep in stage["deps"] if "${" not in dep]
    missing = {
        str(path.relative_to(ROOT))
        for path in needed - SAME_RESULT
        if not any(path == dep or dep in path.parents for dep in watched)
    }
    assert not missing, f"stage {name}: add to deps in dvc.yaml: {sorted(missing)}"


@pytest.mark.parametrize(("name", "stage"), list(stages()), ids=[name for name, _ in stages()])
def test_stage_that_reads_annotations_sees_those_that_were_added(name: str, stage: dict[str, list[str]]) -> None:
    deps = stage["deps"]
    assert ("${train.records}" in deps) == ("${train.added}/in_use.json" in deps), name


class Reads(ast.NodeVisitor):
    """Collects the settings that a module reads, as pairs of a block of settings and a key.

    A block is recognised by the annotation of a name, by the value of a name, or by an attribute: ``settings.train``.
    """

    def __init__(self) -> None:
        self.found: set[tuple[type[Strict], str]] = set()
        self._names: dict[str, type[Strict] | None] = {"settings": Settings}
        self._attributes: dict[str, type[Strict] | None] = {"settings": Settings}

    def _block(self, node: ast.AST) -> type[Strict] | None:
        """Return the block of settings that an expression refers to, or ``None``."""
        if isinstance(node, ast.Attribute):
            return BLOCKS.get(node.attr) if self._block(node.value) else self._attributes.get(node.attr)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            return self._block(node.func.value)
        if isinstance(node, ast.Call):
            return self._block(node.func)
        return self._names.get(node.id, NAMED.get(node.id)) if isinstance(node, ast.Name) else None

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        outside = dict(self._names)
        self.generic_visit(node)
        self._names = outside

    def visit_arg(self, node: ast.arg) -> None:
        if node.annotation is not None:
            self._names[node.arg] = NAMED.get(ast.unparse(node.annotation))

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if isinstance(node.target, ast.Name):
            # Usually a field of a class.
            self._attributes[node.target.id] = NAMED.get(ast.unparse(node.annotation))
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        self.generic_visit(node)
        for target in node.targets:
            pairs = [(target, node.value)]
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = list(zip(target.elts, node.value.elts, strict=True))
            for name, value in pairs:
                if (block := self._block(value)) and isinstance(name, ast.Name):
                    self._names[name.id] = block
                elif block and isinstance(name, ast.Attribute):
                    self._attributes[name.attr] = block

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.generic_visit(node)
        if isinstance(node.ctx, ast.Load) and (block := self._block(node.value)):
            self.found.add((block, node.attr))


def test_every_setting_is_read() -> None:
    # DVC reads this setting to repeat stages for each source.
    assert "${sources}" in (ROOT / "dvc.yaml").read_text(encoding="utf-8")
    read = {(Settings, "sources")}
    for path in SOURCES:
        reads = Reads()
        reads.visit(tree_of(path))
        read |= reads.found
    for block in NAMED.values():
        for key in block.model_fields:
            assert (block, key) in read, f"nothing reads {key} of {block.__name__}"


def test_every_block_of_settings_is_watched_by_a_stage() -> None:
    watched = {key.split(".")[0] for _, stage in stages() for key in stage.get("params", [])}
    blocks = BLOCKS.keys() & Settings.model_fields.keys()
    # No stage reads roles of evidence. Retraining and coding by language models are not stages: they change the data
    # that the stages read.
    assert blocks - {"retrain", "llm", "roles"} | {"seed", "codebook"} <= watched
