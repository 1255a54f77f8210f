# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Talking to a hub with git: which commit a revision is, and what the hub's refusals mean.

Private to the collection: breaking changes at any time.

The token reaches git and git-lfs in the environment alone. Their command line holds a credential helper that reads the
variable by its name, scoped to the hub's own address: no other host is offered the token, redirects included. Other
credential helpers are switched off, so that the token given is the only one; proxies and certificate authorities of
the user's and the system's git configuration stay in force.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from urllib.parse import urlsplit

from ansible_collections.llmops.nim.plugins.module_utils import _refs
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem
from ansible_collections.llmops.nim.plugins.module_utils._signatures_hub import HUB as SIGNATURES

HUB = "https://huggingface.co"
COMMIT = re.compile(r"[0-9a-fA-F]{40}\Z")

_SHORT_COMMIT = re.compile(r"[0-9a-fA-F]{7,39}\Z")
# Words as the hub allows them; without "--" and "..", which also keeps <org>--<repo> unambiguous as a directory name.
_REPO = re.compile(r"(?!.*(--|\.\.))[A-Za-z0-9_][A-Za-z0-9_.-]*/[A-Za-z0-9_][A-Za-z0-9_.-]*\Z")
_TOKEN_VARIABLE = "NIM_HUB_TOKEN"
# The user name is the one huggingface_hub stores with a token; the hub looks at the token only.
# Once the hub has refused the token it is not given again: git-lfs would try it without end.
_REFUSED_VARIABLE = "NIM_HUB_REFUSED"
_HELPER = (
    f"""!f() {{ case "$1" in erase) : > "${_REFUSED_VARIABLE}";; get) test -e "${_REFUSED_VARIABLE}" || """
    f"""printf 'username=hf_user\\npassword=%s\\n' "${_TOKEN_VARIABLE}";; esac; }}; f"""
)
# Inherited variables that would print credentials, open a prompt, or point git at another repository.
_UNWANTED = re.compile(
    r"GIT_(TRACE\w*|CURL_VERBOSE|TRANSFER_TRACE|ASKPASS|DIR|WORK_TREE|INDEX_FILE|OBJECT_DIRECTORY|COMMON_DIR|NAMESPACE)\Z"
    r"|SSH_ASKPASS\Z"
)
_LOOPBACK = re.compile(r"(localhost|127(\.\d+){3}|::1)\Z")

# Conditions that may pass by themselves.
PASSING = ("hub_unreachable", "hub_busy", "hub_error")
# The code of what git's words do not explain.
UNKNOWN = "hub_error_unknown"


def check(endpoint, repo, revision, token=None):
    """Raise a Problem unless these (str) can be asked for at all; nothing is connected to."""
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query or parts.fragment:
        raise Problem(
            "The endpoint is not the address of a hub.",
            f"it is {_without_login(endpoint)!r}",
            f"Give http(s)://host[:port], like {HUB}, without a login: the token has an option of its own.",
            "endpoint_invalid",
        )
    check_repo(repo)
    if not re.match(r"[A-Za-z0-9_][\w./+@-]*\Z", revision) or ".." in revision:
        raise Problem(
            f"{revision!r} is not a revision.",
            "",
            "Give a branch, a tag or a full commit (40 hex digits).",
            "revision_invalid",
        )
    if token and not re.match(r"[!-~]+\Z", token):
        raise Problem(
            "The token has blanks, line breaks or other characters that no token has.",
            f"it is {len(token)} characters long",
            "Give the token alone, e.g. without the line break at the end of a file.",
            "token_malformed",
        )
    if token and parts.scheme == "http" and not _LOOPBACK.match(parts.hostname):
        raise Problem(
            "A token would cross the network unencrypted.",
            f"the endpoint is {endpoint}",
            "Use https, or no token.",
            "token_unencrypted",
        )


def check_repo(repo):
    """Raise a Problem unless repo (str) can be the name of a repository."""
    if not _REPO.match(repo):
        raise Problem(
            f"{repo!r} is not the name of a hub repository.",
            "wanted is organisation/name in letters, digits, '.', '_' and '-', without '--' or '..'",
            "Give the name as it stands in the address of the repository's page.",
            "repo_invalid",
        )


def check_commit(repo, commit):
    """Raise a Problem unless these (str) can be a repository and a full commit of it."""
    check_repo(repo)
    if not re.match(r"[0-9a-f]{40}\Z", commit):
        raise Problem(
            f"{commit!r} is not a commit.", "wanted are 40 hex digits", "Give the commit in full.", "commit_invalid"
        )


def url(endpoint, repo):
    """The address (str) of the repository: its page, and what git is given."""
    return f"{endpoint.rstrip('/')}/{repo}"


def git(run, endpoint, repo, token, args, config=(), **kwargs):
    """Run git with args (list) for the repository, which it knows as the remote "origin"; (rc, stdout, stderr).

    run is AnsibleModule.run_command or like it, and gets kwargs; config is a list of further C(name=value) settings.
    """
    if not shutil.which("git"):
        raise Problem("git is not installed on this host.", "no git on the PATH", "Install git.", "git_missing")
    parts = urlsplit(endpoint)
    scope = f"{parts.scheme}://{parts.netloc}"
    settings = ["credential.helper=", f"remote.origin.url={url(endpoint, repo)}", "gc.auto=0", "maintenance.auto=false"]
    environment = {"GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "", "LC_ALL": "C", "LANGUAGE": "C"}
    # A connection that stands still for a minute is dead.
    environment.update(GIT_HTTP_LOW_SPEED_LIMIT="1", GIT_HTTP_LOW_SPEED_TIME="60")
    if token:
        settings.append(f"credential.{scope}.helper={_HELPER}")
        environment[_TOKEN_VARIABLE] = token
    command = ["git"]
    for setting in [*settings, *config]:
        command += ["-c", setting]
    unwanted = sorted(set(os.environ) - set(clean_environment()))
    if unwanted:
        command = ["env", *(word for name in unwanted for word in ("-u", name)), *command]
    with tempfile.TemporaryDirectory(prefix="nim.") as scratch:
        environment[_REFUSED_VARIABLE] = os.path.join(scratch, "refused")
        return run([*command, *args], environ_update=environment, **kwargs)


def clean_environment():
    """This process' environment (dict) without what must not reach git."""
    return {name: value for name, value in os.environ.items() if not _UNWANTED.match(name)}


def explain(text, endpoint, repo, revision, token=None):
    """The Problem that git's or git-lfs' words (text) on a failed request stand for."""
    words = {"endpoint": endpoint, "repo": repo, "revision": revision, "url": url(endpoint, repo)}
    evidence = redact(text, token)
    for one in SIGNATURES:
        if one.code != ("repo_unknown_or_gated" if token else "token_invalid") and re.search(one.pattern, text):
            return Problem(one.cause.format(**words), evidence, one.remedy.format(**words), one.code)
    return Problem(f"git could not read {words['url']}.", evidence, "Act on git's own words.", UNKNOWN)


def revoked(problem):
    """The Problem of a token that was accepted before, from the one that says it is not valid (problem)."""
    return Problem(
        "The hub does not accept the token any more: it was revoked, or has expired, since the fetch began.",
        problem.evidence,
        "Run again with a new token: what has arrived is kept.",
        "token_revoked",
    )


def redact(text, token=None, lines=8):
    """The last lines of text (str) without the token, logins in addresses, and the signatures of signed addresses."""
    if token:
        text = text.replace(token, "********")
    text = re.sub(r"(https?://[^\s\"'?]+)\?[^\s\"']+", r"\1?…", _without_login(text))
    kept = [line.rstrip() for line in re.split(r"[\r\n]+", text) if line.strip()]
    return "\n".join(kept[-lines:])


def resolve(run, endpoint, repo, revision, token=None):
    """The commit (40 hex digits, str) that revision of repo is: a branch, a tag, a full ref, or a full commit as it is.

    A full commit is not asked about, so nothing is connected to. Where git is not installed yet, the same is asked
    without it. Raises Problem.
    """
    check(endpoint, repo, revision, token)
    if COMMIT.match(revision):
        return revision.lower()
    if shutil.which("git"):
        rc, out, err = git(run, endpoint, repo, token, ["ls-remote", url(endpoint, repo)])
    else:
        rc, out, err = _refs.ls_remote(url(endpoint, repo), token)
    if rc:
        raise explain(err, endpoint, repo, revision, token)
    return pick(out, repo, revision)


def pick(listing, repo, revision):
    """The commit of revision in the output of git ls-remote (listing, str); raises Problem."""
    refs = {}
    for line in listing.splitlines():
        commit, _tab, ref = line.partition("\t")
        if COMMIT.match(commit):
            # An annotated tag comes twice: the tag object, then the commit it stands for.
            refs[ref[: -len("^{}")] if ref.endswith("^{}") else ref] = commit
    candidates = (revision, f"refs/heads/{revision}", f"refs/tags/{revision}")
    found = {ref: refs[ref] for ref in candidates if ref in refs}
    if len(set(found.values())) == 1:
        return next(iter(found.values()))
    if found:
        raise Problem(
            f"{revision!r} is both a branch and a tag of {repo}, and they differ.",
            ", ".join(f"{ref} is {commit}" for ref, commit in found.items()),
            f"Give {' or '.join(sorted(found))}, or the full commit.",
            "revision_ambiguous",
        )
    branches, tags = (
        sorted(ref[len(prefix) :] for ref in refs if ref.startswith(prefix)) for prefix in ("refs/heads/", "refs/tags/")
    )
    there = [f"branch {name}" for name in branches] + [f"tag {name}" for name in tags]
    shown = "it has " + (", ".join(there[:10]) or "no branch and no tag") + (", …" if len(there) > 10 else "")
    if _SHORT_COMMIT.match(revision):
        raise Problem(
            f"{revision!r} is neither a branch nor a tag of {repo}; a shortened commit cannot be looked up.",
            shown,
            "Give the commit in full (40 hex digits).",
            "revision_short",
        )
    raise Problem(
        f"{repo} has no revision {revision!r}.", shown, "Give one of these, or a full commit.", "revision_unknown"
    )


def _without_login(text):
    return re.sub(r"(\w+://)[^/\s@]+@", r"\1********@", text)
