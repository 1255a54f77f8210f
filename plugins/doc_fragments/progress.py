# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The option of modules that tell how far they are."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  progress_file:
    description:
      - A file on the host in which to tell, while it works, how far it is. It is gone at the end.
      - Set where P(llmops.nim.nim_progress#callback) is on. There is no need to set it.
    type: path
"""
