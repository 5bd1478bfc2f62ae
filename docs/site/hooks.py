"""Hooks of the documentation site: pages from outside docs/, links to them, and the reference of the command line."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import click
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
#: Pages of the site whose sources lie outside docs/.
OUTSIDE = {
    "overview.md": "README.md",
    "architecture.md": "ARCHITECTURE.md",
    "contributing.md": "CONTRIBUTING.md",
    "benchmarks-run.md": "benchmarks/README.md",
    "data.md": "data/README.md",
    "datasheet.md": "data/annotated/DATASHEET.md",
}
COMMANDS, SETTINGS = "reference/commands.md", "reference/settings.md"
_DEFAULTS = "<!-- defaults -->"
_PAGES = {source: page for page, source in OUTSIDE.items()}
# Code is left as it is.
_CODE_OR_LINK = re.compile(
    r"^```.*?^```$|`[^`\n]+`(?!\])|\[(?P<text>(?:[^\[\]]|\[[^\]]*\])*)\]\((?P<target>[^)\s]+)\)", re.M | re.S
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that have no file in docs/."""
    from mkdocs.structure.files import File

    for page, source in OUTSIDE.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    files.append(File.generated(config, COMMANDS, content=describe_commands()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links that are right in the repository be right on the site."""
    here = page.file.src_uri
    if here == SETTINGS:
        markdown = markdown.replace(_DEFAULTS, f"```yaml\n{describe_defaults()}```")
    return relink(markdown, here, OUTSIDE.get(here, f"docs/{here}"), set(files.src_uris))


def relink(markdown: str, page: str, source: str, known: set[str]) -> str:
    """Rewrite the links of a page.

    Parameters
    ----------
    page
        Path of the page on the site.
    source
        Path of its source in the repository, from which its links are resolved.
    known
        Paths on the site. A link to any other file of the repository is replaced by its text.
    """

    def rewrite(match: re.Match[str]) -> str:
        target = match["target"]
        if target is None or re.match(r"[a-z]+:|#", target):
            return match[0]
        path, mark, anchor = target.partition("#")
        there = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        found = _PAGES.get(there, there.removeprefix("docs/"))
        if found not in known:
            if not (ROOT / there).exists():
                return match[0]  # MkDocs reports it.
            return match["text"]
        link = posixpath.relpath(found, posixpath.dirname(page) or ".")
        return f"[{match['text']}]({link}{mark}{anchor})"

    return _CODE_OR_LINK.sub(rewrite, markdown)


def describe_commands() -> str:
    """Return the page of the command line: a table of the commands, then the help of each."""
    import click
    from typer.cli import get_docs_for_click
    from typer.main import get_command

    from mechtag.cli.main import app

    whole = get_command(app)
    context = click.Context(whole, info_name="mechtag")
    lines = ["# Command line", "", f"{_first(whole)} The same texts are printed by `mechtag COMMAND --help`.", ""]
    lines += ["| command | what it does |", "|---|---|"]
    parts = []
    for name, command in whole.commands.items():  # type: ignore[attr-defined]
        lines.append(f"| [`mechtag {name}`](#mechtag-{name}) | {_first(command)} |")
        parts.append(get_docs_for_click(obj=command, ctx=context, indent=1, name=name, call_prefix="mechtag"))
    text = "\n".join([*lines, "", *parts])
    # Help texts name pages as they are found in the repository.
    return re.sub(r"docs/([\w-]+\.md)", r"[\g<0>](../\1)", text)


def describe_defaults() -> str:
    """Return all settings with their default values, as YAML."""
    import yaml

    from mechtag.core.settings import Settings

    return yaml.safe_dump(Settings().model_dump(mode="json"), sort_keys=False)


def _first(command: click.Command) -> str:
    """Return the first paragraph of the help of a command."""
    return " ".join((command.help or "").split("\n\n")[0].split())
