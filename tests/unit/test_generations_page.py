# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""docs/generations.md says what the code does: its tables are made of the same data.

python tests/unit/test_generations_page.py    writes them anew
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "generations.md"
BLOCK = re.compile(r"(<!-- (\w+): made of the data -->\n).*?(<!-- end -->)", re.DOTALL)


def table(headings, rows):
    lines = [headings, ["---"] * len(headings), *rows]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)


def contracts():
    from ansible_collections.llmops.nim.plugins.module_utils._contract import CONTRACTS

    rows = []
    for name, speaks in CONTRACTS.items():
        weights = f"`{speaks.weights}`" if speaks.weights else f"not taken: use {speaks.instead}"
        weights += "".join(f", `{variable}={value}`" for variable, value in speaks.switches.items())
        share = (
            f"`{speaks.share.flag}` in `{speaks.share.variable}`" if speaks.share.flag else f"`{speaks.share.variable}`"
        )
        engine = f"built and cached under `{speaks.engine_name}`" if speaks.engine_name else "none that is kept"
        loading = "503" if speaks.live_first else "refused"
        rows.append([f"`{name}`", speaks.images, weights, engine, share, loading, speaks.source])
    headings = ["`contract`", "images", "weights by", "engine", "`memory_share` becomes", "while loading", "source"]
    return table(headings, rows)


def floors():
    from ansible_collections.llmops.nim.plugins.module_utils import _floors
    from ansible_collections.llmops.nim.plugins.module_utils._contract import GENERATIONS

    rows = []
    for generation in GENERATIONS:
        for what, floor in (
            ("driver, data-centre GPU", _floors.DRIVER[generation, True]),
            ("driver, other GPU", _floors.DRIVER[generation, False]),
            ("Docker", _floors.DOCKER[generation]),
            ("container toolkit", _floors.TOOLKIT[generation]),
        ):
            source = "; ".join(filter(None, [floor.source, floor.undercut]))
            rows.append([generation, what, floor.documented, floor.refused_below or "never", source])
    for name, floor in _floors.SIZES.items():
        rows.append(["all", f"`{name}`", floor.documented, floor.refused_below or "never", floor.source])
    return table(["generation", "what", "asked for", "refused below", "source"], rows)


def page(text):
    made = {"contracts": contracts, "floors": floors}
    return BLOCK.sub(lambda found: found[1] + made[found[2]]() + found[3], text)


def test_the_page_says_what_the_data_say():
    text = PAGE.read_text()
    assert len(BLOCK.findall(text)) == 2
    assert page(text) == text


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "collections"))
    PAGE.write_text(page(PAGE.read_text()))
