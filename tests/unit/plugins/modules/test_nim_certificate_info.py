# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""nim_certificate_info on certificates that openssl makes."""

from __future__ import annotations

import json
import subprocess
from datetime import datetime, timedelta, timezone

import pytest
from ansible.module_utils import basic

from ansible_collections.llmops.nim.plugins.module_utils import _certificate
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem
from ansible_collections.llmops.nim.plugins.modules import nim_certificate_info

CURVE = ["-pkeyopt", "ec_paramgen_curve:prime256v1"]


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


@pytest.fixture
def pair(tmp_path):
    """Makes a certificate and its key; their texts."""

    def make(days=30):
        crt, key = tmp_path / "crt", tmp_path / "key"
        openssl(
            *("req", "-x509", "-newkey", "ec", "-nodes", *CURVE, "-days", str(days)),
            *("-subj", "/CN=llm.example.com", "-out", str(crt), "-keyout", str(key)),
        )
        return crt.read_text(), key.read_text()

    return make


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run the module on a text; its result (dict)."""

    def call(text):
        path = tmp_path / "gateway.pem"
        if text is not None:
            path.write_text(text)
        arguments = json.dumps({"ANSIBLE_MODULE_ARGS": {"path": str(path)}})
        monkeypatch.setattr(basic, "_ANSIBLE_ARGS", arguments.encode())
        monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
        with pytest.raises(SystemExit):
            nim_certificate_info.main()
        return json.loads(capsys.readouterr().out)

    return call


def test_a_pair_in_either_order(pair, run):
    crt, key = pair()
    for text in (crt + key, key + crt, crt + pair()[0] + key):
        result = run(text)
        assert "llm.example.com" in result["subject"]
        days = (datetime.strptime(result["expires"], "%Y-%m-%dT%H:%M:%SZ") - datetime.utcnow()).total_seconds() / 86400
        assert 29 < days <= 30
        assert not result.get("warnings")


def test_one_that_expires_soon_is_warned_of(pair, run):
    assert "expires in" in str(run("".join(pair(days=3)))["warnings"])


def test_what_cannot_serve_is_refused(pair, run, tmp_path):
    crt, key = pair()
    _other, alien = pair()
    locked = tmp_path / "locked"
    openssl("pkey", "-in", str(tmp_path / "key"), "-aes256", "-passout", "pass:secret", "-out", str(locked))
    cases = [
        (None, "certificate_missing"),
        (crt + alien, "key_mismatch"),
        (crt, "certificate_invalid"),
        (key, "certificate_invalid"),
        ("", "certificate_invalid"),
        (crt + locked.read_text(), "certificate_invalid"),
    ]
    for text, code in cases:
        result = run(text)
        assert result["problem"]["code"] == code
        assert key.splitlines()[1] not in json.dumps(result)
        assert alien.splitlines()[1] not in json.dumps(result)


def test_its_time(pair, tmp_path):
    path = tmp_path / "both"
    path.write_text("".join(pair()))
    found = _certificate.read(str(path))
    now = datetime.now(timezone.utc)
    assert 29 < _certificate.judge(found, now) <= 30
    for moment, what in ((timedelta(days=31), "has expired"), (timedelta(days=-2), "not valid yet")):
        with pytest.raises(Problem, match=what) as caught:
            _certificate.judge(found, now + moment)
        assert caught.value.code == "certificate_expired"
