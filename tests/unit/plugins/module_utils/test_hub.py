# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Which commit a revision is, and what a hub's refusals mean."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess

import pytest
from hub_server import OUTSIDER, READER, Hub
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.llmops.nim.plugins.module_utils import _hub, _refs
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

needs_git = pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")
A, B, C = "a" * 40, "b" * 40, "c" * 40
REFS = {
    "HEAD": A,
    "refs/heads/main": A,
    "refs/heads/feature/x": B,
    "refs/tags/v1": C,
    "refs/tags/v1^{}": A,
    "refs/pr/7": B,
}
LOGIN = "Basic " + base64.b64encode(f"hf_user:{READER}".encode()).decode()
LISTING = "".join(f"{commit}\t{ref}\n" for ref, commit in REFS.items())


def run(command, environ_update=None, **kwargs):
    """As AnsibleModule.run_command."""
    environment = {**os.environ, **(environ_update or {})}
    done = subprocess.run(command, env=environment, capture_output=True, **kwargs)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.fixture
def hub(tmp_path):
    with Hub(tmp_path) as server:
        yield server


@pytest.fixture(params=["git", "without git"])
def way(request, monkeypatch):
    """Both ways to ask a hub."""
    if request.param == "git" and not shutil.which("git"):
        pytest.skip("git is not installed")
    if request.param == "without git":
        monkeypatch.setattr(_hub.shutil, "which", lambda name: None)


@pytest.mark.parametrize(
    ("revision", "commit"),
    [
        ("main", A),
        ("feature/x", B),
        ("v1", A),
        ("refs/tags/v1", A),
        ("refs/heads/main", A),
        ("refs/pr/7", B),
        ("HEAD", A),
    ],
)
def test_pick(revision, commit):
    assert _hub.pick(LISTING, "lab/x", revision) == commit


def test_pick_refuses_what_is_a_branch_and_another_tag():
    with pytest.raises(Problem, match="both a branch and a tag") as caught:
        _hub.pick(LISTING + f"{B}\trefs/heads/v1\n", "lab/x", "v1")
    assert "refs/heads/v1 or refs/tags/v1" in caught.value.remedy
    assert _hub.pick(LISTING + f"{A}\trefs/heads/v1\n", "lab/x", "v1") == A


@given(st.integers(0, 30), st.integers(0, 30))
def test_pick_lists_ten_of_those_that_are_there(branches, tags):
    listing = "".join(f"{A}\trefs/heads/b{n}\n" for n in range(branches))
    listing += "".join(f"{B}\trefs/tags/t{n}\n{A}\trefs/tags/t{n}^{{}}\n" for n in range(tags))
    with pytest.raises(Problem) as caught:
        _hub.pick(listing, "lab/x", "nowhere")
    evidence = caught.value.evidence
    assert evidence.count("branch b") + evidence.count("tag t") == min(10, branches + tags)
    assert ("…" in evidence) == (branches + tags > 10)


@pytest.mark.parametrize(
    ("revision", "code"), [("abcdef1", "revision_short"), ("a" * 39, "revision_short"), ("v9", "revision_unknown")]
)
def test_pick_tells_a_short_commit_from_an_unknown_name(revision, code):
    with pytest.raises(Problem) as caught:
        _hub.pick(LISTING, "lab/x", revision)
    assert caught.value.code == code


def test_a_full_commit_is_taken_as_it_is():
    assert _hub.resolve(None, "https://hub.invalid", "lab/x", A.upper()) == A


def test_resolve(hub, way):
    commit = hub.commit("lab/x", {"a": b"1"}, tags=["v1"])
    hub.commit("lab/x", {"a": b"2"})
    hub.gated.add("lab/x")
    assert _hub.resolve(run, hub.url, "lab/x", "v1", READER) == commit
    assert _hub.resolve(run, hub.url + "/", "lab/x", "main", READER) != commit


def test_the_repository_around_is_not_asked(hub, way, tmp_path, monkeypatch):
    hub.commit("lab/other", {"f": b"1"})
    commit = hub.commit("lab/model", {"f": b"2"})
    subprocess.run(["git", "clone", "-q", f"{hub.url}/lab/other", str(tmp_path / "clone")], check=True)
    monkeypatch.chdir(tmp_path / "clone")
    assert _hub.resolve(run, hub.url, "lab/model", "main") == commit


@pytest.mark.parametrize(
    ("repo", "token", "code"),
    [
        ("lab/nowhere", None, "repo_unknown_or_gated"),
        ("lab/nowhere", READER, "repo_unknown"),
        ("lab/nowhere", "hf_bad", "token_invalid"),
        ("lab/gated", None, "repo_unknown_or_gated"),
        ("lab/gated", OUTSIDER, "no_access"),
        ("lab/gated", "hf_bad", "token_invalid"),
        ("lab/open", "hf_bad", None),
    ],
)
def test_refusals(hub, way, repo, token, code):
    hub.commit("lab/open", {"a": b"1"})
    hub.commit("lab/gated", {"a": b"1"})
    hub.gated.add("lab/gated")
    if code is None and not _hub.shutil.which("git"):
        code = "token_invalid"  # git offers the token only when asked for it
    if code is None:
        assert _hub.resolve(run, hub.url, repo, "main", token)
        return
    with pytest.raises(Problem) as caught:
        _hub.resolve(run, hub.url, repo, "main", token)
    assert caught.value.code == code
    assert repo in str(caught.value)
    assert not token or token not in str(caught.value)


@pytest.mark.parametrize(
    ("endpoint", "code"), [("http://127.0.0.1:1", "hub_unreachable"), ("http://hub.invalid", "hub_unreachable")]
)
def test_a_hub_out_of_reach(way, endpoint, code):
    with pytest.raises(Problem) as caught:
        _hub.resolve(run, endpoint, "lab/x", "main")
    assert caught.value.code == code


def test_a_proxy_out_of_reach(hub, way, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://proxy.invalid:3128")
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(Problem) as caught:
        _hub.resolve(run, hub.url, "lab/x", "main")
    assert caught.value.code == "hub_unreachable"


def test_a_redirect_does_not_carry_the_token_along(hub):
    hub.commit("lab/x", {"a": b"1"})
    opener = _refs.urllib.request.build_opener(_refs._SameHost)
    request = _refs.urllib.request.Request(f"{hub.url}/lab/x/object/{'0' * 64}", headers={"Authorization": LOGIN})
    with pytest.raises(_refs.urllib.error.HTTPError):
        opener.open(request)
    assert {port for port, *_rest in hub.requests} == {"hub"}


def test_an_answer_that_is_no_hub(hub):
    rc, _out, err = _refs.ls_remote(hub.storage)
    assert rc
    assert "404" in err


def test_an_empty_repository_has_no_references():
    line = f"{'0' * 40} capabilities^{{}}\0multi_ack\n".encode()
    advertisement = b"001e# service=git-upload-pack\n0000" + f"{len(line) + 4:04x}".encode() + line + b"0000"
    assert _refs.parse(advertisement) == ""


@needs_git
def test_the_command_line_holds_no_token(monkeypatch):
    seen = []
    monkeypatch.setenv("GIT_TRACE_CURL", "/tmp/trace")
    monkeypatch.setenv("SSH_ASKPASS", "/bin/true")

    def record(command, environ_update=None):
        seen.append((command, environ_update))
        return 0, "", ""

    _hub.git(record, "https://hub.example.org:8443/path", "lab/x", READER, ["ls-remote", "origin"])
    [(command, environment)] = seen
    assert READER not in " ".join(command)
    assert environment[_hub._TOKEN_VARIABLE] == READER
    assert command[:6] == ["env", "-u", "GIT_TRACE_CURL", "-u", "SSH_ASKPASS", "git"]
    assert any(word.startswith("credential.https://hub.example.org:8443.helper=!f()") for word in command)
    assert command.index("credential.helper=") < len(command) - 2
    _hub.git(record, "https://hub.example.org", "lab/x", None, ["ls-remote", "origin"])
    assert _hub._TOKEN_VARIABLE not in seen[-1][1]


# The words of programs that no test here can bring to say them.
@pytest.mark.parametrize(
    ("text", "code"),
    [
        (
            "fatal: unable to access 'https://h/': server certificate verification failed. CAfile: none CRLfile: none",
            "hub_tls",
        ),
        ("fatal: unable to access 'https://h/': SSL certificate problem: self-signed certificate in chain", "hub_tls"),
        (
            "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: unable to get local issuer certificate",
            "hub_tls",
        ),
        ("batch request: Post: x509: certificate signed by unknown authority", "hub_tls"),
        ("fatal: unable to access 'https://h/': Received HTTP code 407 from proxy after CONNECT", "hub_unreachable"),
        ("fatal: unable to access 'https://h/': Could not resolve proxy: p", "hub_unreachable"),
        ('LFS: Get "https://h/o": dial tcp: lookup h: no such host', "hub_unreachable"),
        ("LFS: unexpected EOF", "hub_unreachable"),
        ("error: RPC failed; curl 56 Recv failure: Connection reset by peer", "hub_unreachable"),
        (
            'batch response: Post "https://hub/objects/batch": net/http: HTTP/1.x transport connection broken: '
            "http: ContentLength=314 with Body length 0",
            "hub_unreachable",
        ),
        ("fatal: unable to access 'https://h/': The requested URL returned error: 429", "hub_busy"),
        ("batch response: Rate limit exceeded: https://h/x", "hub_busy"),
        ("fatal: unable to access 'https://h/': The requested URL returned error: 503", "hub_error"),
        ("LFS: Server error: https://h/x", "hub_error"),
        ("batch response: Repository or object not found: https://h/x\nCheck that it exists", "repo_unknown"),
        ("batch response: Authorization error: https://h/x\nCheck that you have proper access", "no_access"),
        ("Error: Server does not allow request for unadvertised object " + A, "revision_unknown"),
        ("what nobody has seen before", "hub_error_unknown"),
    ],
)
def test_explain(text, code):
    problem = _hub.explain(text, "https://h", "lab/x", A)
    assert problem.code == code
    assert problem.remedy
    assert "{" not in problem.what + problem.remedy


def test_explain_says_what_a_login_asked_for_means():
    text = "batch response: Authentication required: Authorization error: https://h/x"
    assert _hub.explain(text, "https://h", "lab/x", A).code == "repo_unknown_or_gated"
    assert _hub.explain(text, "https://h", "lab/x", A, READER).code == "token_invalid"


def test_redact():
    text = f"a\n\nhttps://u:{READER}@h/p?X-Signature=abc&y=1 {READER}\r50%\rend"
    assert _hub.redact(text, READER) == "a\nhttps://********@h/p?… ********\n50%\nend"
    assert len(_hub.redact("x\n" * 100).splitlines()) == 8
