"""Builds `site/`: the pages of the documentation, and the API reference from the docstrings. Needs no network.

`python scripts/build_docs.py [FOLDER] [--pages]` writes to another folder, or leaves the API reference out.
"""

from __future__ import annotations

import argparse
import html
import os
import posixpath
import re
import shutil
import sys
import warnings
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from markdown_it import MarkdownIt
from pygments import highlight
from pygments.formatters import HtmlFormatter

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from markdown_it.token import Token

ROOT = Path(__file__).resolve().parent.parent
PARTS = Path(__file__).resolve().parent / "page_parts"
API_MODULES = ("actloop", "actloop.screens.browser", "actloop.tools.streaming")
"""Modules of the API reference: the public names, and what the pages import from deeper ones."""
LEXERS: Any = import_module("pygments.lexers")  # its types are not known


@dataclass(slots=True)
class Page:
    """One page: where its text lies in the repository, and its place in the site."""

    source: str
    place: str
    text: str
    title: str = field(init=False)

    def __post_init__(self) -> None:
        found = re.search(r"^# (.+)", self.text, re.MULTILINE)
        self.title = found[1] if found else posixpath.basename(self.source)


def all_pages() -> dict[str, Page]:
    """Every page by the path of its source."""
    places = {path: f"{path.stem}.html" for path in (ROOT / "docs").glob("*.md")}
    places |= {ROOT / name: f"{name.lower()[:-3]}.html" for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")}
    places[ROOT / "benchmarks" / "README.md"] = "benchmarks.html"
    places[ROOT / "examples" / "README.md"] = "examples/index.html"
    places |= {path: f"examples/{path.stem}.html" for path in (ROOT / "examples").glob("*.py")}
    pages: dict[str, Page] = {}
    for path, place in sorted(places.items()):
        text = path.read_text()
        source = path.relative_to(ROOT).as_posix()
        pages[source] = Page(
            source, place, text if path.suffix == ".md" else f"# {path.name}\n\n```python\n{text}```\n"
        )
    return pages


class Writer:
    """Turns pages into HTML whose links lead from page to page.

    Args:
        pages: Every page by the path of its source.
        site: The folder that is written.
    """

    def __init__(self, pages: dict[str, Page], site: Path) -> None:
        self._pages = pages
        self._site = site
        self._markdown = MarkdownIt("commonmark", {"highlight": _coloured}).enable("table")
        self._frame = (PARTS / "page.html").read_text()

    def write(self, page: Page) -> None:
        """Write one page, and the images that it shows."""
        tokens = [token for token in self._markdown.parse(page.text) if token.type != "html_block"]
        for token in _flat(tokens):
            for name in ("href", "src"):
                target = token.attrGet(name)
                if isinstance(target, str):
                    token.attrSet(name, self._address(page, target))
        for place, token in enumerate(tokens):
            if token.type == "heading_open":
                token.attrSet("id", slug(tokens[place + 1].content))
        body = self._markdown.renderer.render(tokens, self._markdown.options, {})
        values = {"title": page.title, "top": _up(page), "navigation": self._navigation(page), "body": body}
        path = self._site / page.place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(re.sub(r"\{\{(\w+)\}\}", lambda found: values[found[1]], self._frame))

    def _address(self, page: Page, target: str) -> str:
        """A link of a page as it leads within the site; images are copied."""
        if re.match(r"[a-z]+:|#", target):
            return target
        link, mark, anchor = target.partition("#")
        source = posixpath.normpath(posixpath.join(posixpath.dirname(page.source), link))
        if (ROOT / source).is_dir():
            source = f"{source}/README.md"
        if source in self._pages:
            return f"{_up(page)}{self._pages[source].place}{mark}{anchor}"
        if Path(source).suffix not in (".png", ".svg", ".jpg"):
            raise SystemExit(f"{page.source}: the link {target} leads to no page of the site")
        place = f"images/{posixpath.basename(source)}"
        (self._site / "images").mkdir(exist_ok=True)
        shutil.copyfile(ROOT / source, self._site / place)
        return f"{_up(page)}{place}"

    def _navigation(self, page: Page) -> str:
        """Links to all pages, grouped and named as in the index."""
        index = self._pages["docs/index.md"]
        lines: list[str] = []
        for title, items in re.findall(r"^## (.+)\n((?:.*\n)*?)(?=\n*## |\Z)", index.text, re.MULTILINE):
            links = [
                (name, self._address(index, link))
                for name, link in re.findall(r"^- \[(.+?)\]\((.+?)\)", items, re.MULTILINE)
            ]
            lines.append(f"<h2>{html.escape(title)}</h2>\n<ul>{''.join(_entry(page, *link) for link in links)}</ul>")
        more = [
            ("Examples", "examples/index.html"),
            ("API reference", "api/actloop.html"),
            ("Changelog", "changelog.html"),
        ]
        lines.append(f"<h2>More</h2>\n<ul>{''.join(_entry(page, *link) for link in more)}</ul>")
        return "\n".join(lines)


def _entry(page: Page, name: str, place: str) -> str:
    here = ' aria-current="page"' if place == page.place else ""
    return f'<li><a href="{_up(page)}{place}"{here}>{html.escape(name)}</a></li>'


def _up(page: Page) -> str:
    """The way from a page to the top of the site."""
    return "../" * page.place.count("/")


def _flat(tokens: Sequence[Token]) -> Iterator[Token]:
    for token in tokens:
        yield token
        yield from _flat(token.children or ())


def slug(heading: str) -> str:
    """A heading as the anchor of links to it, as GitHub forms them."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def _coloured(code: str, language: str, _: Any) -> str:
    if language not in ("python", "sh"):
        return ""
    return highlight(code, LEXERS.get_lexer_by_name(language), HtmlFormatter(nowrap=True))


def _colours(style: str) -> str:
    return str(cast("Any", HtmlFormatter(style=style)).get_style_defs("pre"))


def build_pages(site: Path) -> None:
    """Write all pages."""
    pages = all_pages()
    writer = Writer(pages, site)
    for page in pages.values():
        writer.write(page)
    dark = f"@media (prefers-color-scheme: dark) {{\n{_colours('github-dark')}\n}}"
    (site / "style.css").write_text("\n".join([_colours("default"), dark, (PARTS / "style.css").read_text()]))


def build_api(site: Path) -> None:
    """Write the reference of every public name."""
    import pdoc
    import pdoc.render

    # Annotations that pdoc cannot resolve (inside of libraries, and where a method hides a type) are shown as text.
    warnings.filterwarnings("ignore", message="Error parsing type annotation|Failed to run TYPE_CHECKING code")
    pdoc.render.configure(docformat="google", show_source=False, footer_text="actloop", template_directory=PARTS)
    wanted = "|".join(re.escape(name) for name in API_MODULES)
    pdoc.pdoc(*API_MODULES, rf"!(?!({wanted})$)", output_directory=site / "api")


def main() -> None:
    """Build everything anew."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "site")
    parser.add_argument("--pages", action="store_true", help="leave the API reference out")
    given = parser.parse_args()
    site: Path = given.folder
    shutil.rmtree(site, ignore_errors=True)
    site.mkdir(parents=True)
    build_pages(site)
    if not given.pages:
        build_api(site)
    shown = os.path.relpath(site / "index.html")
    print(f"{shown}: {len(list(site.rglob('*.html')))} pages", file=sys.stdout)


if __name__ == "__main__":
    main()
