# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What looks like a secret in a text that is to be shown.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import re

# Keys as NGC and the hub issue them, logins in addresses, and what follows Bearer.
_SECRET = re.compile(r"\b(?:nvapi-[\w-]{8,}|hf_\w{8,})|(?<=://)[^\s/@:]+:[^\s/@]+(?=@)|(?<=\bBearer )[\w.~+/-]{8,}=*")


def masked(text):
    """The text (str) with what looks like a secret replaced by stars."""
    return _SECRET.sub("********", text)
