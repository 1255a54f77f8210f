# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Which files of a repository belong to its snapshot.

Private to the collection: breaking changes at any time.

A selection is part of what a snapshot is: one that was made with another selection is another snapshot, and lies beside
it. Nobody is so served less than was asked for, and no container loses a file that it has mounted.
"""

from __future__ import annotations

import hashlib
import json
import re

from ansible_collections.llmops.nim.plugins.module_utils import _checkpoint
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

# What a NIM reads: settings, index and tokenizer, weights, chat templates, the checkpoint's own code, TensorRT-LLM's.
INCLUDE = (
    "*.json", "*.safetensors", "*.jinja", "*.model", "*.tiktoken", "*.bpe", "merges.txt", "vocab.txt", "*.py",
    "additional_chat_templates/", "trtllm_ckpt/", "trtllm_engine/",
)  # fmt: skip
# The same weights once more, in their author's own format.
EXCLUDE = ("consolidated*.safetensors",)

# Documented for users in plugins/doc_fragments/selection.py.
ARGUMENT_SPEC = {
    "include": {"type": "list", "elements": "str", "default": []},
    "exclude": {"type": "list", "elements": "str", "default": []},
}


class Selection:
    """Patterns (iterables of str) of what belongs to a snapshot, and of what does not; by default what a NIM reads.

    Raises a Problem for what is no pattern.
    """

    def __init__(self, include=(), exclude=()):
        self._is_own = bool(include)
        self.include = list(include) or list(INCLUDE)
        self.exclude = [*([] if self._is_own else EXCLUDE), *exclude]
        # What a snapshot's name has behind the commit: nothing where nobody wished for anything.
        self.suffix = "" if not include and not exclude else "-" + _digest(self.as_dict())
        self._wanted, self._unwanted = _matcher(self.include), _matcher(self.exclude)

    def as_dict(self):
        """The patterns (dict), as a manifest names them."""
        return {"include": self.include, "exclude": self.exclude}

    def take(self, paths):
        """Those of paths (iterable of str) that belong to the snapshot (set).

        Where nobody said what to include and there are no other weights, pickles are: whether they may be is asked by
        _checkpoint.inspect().
        """
        possible = {path for path in paths if not self._unwanted(path)}
        chosen = {path for path in possible if self._wanted(path)}
        if not self._is_own and not _checkpoint.has_weights(chosen):
            chosen.update(_checkpoint.pickles(possible))
        return chosen


def _digest(patterns):
    return hashlib.sha256(json.dumps(patterns, sort_keys=True).encode()).hexdigest()[:8]


def _matcher(patterns):
    """From a path (str) to whether one of patterns fits it."""
    expressions = [re.compile(_expression(pattern)) for pattern in patterns]
    return lambda path: any(expression.fullmatch(path) for expression in expressions)


def _expression(pattern):
    """The regular expression (str) of a pattern: * and ? stay within a directory, ** does not, a/ is all beneath a."""
    if not pattern or pattern.startswith("/") or re.search(r"[\x00-\x1f]|(\A|/)\.\.?(/|\Z)", pattern):
        raise Problem(
            f"{pattern!r} is not a pattern for files of a repository.",
            "a path from the repository's top is wanted, with * and ? for parts of a name and ** for any directories",
            "Write it like '*.json', 'trtllm_ckpt/' or '**/*.safetensors'.",
            "pattern_invalid",
        )
    parts = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    words = re.split(r"(\*\*/|\*\*|\*|\?)", pattern + ("**" if pattern.endswith("/") else ""))
    return "(?s)" + "".join(parts.get(word) or re.escape(word) for word in words)
