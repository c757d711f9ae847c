"""Builds `site/`: the pages of `docs/`, and the API reference from the docstrings. Needs no network."""

from __future__ import annotations

import html
import shutil
import warnings
from pathlib import Path

import pdoc
import pdoc.render
from markdown_it import MarkdownIt

import actloop

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / "site"
PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 16px/1.6 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; color: #222 }}
pre, code {{ font: 14px/1.5 ui-monospace, monospace; background: #f5f5f5 }}
pre {{ padding: 0.8rem; overflow-x: auto }} table {{ border-collapse: collapse }}
td, th {{ border-bottom: 1px solid #ddd; padding: 0.3rem 0.8rem 0.3rem 0; text-align: left; vertical-align: top }}
</style>
<nav><a href="index.html">actloop</a> · <a href="architecture.html">Architecture</a> ·
<a href="api/index.html">API</a></nav>
{body}
</html>
"""


def main() -> None:
    """Build everything anew."""
    shutil.rmtree(SITE, ignore_errors=True)
    SITE.mkdir()
    markdown = MarkdownIt("commonmark").enable("table")
    for source in sorted((ROOT / "docs").glob("*.md")):
        text = source.read_text()
        body = markdown.render(text).replace('.md"', '.html"')
        page = PAGE.format(title=html.escape(text.split("\n")[0].lstrip("# ")), body=body)
        (SITE / f"{source.stem}.html").write_text(page)
    modules = sorted(
        {getattr(actloop, name).__module__ for name in actloop.__all__ if hasattr(getattr(actloop, name), "__module__")}
    )
    # pdoc reads annotations inside a class, where a method named `dict` hides the type; the text is shown all the same.
    warnings.filterwarnings("ignore", message="Error parsing type annotation")
    pdoc.render.configure(docformat="google", show_source=False, footer_text="actloop")
    pdoc.pdoc("actloop", *modules, output_directory=SITE / "api")
    print(f"site/index.html: {len(list(SITE.rglob('*.html')))} pages")


if __name__ == "__main__":
    main()
