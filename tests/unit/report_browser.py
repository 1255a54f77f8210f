# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The report in headless Chromium, for tests of what a reader sees there."""

from __future__ import annotations

import html
import json
import re
import subprocess
from html.parser import HTMLParser

# What a reader would do and see, written into the page after it has loaded.
LOOK = """<script>addEventListener("load", () => {
  const sort = document.querySelector("#fleet th button");
  const hosts = () => [...document.querySelectorAll("#fleet tbody tr")].map((row) => row.cells[0].textContent);
  sort.click(); const up = hosts(); sort.click(); const down = hosts();
  const lines = [...document.querySelectorAll(".plotly-graph-div .main-svg .trace.scatter .js-line")];
  const seen = { up, down, charts: document.querySelectorAll(".plotly-graph-div .main-svg .trace.bars").length,
    lines: lines.length, dotted: lines.filter((one) => getComputedStyle(one).strokeDasharray != "none").length,
    overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    ink: getComputedStyle(document.querySelector(".plotly-graph-div .xtick text") ?? document.body).fill,
    outside: performance.getEntriesByType("resource").map((one) => one.name), title: document.title };
  const told = document.createElement("pre"); told.id = "seen"; told.textContent = JSON.stringify(seen);
  document.body.append(told);
})</script>"""


class Seen(HTMLParser):
    """The text of a page by the id of the nearest element around it that has one."""

    def __init__(self, page):
        super().__init__()
        self.text, self._ids = {}, []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        if tag not in ("br", "img", "meta", "link", "hr", "input"):
            known = dict(attributes).get("id") or (self._ids[-1] if self._ids else None)
            self._ids.append(known)

    def handle_endtag(self, _tag):
        self._ids = self._ids[:-1]

    def handle_data(self, data):
        key = self._ids[-1] if self._ids else None
        self.text[key] = self.text.get(key, "") + data + " "


def chromium(folder, path, *options):
    """What Chromium prints (str), with its profile in a folder, of a page (Path) once all scripts have run."""
    fixed = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}/profile"]
    command = [*fixed, "--virtual-time-budget=10000", *options, path.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def opened(folder, page, *options):
    """A page (str) as Chromium has it, and in it what a reader has done and seen."""
    path = folder / "report.html"
    path.write_text(page.replace("</body>", LOOK + "</body>"), encoding="utf-8")
    return chromium(folder, path, *options, "--dump-dom")


def looked(page):
    """What LOOK has seen (dict)."""
    return json.loads(html.unescape(re.search(r'<pre id="seen">(.*?)</pre>', page, re.S).group(1)))
