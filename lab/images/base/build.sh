#!/bin/sh
# Make a root file system from the distribution's packages.
# usage: build.sh servers|python SUITE OUT.tar
#   servers   what a GPU server, the registry and the hub stand on
#   python    the least that runs Python: the NIM image stands on it
# SUITE is taken from this machine's own mirrors where it is this machine's, and from Debian's elsewhere.
set -eu
kind=$1 suite=$2 out=$3

# To be installed later, without a network, from a repository inside the image: by the registry's Dockerfile,
# and on the GPU servers by whoever prepares them.
later="docker-registry git-lfs haproxy python3-libtorrent python3-requests"
merged=/usr/share/mmdebstrap/hooks/merged-usr

# Unpacking is bound by the disk, so do it in memory where there is room and programs may run.
temporary=${TMPDIR:-/tmp}/nim-lab-$kind
if awk '$2 == "/dev/shm" && $4 !~ /noexec/ { found = 1 } END { exit !found }' /proc/mounts &&
  [ "$(df -k --output=avail /dev/shm | tail -n 1)" -gt 3000000 ]; then
  temporary=/dev/shm/nim-lab-$kind
fi
rm -rf --one-file-system "$temporary"
mkdir -m 0755 "$temporary"
trap 'rm -rf --one-file-system "$temporary" "$out.part"' EXIT
trap 'exit 130' HUP INT TERM
sources=$temporary/sources.list

. /etc/os-release
keyring=/usr/share/keyrings/${ID}-archive-keyring.gpg
if [ "${VERSION_CODENAME:-}" = "$suite" ] && [ -e "$keyring" ]; then
  apt-get indextargets --format "\$(ORIGIN)|deb [signed-by=$keyring] \$(REPO_URI) \$(RELEASE) \$(COMPONENT)" \
    'Created-By: Packages' | sed -n 's/^\(Debian\|Ubuntu\)|//p' | sort -u >"$sources"
fi
if [ -s "$sources" ]; then
  available() { apt-cache show "$1" 2>/dev/null | grep -q '^Package:'; }
else
  echo 'deb http://deb.debian.org/debian bookworm main' >"$sources"
  available() { [ "$1" = usr-is-merged ]; }
fi

# Docker came to know CDI with version 25; Debian 12 has 20.10, on which that of Debian 13 runs as well. It is installed
# where CDI is wanted (images/cdi_host).
newer_docker() {
  mkdir -p "$temporary/newer/lists/partial" "$temporary/newer/cache/archives/partial" "$temporary/newer/docker"
  sed -n 's/ bookworm main$/ trixie main/p' "$sources" >"$temporary/newer/sources.list"
  set -- -qq -o "Dir::Etc::SourceList=$temporary/newer/sources.list" -o Dir::Etc::SourceParts=/dev/null \
    -o "Dir::State::Lists=$temporary/newer/lists" -o "Dir::Cache=$temporary/newer/cache" -o APT::Sandbox::User=root \
    -o Acquire::Languages=none
  apt-get "$@" update
  (cd "$temporary/newer/docker" && apt-get "$@" download docker.io docker-cli)
}

case $kind in
  servers)
    variant=minbase
    include=openssh-server,sudo,docker.io,git,python3,python3-apt,iptables,iproute2,procps,ca-certificates,curl,tini
    # Docker's command line became a package of its own after Debian 12.
    if available docker-cli; then include=$include,docker-cli; fi
    ;;
  python)
    variant=essential
    include=python3,python3-pip,ca-certificates,tini
    ;;
esac

set -- --customize-hook='rm -f "$1"/etc/ssh/ssh_host_*'
if [ -d "$merged" ] && available usr-is-merged; then
  # Merged from the start, it needs no Perl to be merged later.
  include=$include,usr-is-merged
  set -- "$@" --hook-dir="$merged"
fi
if [ "$kind" = servers ] && [ "$suite" = bookworm ]; then
  newer_docker
  set -- "$@" --customize-hook="mkdir -p \"\$1/opt/nim-lab\"; cp -r '$temporary/newer/docker' \"\$1/opt/nim-lab\""
fi
if [ "$kind" = servers ]; then
  set -- "$@" --customize-hook='
    set -eu
    store=$1/opt/nim-lab/packages
    mkdir -p "$store/partial"
    APT_CONFIG=$MMDEBSTRAP_APT_CONFIG apt-get install --yes --download-only -o "Dir::Cache::archives=$store" '"$later"'
    rm -rf "$store/partial" "$store/lock"
    chmod -R a+rX "$1/opt/nim-lab"
    chroot "$1" sh -eu -c "
      cd /opt/nim-lab/packages
      for deb in *.deb; do
        dpkg-deb -f \$deb
        echo Filename: ./\$deb
        echo Size: \$(stat -c %s \$deb)
        echo SHA256: \$(sha256sum \$deb | cut -d\" \" -f1)
        echo
      done >Packages"
    rm -rf "$1"/etc/apt/sources.list.d/* "$1"/etc/apt/apt.conf.d/99mmdebstrap
    echo "deb [trusted=yes] file:/opt/nim-lab/packages ./" >"$1/etc/apt/sources.list"'
fi

settings=$(apt-config dump Acquire::http Acquire::https 2>/dev/null | grep -i -E '::(proxy|cainfo|verify)' || :)
TMPDIR=$temporary mmdebstrap --variant="$variant" --include="$include" \
  --aptopt='Acquire::Languages "none"' ${settings:+--aptopt="$settings"} \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
  --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt=force-unsafe-io \
  "$@" --format=tar "$suite" "$out.part" "$sources"
mv "$out.part" "$out"
