#!/bin/sh
set -eu
if command -v haproxy >/dev/null; then
  service haproxy stop || :
  DEBIAN_FRONTEND=noninteractive apt-get purge --yes --quiet haproxy
fi
rm -rf /etc/haproxy /etc/default/haproxy /var/lib/haproxy /run/haproxy
