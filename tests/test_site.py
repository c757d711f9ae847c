"""The documentation as a site: built as `make docs` builds it, every link leads to a page, an image or a heading."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).resolve().parents[1]
HAS_PDOC = importlib.util.find_spec("pdoc") is not None


class Page(HTMLParser):
    """What a page links to, and the anchors that it has."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        named = dict(attrs)
        self.links += [value for name in ("href", "src") if (value := named.get(name))]
        self.anchors |= {value for value in [named.get("id")] if value}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built") / "site"
    command = [sys.executable, str(ROOT / "scripts" / "build_docs.py"), str(folder), *([] if HAS_PDOC else ["--pages"])]
    path = os.pathsep.join([str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": path})
    assert done.returncode == 0, done.stderr
    return folder


def test_every_link_of_the_site_leads_somewhere(site: Path) -> None:
    pages = {path: Page(path) for path in site.rglob("*.html") if "api" not in path.parts}
    assert len(pages) > 25
    lost: list[str] = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or link.startswith("data:"):
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not HAS_PDOC and target.is_relative_to(site / "api"):
                continue
            anchored = not parts.fragment or target not in pages or parts.fragment in pages[target].anchors
            if not target.is_file() or not anchored:
                lost.append(f"{path.relative_to(site)}: {link}")
    assert lost == []


def test_it_holds_every_page_of_the_repository(site: Path) -> None:
    for source in (ROOT / "docs").glob("*.md"):
        assert (site / f"{source.stem}.html").is_file()
    for source in (ROOT / "examples").glob("*.py"):
        assert (site / "examples" / f"{source.stem}.html").is_file()
    assert {path.name for path in (site / "images").iterdir()} <= {
        path.name for path in (ROOT / "docs/images").iterdir()
    }
    readme = (site / "readme.html").read_text()
    assert 'href="moving-from-smolagents.html"' in readme
    assert 'href="benchmarks.html"' in readme
    assert "replies" not in (site / "async.html").read_text().partition("<main>")[2].partition("Many tasks at once")[0]


@pytest.mark.skipif(not HAS_PDOC, reason="pdoc is not installed")
def test_the_reference_covers_every_public_name(site: Path) -> None:
    import actloop

    anchors = Page(site / "api" / "actloop.html").anchors
    assert [name for name in actloop.__all__ if name not in anchors and name != "__version__"] == []
