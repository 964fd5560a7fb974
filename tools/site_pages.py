"""MkDocs hook: pages that live outside docs/ join the site, and links to files that are on no page become their text.

So every link of the Markdown files works where the repository is read, and on the site alike.
"""

import os
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
JOINED = ("CHANGELOG.md", "CONTRIBUTING.md", "benchmarks/results/*.md")
CITATION = re.compile(r"(?<!`)\[(\d+)\]\[(\d+)\]")  # Markdown takes it for a reference
LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)#:\s]+)(#[^)\s]*)?\)")


def on_files(files: Any, config: Any) -> Any:
    """Add the pages from outside docs/ under their paths in the repository."""
    for path in sorted(found for pattern in JOINED for found in ROOT.glob(pattern)):
        name = path.relative_to(ROOT).as_posix()
        file = File.generated(config, name, abs_src_path=str(path))
        file.inclusion = file.inclusion.NOT_IN_NAV
        files.append(file)
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Links as the site has them: a page of docs/ is at its root."""
    uri = page.file.src_uri
    here = Path(uri) if page.file.generated_by else Path("docs", uri)

    def moved(match: re.Match[str]) -> str:
        text, target, anchor = match.groups()
        wanted = os.path.normpath(here.parent / target)
        wanted = os.path.relpath(wanted, "docs") if wanted.startswith("docs/") else wanted
        if files.get_file_from_path(wanted) is None:
            return text
        return f"[{text}]({os.path.relpath(wanted, Path(uri).parent)}{anchor or ''})"

    return LINK.sub(moved, CITATION.sub(r"\\[\1]\\[\2]", markdown))
