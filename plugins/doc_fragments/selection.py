# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The options that say which files of a repository are wanted."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  include:
    description:
      - Patterns of the files that are wanted, instead of those that a NIM reads. These are C(*.json), C(*.safetensors),
        C(*.jinja), C(*.model), C(*.tiktoken), C(*.bpe), C(merges.txt), C(vocab.txt), C(*.py),
        C(additional_chat_templates/), C(trtllm_ckpt/) and C(trtllm_engine/), without C(consolidated*.safetensors).
      - A pattern is compared with the path from the repository's top. V(*) and V(?) stay within a directory, V(**) does
        not, and a V(/) at the end means all that is beneath. So V(**) alone means all files.
      - A snapshot that was made with other patterns is another one. It lies beside this one.
    type: list
    elements: str
    default: []
  exclude:
    description: Patterns of files that are not wanted all the same.
    type: list
    elements: str
    default: []
"""
