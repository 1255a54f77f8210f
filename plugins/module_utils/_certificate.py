# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A certificate and its key in one PEM file, read with openssl.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import os
from datetime import datetime, timezone
from typing import NamedTuple

from ansible_collections.llmops.nim.plugins.module_utils import _host
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem


class Certificate(NamedTuple):
    """starts, expires: datetime in UTC. key, certified: public keys in PEM, of the key and of the certificate."""

    path: str
    subject: str
    starts: datetime
    expires: datetime
    key: str
    certified: str


def read(path):
    """The Certificate in the file called path (str); raises Problem where it has no certificate or no usable key."""
    if not os.path.isfile(path):
        raise Problem(
            "There is no certificate", f"no such file: {path}", "give the path of a PEM file", "certificate_missing"
        )
    facts = _openssl(path, "certificate", "x509", "-noout", "-subject", "-startdate", "-enddate", "-pubkey")
    # An empty password: openssl fails on an encrypted key, instead of asking.
    key = _openssl(path, "private key without a password", "pkey", "-pubout", "-passin", "pass:")
    lines = facts.splitlines()
    pairs = dict(line.split("=", 1) for line in lines if line.startswith(("subject=", "notBefore=", "notAfter=")))
    return Certificate(
        path, pairs["subject"].strip(), _time(pairs["notBefore"]), _time(pairs["notAfter"]), key.strip(), _key(lines)
    )


def judge(certificate, now):
    """The days (float) that a Certificate is valid from now (datetime with a time zone) on; raises Problem at 0."""
    if certificate.key != certificate.certified:
        raise Problem(
            "The certificate does not match its key",
            f"{certificate.path}: the certificate for {certificate.subject} is about another public key",
            "put the server's own certificate first, any intermediate ones after it, and the key that it was requested "
            "with",
            "key_mismatch",
        )
    if not certificate.starts <= now < certificate.expires:
        raise Problem(
            "The certificate has expired" if now >= certificate.expires else "The certificate is not valid yet",
            f"{certificate.path}: {certificate.subject} is valid from {certificate.starts} to {certificate.expires}",
            "renew it; if its time is right, see the clock of this machine",
            "certificate_expired",
        )
    return (certificate.expires - now).total_seconds() / 86400


def _openssl(path, what, *arguments):
    done = _host.run(["openssl", *arguments, "-in", path])
    if done.missing:
        raise Problem(
            "The certificate cannot be read", done.err, "install openssl where the check runs", "openssl_missing"
        )
    if done.rc:
        raise Problem(
            f"{path} has no {what}",
            # The lines below the first are openssl's own.
            done.err.strip().split("\n")[0],
            "give a PEM file with the certificate and its key; remove the key's password with openssl pkey",
            "certificate_invalid",
        )
    return done.out


def _key(lines):
    first, last = lines.index("-----BEGIN PUBLIC KEY-----"), lines.index("-----END PUBLIC KEY-----")
    return "\n".join(lines[first : last + 1])


def _time(text):
    return datetime.strptime(text.strip(), "%b %d %H:%M:%S %Y GMT").replace(tzinfo=timezone.utc)
