# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A checkpoint judged on the host, by the files that a snapshot of it will have.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

from ansible_collections.llmops.nim.plugins.module_utils import _checkpoint, _safetensors
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

HEAD = 64  # bytes of a small file that inspect() wants, if its text is not wanted whole


def inspect(sizes, contents, untracked, headers, pickle=False):
    """As _checkpoint.inspect(): problems, warnings and facts.

    sizes: path -> bytes of all files; contents: path -> the content of small files, of those in _checkpoint.TEXTS all,
    of others the HEAD; headers: path -> tensors, or the Problem with them, of the large safetensors files; pickle:
    whether weights may be pickles.
    """
    headers, texts = dict(headers), {}
    for path, content in contents.items():
        if path in _checkpoint.TEXTS:
            texts[path] = content
        elif is_safetensors(path):  # published without git-lfs: too small to hold weights, yet it may be broken
            try:
                _safetensors.span(path, sizes[path], content)
            except Problem as problem:
                headers[path] = problem
    return _checkpoint.inspect(sizes, texts, untracked, headers, pickle)


def header(path, place):
    """The tensors of the safetensors file at path, whose bytes lie at place (a path), or the Problem with them."""
    try:
        return _safetensors.read(place, path)
    except Problem as problem:
        return problem


def is_safetensors(path):
    return path.endswith(".safetensors")
