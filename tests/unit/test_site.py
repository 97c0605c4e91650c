"""The documentation as a site: built as `.ci/run` builds it, it loads nothing from the network."""

import html
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox import pages
from sandbox.program import ROOT
from sandbox.sitehook import to_repository

pytestmark = pytest.mark.slow

REPOSITORY = "https://github.com/spacelift-io/spacelift-aws-operator"
# What a browser loads by itself, unlike a link, which somebody has to follow.
LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "object": "data"}


class Loads(HTMLParser):
    """Collects the addresses that a page loads."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "link" and values.get("rel") not in ("canonical", "prev", "next", "alternate"):
            self.found.append(values.get("href") or "")
        elif address := values.get(LOADED.get(tag, "")):
            self.found.append(address)


def outside(addresses: list[str]) -> list[str]:
    return [address for address in addresses if re.match(r"(\w+:)?//", address)]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    mkdocs = Path(sys.executable).with_name("mkdocs")
    done = subprocess.run(
        [mkdocs, "build", "--strict", "--quiet", "--site-dir", folder], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    built = sorted(site.rglob("*.html"))
    assert len(built) > 20
    for page in built:
        loads = Loads()
        loads.feed(page.read_text())
        assert 'data-md-component="source"' not in page.read_text(), "the theme asks GitHub about the repository"
        assert any(address.endswith(".css") for address in loads.found), page
        assert outside(loads.found) == [], page
    for sheet in site.rglob("*.css"):
        assert outside(re.findall(r"""(?:url\(|@import )["']?([^)"']+)""", sheet.read_text())) == [], sheet


def test_pages_with_diagrams_bring_what_draws_them(site: Path) -> None:
    """The theme loads Mermaid from elsewhere where a page with a diagram does not bring it."""
    drawn = [page for page in site.rglob("*.html") if 'class="mermaid"' in page.read_text()]
    assert drawn
    for page in drawn:
        assert re.search(r'<script src="[./]*assets/mermaid\.tiny\.js"', page.read_text()), page
    assert (site / "assets" / "mermaid.tiny.js").stat().st_size > 1_000_000


BROWSER = shutil.which("chromium")
# What the page says when it has drawn, or failed to draw, each diagram.
DRAW = """<!doctype html><body><script src="{script}"></script><script>
(async () => {{
  const answers = [];
  for (const [place, text] of {diagrams}.entries()) {{
    try {{ await mermaid.render("diagram" + place, text); answers.push("drawn"); }}
    catch (error) {{ answers.push(String(error)); }}
  }}
  document.body.innerHTML = "<pre></pre>";
  document.querySelector("pre").textContent = JSON.stringify(answers);
}})();
</script></body>"""


@pytest.mark.skipif(BROWSER is None, reason="needs Debian's chromium")
def test_a_browser_draws_every_diagram(site: Path, tmp_path: Path) -> None:
    diagrams = [block.text for block in pages.blocks("mermaid")]
    assert len(diagrams) > 2
    page = tmp_path / "draw.html"
    script = (site / "assets" / "mermaid.tiny.js").as_uri()
    page.write_text(DRAW.format(script=script, diagrams=json.dumps(diagrams)))
    options = [
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path / 'profile'}",
        "--virtual-time-budget=60000",
    ]
    done = subprocess.run(
        [str(BROWSER), "--headless", *options, "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
    )
    [answers] = re.findall(r"<pre>(.*?)</pre>", done.stdout, re.DOTALL)
    assert json.loads(html.unescape(answers)) == ["drawn"] * len(diagrams)


def entries(nav: Any) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    return [page for entry in (nav.values() if isinstance(nav, dict) else nav) for page in entries(entry)]


def test_every_page_stands_in_the_navigation_once() -> None:
    text = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")[2]
    listed = entries(yaml.safe_load("nav:\n" + text)["nav"])
    assert sorted(listed) == sorted(str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md"))


@pytest.mark.parametrize(
    ("link", "wanted"),
    [
        ("[a](../SECURITY.md)", f"[a]({REPOSITORY}/blob/main/SECURITY.md)"),
        ("[a](../charts/x/README.md#b)", f"[a]({REPOSITORY}/blob/main/charts/x/README.md#b)"),
        ("[a](../docs/eks)", f"[a]({REPOSITORY}/blob/main/docs/eks)"),
        ("[a](run.md#b)", "[a](run.md#b)"),
        ("[a](eks/run.yaml)", "[a](eks/run.yaml)"),
    ],
)
def test_links_out_of_the_documentation_lead_to_the_repository(link: str, wanted: str) -> None:
    assert to_repository(link, "page.md", REPOSITORY) == wanted
