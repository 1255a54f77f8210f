#!/bin/sh
set -eu
docker ps --all --quiet | xargs --no-run-if-empty docker rm --force
docker image ls --quiet | sort -u | xargs --no-run-if-empty docker image rm --force
find /var/lib/nim -mindepth 1 -delete
rm -rf /root/.docker
