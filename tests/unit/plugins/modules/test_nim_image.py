# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""nim_image with a stand-in for the docker command."""

from __future__ import annotations

import json
import threading

import pytest
from ansible.module_utils import basic

from ansible_collections.llmops.nim.plugins.module_utils import _registry_login, _transfers
from ansible_collections.llmops.nim.plugins.modules import nim_image

KEY = "nvapi-0123456789abcdef"
HERE, MISSING = "nvcr.io/nim/a@sha256:" + "a" * 64, "nvcr.io/nim/b@sha256:" + "b" * 64

# Notes how it was called, and the login it finds.
DOCKER = """#!/bin/sh
echo "$@" >> {folder}/calls
case "$*" in
  "image inspect -- {here}") ;;
  "image inspect "*) exit 1 ;;
  *pull*) cp "$2/config.json" {folder}/login; printf '{drawn}'; test -t 1 && {pause}; echo "{said}" >&2; exit {rc} ;;
esac
"""


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run the module; its result (dict)."""
    monkeypatch.setattr(_registry_login, "PLACE", str(tmp_path))

    def call(rc=0, said="", drawn="", pause="true", check=False, **params):
        docker = tmp_path / "docker"
        docker.write_text(DOCKER.format(folder=tmp_path, here=HERE, rc=rc, said=said, drawn=drawn, pause=pause))
        docker.chmod(0o755)
        params = {
            "images": [HERE, MISSING],
            "api_key": KEY,
            "docker": str(docker),
            "_ansible_check_mode": check,
            **params,
        }
        monkeypatch.setattr(basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": params}).encode())
        monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
        with pytest.raises(SystemExit):
            nim_image.main()
        out = capsys.readouterr().out
        assert KEY not in out
        assert params.get("wait") is False or not list(tmp_path.glob("nim-registry-*"))
        return json.loads(out)

    return call


def test_what_is_missing_is_pulled_with_a_login_of_its_own(run, tmp_path):
    result = run()
    assert result["changed"] is True
    assert result["pulled"] == [MISSING]
    (pulled,) = [line for line in (tmp_path / "calls").read_text().splitlines() if "pull" in line]
    assert pulled.endswith(f"pull -- {MISSING}")
    assert KEY not in pulled
    assert list(json.loads((tmp_path / "login").read_text())["auths"]) == ["nvcr.io"]


def test_what_is_there_is_not_asked_for(run, tmp_path):
    assert run(images=[HERE])["changed"] is False
    assert "pull" not in (tmp_path / "calls").read_text()


def test_a_check_pulls_nothing(run, tmp_path):
    assert run(check=True)["pulled"] == [MISSING]
    assert "pull" not in (tmp_path / "calls").read_text()


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("Error response from daemon: manifest unknown", "image_unknown"),
        (f"something else, with {KEY}", "pull_failed"),
    ],
)
def test_a_pull_that_fails_says_why_and_leaves_no_login(run, said, code):
    result = run(rc=1, said=said)
    assert result["failed"] is True
    assert result["problem"]["code"] == code


def test_one_that_is_not_waited_for_goes_on_by_itself_and_keeps_its_cause(run, tmp_path):
    options = {"wait": False, "transfers_dir": str(tmp_path / "transfers")}
    begun = run(rc=1, said="Error response from daemon: manifest unknown", **options)
    assert begun["changed"] is True
    heard = heard_until(lambda heard: heard["over"], begun["transfer"], **options)
    assert [problem["code"] for problem in heard["problems"]] == ["image_unknown"]
    assert not list(tmp_path.glob("nim-registry-*"))
    assert KEY not in "".join(path.read_text() for path in (tmp_path / "transfers").iterdir())


def heard_until(wanted, name, transfers_dir, wait):
    """What is known of a transfer, once that is as wanted."""
    for _look in range(600):
        heard = _transfers.hear(transfers_dir, name)
        if wanted(heard):
            return heard
        threading.Event().wait(0.05)
    raise AssertionError(heard)


@pytest.mark.parametrize("known", [True, False])
def test_one_that_is_not_waited_for_tells_how_far_it_is(run, tmp_path, known):
    options = {"wait": False, "transfers_dir": str(tmp_path / "transfers")}
    layers = {"1" * 12: 3_000_000, "2" * 12: 1_000_000}
    found = {"known": {"b:1": {"pinned": MISSING, "layers": layers}}} if known else {}
    drawn = "111111111111: Downloading  1.5MB/3MB\\n222222222222: Waiting\\n"
    go_on = tmp_path / "go_on"
    begun = run(drawn=drawn, pause=f"until test -e {go_on}; do sleep 0.05; done", **options, **found)
    heard = heard_until(lambda heard: heard["bytes"], begun["transfer"], **options)
    assert (heard["phase"], heard["bytes"], heard["total"]) == ("fetching", 1_500_000, 4_000_000 if known else None)
    go_on.touch()
    heard = heard_until(lambda heard: heard["over"], begun["transfer"], **options)
    assert (heard["phase"], heard["problems"]) == ("published", [])


def test_with_nothing_missing_nothing_is_begun(run, tmp_path):
    assert "transfer" not in run(images=[HERE], wait=False, transfers_dir=str(tmp_path / "transfers"))
    assert not (tmp_path / "transfers").exists()
