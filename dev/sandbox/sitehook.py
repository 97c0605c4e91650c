"""What MkDocs does not do by itself; `mkdocs.yml` names this module as a hook.

Pages link to files outside `docs/` by relative paths, so that the links work in the repository too. On the site they
lead to the repository. Mermaid draws the diagrams. It is kept packed in `dev/site`: npm's @mermaid-js/tiny 11.17.2.
"""

import gzip
import posixpath
import re
from pathlib import Path
from typing import Any

from sandbox.program import ROOT

_LINK = re.compile(r"\]\((?P<target>(?:\.\./)+[^)#\s]+)(?P<anchor>#[^)]*)?\)")


def to_repository(markdown: str, page: str, repository: str) -> str:
    """A page's text with links out of `docs/` turned into URLs. `page` is its path below `docs/`."""

    def link(match: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), match["target"]))
        if path.startswith("docs/") and posixpath.splitext(path)[1]:
            return match[0]
        return f"]({repository}/blob/main/{path}{match['anchor'] or ''})"

    return _LINK.sub(link, markdown)


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Any) -> str:
    """MkDocs calls this for each page before it becomes HTML."""
    return to_repository(markdown, page.file.src_uri, config["extra"]["repository"])


def on_post_build(*, config: Any) -> None:
    """MkDocs calls this when the site is written."""
    script = Path(config["site_dir"]) / "assets" / "mermaid.tiny.js"
    script.write_bytes(gzip.decompress((ROOT / "dev" / "site" / "mermaid.tiny.js.gz").read_bytes()))
