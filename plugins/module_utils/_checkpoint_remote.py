# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A checkpoint judged on the hub, before anything is fetched: its small files and the headers of its weights are read.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from ansible_collections.llmops.nim.plugins.module_utils import _checkpoint, _checkpoint_facts, _safetensors
from ansible_collections.llmops.nim.plugins.module_utils._hub_files import HubFiles, NoApi
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

_FIRST = 64 * 1024  # bytes: the header of most shards is not longer
_AT_ONCE = 8
# What a fetch would meet as well. All else says nothing of the checkpoint: git may work where the API does not.
_REFUSALS = (
    "repo_unknown_or_gated",
    "token_invalid",
    "no_access",
    "repo_unknown",
    "revision_unknown",
    "file_too_large",
)


def read(endpoint, repo, commit, token, selection, pickle=False):
    """What is known of repo at commit before it is fetched (dict), of the files that selection (Selection) takes.

    repo, commit, read (bool), problems and warnings (lists of Problem.as_dict()), and the facts, all None where read is
    False: a hub that cannot be read now is a warning, one that refuses is a problem. pickle: whether weights may be
    pickles.
    """
    found = {"repo": repo, "commit": commit, "read": False, "problems": [], "warnings": []}
    found.update(dict.fromkeys(_checkpoint_facts.KEYS))
    try:
        problems, warnings, facts = _inspect(HubFiles(endpoint, repo, commit, token), selection, pickle)
    except NoApi as error:
        found["warnings"] = [_unread(repo, str(error)).as_dict()]
    except Problem as problem:
        if problem.code in _REFUSALS:
            found["problems"] = [problem.as_dict()]
        else:
            found["warnings"] = [_unread(repo, problem.evidence or problem.what).as_dict()]
    else:
        found.update(facts, read=True)
        found["problems"] = [problem.as_dict() for problem in problems]
        found["warnings"] = [warning.as_dict() for warning in warnings]
    return found


def _inspect(hub, selection, pickle):
    sizes = hub.sizes()
    chosen = selection.take(sizes)
    sizes = {path: size for path, size in sizes.items() if path in chosen}
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        texts = [path for path in _checkpoint.TEXTS if path in sizes]
        texts = dict(zip(texts, pool.map(hub.text, texts)))
        shards = [path for path in _checkpoint.weight_paths(sizes, texts) if path.endswith(".safetensors")]
        headers = dict(zip(shards, pool.map(lambda path: _header(hub, path, sizes[path]), shards)))
    return _checkpoint.inspect(sizes, texts, headers=headers, pickle=pickle)


def _header(hub, path, size):
    """The tensors of the file at path on hub (HubFiles), or the Problem with them; raises what the hub refuses."""
    head = hub.part(path, 0, min(size, _FIRST)) if size else b""
    try:
        end = _safetensors.span(path, size, head)
    except Problem as problem:
        return problem
    if end > len(head):
        head += hub.part(path, len(head), end)
    try:
        return _safetensors.tensors(path, size, head)
    except Problem as problem:
        return problem


def _unread(repo, evidence):
    return Problem(
        f"{repo} could not be read beforehand: it is judged once it is fetched, and its memory is not known.",
        evidence,
        "Nothing needs to be done if the fetch works.",
        "checkpoint_unread",
    )
