# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A recorded run keeps what was done and said, and nothing else."""

from __future__ import annotations

from recorded import recorded

RUN = """Script started on a day
PLAY [Look] *****\r
\r
TASK [Skip] ****\r
skipping: [gpu1]\r
\r
PLAY [Work] *****\r
TASK [Say] *****\r
ok: [gpu1] => \r
    msg: hello\r
ok: [gpu2]\r
TASK [Take in] ****\r
included:\r
/a/path for\r
gpu1\r
TASK [Change] ****\r
\x1b[2K gpu1      becoming ready      1s   gpu2      becoming ready      1s   changed: [gpu1]\r
PLAY RECAP ****\r
gpu1 : ok=1\r
"""


def test_what_was_done_and_said_is_kept():
    assert recorded(RUN) == (
        "PLAY [Work]\n\nTASK [Say]\nok: [gpu1] =>\n    msg: hello\n\n"
        "TASK [Change]\nchanged: [gpu1]\n\nPLAY RECAP\ngpu1 : ok=1\n"
    )


def test_a_long_line_is_cut():
    assert recorded("TASK [a] ***\nchanged: " + "x" * 200).splitlines()[-1] == "changed: " + "x" * 110 + "…"
