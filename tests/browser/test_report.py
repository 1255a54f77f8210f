# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The report as a browser shows it: all is there, nothing comes from a network, nothing that hosts say is run."""

from __future__ import annotations

from pathlib import Path

import pytest
from fleet_told import ANSWER, RELEASE, UNREACHABLE, benchmark, host, record
from report_browser import Seen, looked, opened

from ansible_collections.llmops.nim.plugins.module_utils import _report
from ansible_collections.llmops.nim.plugins.plugin_utils import _page

TEMPLATE = (Path(__file__).resolve().parents[2] / "playbooks/templates/report.html.j2").read_text(encoding="utf-8")
HOSTILE = "<script>document.title = 'taken'</script></script><img src=x onerror=\"document.title = 'taken'\">"
LATER = "2026-01-31T13:00:00Z"


def shown(tmp_path, hosts, *options):
    """The page (str) of hosts as Chromium has it once all scripts have run."""
    return opened(tmp_path, _page.page(_report.facts(hosts), TEMPLATE, "2026-01-31T12:10:00Z"), *options)


@pytest.fixture(scope="module")
def fleet():
    failed = record(at="2026-01-31T12:06:00Z", event="failed", reason="it answered Rennes")
    drift = {"model": "capitals", "container": RELEASE["container"], "what": "its image is another"}
    return {
        "gpu2": host(records=[failed], asked={"results": [{"item": "c", "answers": [dict(ANSWER, answer="パリ")]}]}),
        "首都-1": host(releases={"releases": [RELEASE], "drift": [drift], "lock": None}),
        "gpu10": host(
            records=[
                benchmark("0f9e8d7c", throughput=320.0),
                record(reason=HOSTILE, who=HOSTILE),
                record(at=HOSTILE),
                benchmark("1a2b3c4d", at=LATER),
            ]
        ),
        "gpu3": UNREACHABLE,
    }


def test_what_a_person_looks_for_is_there(tmp_path, fleet):
    page = shown(tmp_path, fleet)
    text = Seen(page).text
    assert "4 hosts" in " ".join(text["summary"].split())
    for told in (
        "首都-1",
        "acme/capitals@0123456789ab",
        "fedcba987654",
        "llama-3.2-1b-instruct:1.8.4",
        "does not answer",
    ):
        assert told in text["fleet"]
    for told in ("What is the capital of France?", "パリ", "0.040", "51.5"):
        assert told in text["answers"]
    assert "it answered Rennes" in text["rollouts"]
    for told in ("20.5 / 30.0 / 40.0", "1a2b3c4d", "400.0", "0f9e8d7c", "320.0"):
        assert told in text["benchmarks"]
    assert all(told in page for told in ("Connection timed out", "ansible gpu3 -m ping", "its image is another"))
    seen = looked(page)
    # ready, drain and soak; the release, others and free.
    assert seen["charts"] == 6
    # Tokens per second and time to first token of a release and, dotted, of the one before.
    assert (seen["lines"], seen["dotted"]) == (4, 2)
    assert seen["up"] == ["gpu2", "gpu3", "gpu10", "首都-1"]
    assert seen["down"] == seen["up"][::-1]


def test_it_needs_no_network_and_runs_nothing_of_what_hosts_say(tmp_path, fleet):
    seen = looked(shown(tmp_path, fleet))
    assert seen["outside"] == []
    assert seen["title"].startswith("NIM fleet")


@pytest.mark.parametrize(("scheme", "ink"), [(0, "230, 232, 235"), (1, "27, 31, 36")])
def test_it_is_dark_where_the_reader_s_screen_is(tmp_path, fleet, scheme, ink):
    assert ink in looked(shown(tmp_path, fleet, f"--blink-settings=preferredColorScheme={scheme}"))["ink"]


def test_it_is_as_wide_as_a_phone(tmp_path, fleet):
    assert looked(shown(tmp_path, fleet, "--window-size=390,844"))["overflow"] <= 0


def test_a_fleet_that_tells_nothing_has_a_page(tmp_path):
    page = shown(tmp_path, {"gpu1": UNREACHABLE})
    assert all(
        told in page
        for told in (
            "Nothing is recorded yet",
            "Nothing was measured",
            "No host has told of its GPUs",
            "Nobody was asked",
        )
    )
    assert looked(page)["charts"] == 0
