"""The page in a browser: everything is drawn, nothing fails, and the colours follow light and dark."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import report_rows

from haymaker.charts import theme
from haymaker.report import render

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
OPTIONS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --enable-logging=stderr --virtual-time-budget=10000 --dump-dom"
).split()
# Written into the page's title, once all is drawn: how many charts hold a picture, and the colour of real's dot.
PROBE = """
<script>
addEventListener("load", () => setTimeout(() => {
  const hosts = [...document.querySelectorAll(".chart")], one = document.querySelector('.chart [fill="var(--real)"]');
  const pictures = hosts.map((host) => host.querySelectorAll("svg").length);
  const over = (host) => host.querySelector("svg").getBoundingClientRect().width - host.clientWidth;
  const widest = Math.max(...hosts.map(over));
  document.title = JSON.stringify({pictures, widest, fill: getComputedStyle(one).fill, words: document.body.innerText});
}, 2000));
</script>
"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine, so no page can be looked at")


def looked_at(page: Path, profile: Path, *options: str) -> tuple[dict, str]:
    """What the probe saw, and what the browser's console said."""
    command = [str(CHROMIUM), *OPTIONS, f"--user-data-dir={profile}", *options, page.as_uri()]
    found = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    title = re.search(r"<title>(\{.*?\})</title>", found.stdout, flags=re.S)
    assert title, found.stderr
    console = [line for line in found.stderr.splitlines() if "CONSOLE" in line]
    return json.loads(title[1].replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">")), "\n".join(console)


@pytest.mark.parametrize(
    ("options", "colours"),
    [((), theme.LIGHT), (("--blink-settings=preferredColorScheme=0",), theme.DARK)],
    ids=["light", "dark"],
)
def test_a_browser_draws_every_chart(tmp_path: Path, options: tuple[str, ...], colours: dict[str, str]) -> None:
    results = report_rows.results()
    report_rows.change(results["tables"]["heads"], {"setting": "base", "head": 0}, score=None)
    page = tmp_path / "report.html"
    page.write_text(render(results) + PROBE, encoding="utf-8")  # a browser takes what follows </html> for its end
    seen, console = looked_at(page, tmp_path / "profile", *options)
    assert set(seen["pictures"]) == {1}
    assert console == ""
    assert "cannot be drawn" not in seen["words"]
    assert seen["widest"] <= 1
    assert seen["fill"] == f"rgb{tuple(int(colours['real'][i : i + 2], 16) for i in (1, 3, 5))}"
