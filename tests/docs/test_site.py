"""Test that the documentation site builds without warnings, is complete, and works offline without a server."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote, urlsplit

import pytest
from typer.main import get_command

from mechtag import __all__ as public
from mechtag.cli.main import app
from mechtag.core.settings import Settings
from tests.support.chromium import MARKS, chromium
from tests.support.paths import ROOT

INSTALLED = all(importlib.util.find_spec(name) for name in ("mkdocs", "material", "mkdocstrings"))
# What a page loads, as opposed to what it links to.
LOADED = {"script": "src", "link": "href", "img": "src", "source": "srcset", "iframe": "src"}


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hooks", ROOT / "docs/site/hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not INSTALLED:
        pytest.skip("install the extra 'docs' to build the site")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stderr
    return folder


class Links(HTMLParser):
    """The resources that an HTML page loads, the targets of its links, and the ids of its elements."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.loaded, self.linked, self.places = set[str](), set[str](), set[str]()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if named.get("id"):
            self.places.add(str(named["id"]))
        if tag == "a" and named.get("href"):
            self.linked.add(str(named["href"]))
        elif tag in LOADED and named.get(LOADED[tag]) and named.get("rel") not in ("canonical", "prev", "next"):
            self.loaded.add(str(named[LOADED[tag]]))


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Links]:
    return {page: Links(page) for page in sorted(site.rglob("*.html"))}


@pytest.mark.slow
def test_a_page_loads_only_files_of_the_site(pages: dict[Path, Links]) -> None:
    assert len(pages) > 60
    for page, links in pages.items():
        if page.name == "404.html":
            continue  # Only a server shows this page, so its addresses may be absolute.
        for address in links.loaded:
            assert not re.match(r"[a-z]+:|/", address), f"{page.name} loads {address}"
            assert (page.parent / unquote(urlsplit(address).path)).is_file(), f"{page.name} loads {address}"


@pytest.mark.slow
def test_a_link_leads_to_a_place_on_the_site_or_to_the_web(pages: dict[Path, Links]) -> None:
    followed = 0
    for page, links in pages.items():
        for address in links.linked if page.name != "404.html" else ():
            parts = urlsplit(address)
            if parts.scheme in ("http", "https"):
                continue
            assert not parts.scheme, f"{page.name} links to {address}"
            there = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            assert there.is_file(), f"{page.name} links to {address}"
            if parts.fragment and there in pages:
                assert unquote(parts.fragment) in pages[there].places, f"{page.name} links to {address}"
            followed += 1
    assert followed > 1000


@pytest.mark.slow
def test_the_reference_has_every_command_every_name_and_every_setting(pages: dict[Path, Links], site: Path) -> None:
    commands = pages[site / "reference/commands.html"].places
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        assert {f"mechtag-{name}", *(f"mechtag-{name}-{own}" for own in getattr(command, "commands", ()))} <= commands
    assert {"mechtag-tag", "mechtag-encoder-get"} <= commands
    places = pages[site / "reference/api.html"].places
    assert {name for name in public if not name.startswith("_")} <= {place.split(".")[-1] for place in places}
    text = (site / "reference/settings.html").read_text(encoding="utf-8")
    plain = re.sub(r"<[^>]+>", "", text)
    assert all(f"\n{name}:" in plain for name in Settings.model_fields if name != "seed")
    assert "relevance_precision: 0.8" in plain


@pytest.mark.slow
def test_no_page_shows_markup(pages: dict[Path, Links]) -> None:
    """No page shows Markdown markup, such as a list or table that GitHub recognises but MkDocs does not."""
    for page in pages:
        text = page.read_text(encoding="utf-8")
        text = re.sub(r"<(script|style|pre|code)\b.*?</\1>|<[^>]+>", "", text, flags=re.S)
        assert not re.search(r"^\s*\|.*\|\s*$|\]\(|^\s*```|^\s*:::|^- \S", text, re.M), page.name


@pytest.mark.slow
@pytest.mark.skipif(MARKS[1].args[0], reason=MARKS[1].kwargs["reason"])
def test_the_search_works_from_a_folder(site: Path) -> None:
    with chromium() as browser:
        context = browser.new_context(offline=True)
        context.set_default_timeout(120_000)
        page = context.new_page()
        asked, trouble = list[str](), list[str]()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: trouble.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.goto((site / "index.html").as_uri())
        page.click(".md-search__input")
        page.keyboard.type("stopping rule")
        page.locator(".md-search-result__item").first.wait_for()
        page.locator(".md-search-result__item a").first.click()
        page.wait_for_url("**/*h=*")
        assert "stopping" in page.inner_text("article").casefold()
    assert trouble == []
    assert [address for address in asked if not address.startswith(("file:", "data:", "blob:", "about:"))] == []


KNOWN = {"index.md", "metrics.md", "overview.md", "decisions/README.md", "decisions/x.md", "data.md", "images/home.png"}


@pytest.mark.parametrize(
    ("page", "source", "text", "expected"),
    [
        ("overview.md", "README.md", "[a](docs/metrics.md#b)", "[a](metrics.md#b)"),
        ("metrics.md", "docs/metrics.md", "[a](../README.md#c) [b](#b)", "[a](overview.md#c) [b](#b)"),
        ("decisions/x.md", "docs/decisions/x.md", "[a](../metrics.md)", "[a](../metrics.md)"),
        ("decisions/x.md", "docs/decisions/x.md", "[a](README.md)", "[a](README.md)"),
        ("index.md", "docs/index.md", "![a](images/home.png)", "![a](images/home.png)"),
        ("data.md", "data/README.md", "[the *table*](annotated/table2.csv)", "the *table*"),
        ("index.md", "docs/index.md", "[a](https://example.org/x.md)", "[a](https://example.org/x.md)"),
        ("index.md", "docs/index.md", "[a](no-such-page.md)", "[a](no-such-page.md)"),
        ("data.md", "data/README.md", "`[a](../docs/metrics.md)`", "`[a](../docs/metrics.md)`"),
        ("data.md", "data/README.md", "[`a`](../docs/metrics.md)", "[`a`](metrics.md)"),
        (
            "data.md",
            "data/README.md",
            "```text\n[a](../docs/metrics.md)\n```\n[a](../docs/metrics.md)",
            "```text\n[a](../docs/metrics.md)\n```\n[a](metrics.md)",
        ),
    ],
)
def test_a_link_in_the_repository_becomes_a_link_in_the_site(
    hooks: ModuleType, page: str, source: str, text: str, expected: str
) -> None:
    assert hooks.relink(text, page, source, KNOWN) == expected
