#!/bin/sh
# Makes what the lab's servers prove themselves with, all or nothing. usage: keys.sh FOLDER (an absolute path)
#   ca.crt, ca.key             the lab's certificate authority
#   id_ed25519[.pub]           Ansible's key to the GPU servers
#   known_hosts                their host keys
#   ssh_config                 for people: ssh -F ssh_config gpu1
#   <server>/                  what is mounted into that server
set -eu
owner=$(stat -c %u:%g "$(dirname "$0")")
folder=$1
part=$folder.part
rm -rf "$part"
mkdir -p "$(dirname "$folder")"
umask 077
mkdir "$part"
cd "$part"

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj "/CN=nim-lab authority" \
  -addext keyUsage=critical,keyCertSign,cRLSign -keyout ca.key -out ca.crt 2>/dev/null

certificate() { # SERVER NAME
  mkdir "$1"
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$2" -keyout "$1/server.key" -out request 2>/dev/null
  cat >extensions <<END
subjectAltName=DNS:$2
basicConstraints=critical,CA:FALSE
extendedKeyUsage=serverAuth
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid
END
  openssl x509 -req -in request -CA ca.crt -CAkey ca.key -CAcreateserial -days 3650 -extfile extensions -out "$1/server.crt" 2>/dev/null
  rm request extensions
}
certificate registry nvcr.lab
certificate hub hub.lab

ssh-keygen -q -t ed25519 -N '' -C nim-lab -f id_ed25519
host() { # SERVER ADDRESS
  mkdir "$1"
  ssh-keygen -q -t ed25519 -N '' -C "$1" -f "$1/ssh_host_ed25519_key"
  printf '%s %s\n' "$2" "$(cut -d' ' -f1,2 "$1/ssh_host_ed25519_key.pub")" >>known_hosts
  cat >>ssh_config <<END
Host $1
  HostName $2
  User ops
  IdentityFile $folder/id_ed25519
  UserKnownHostsFile $folder/known_hosts
END
  cp id_ed25519.pub "$1/authorized_keys"
  cp ca.crt "$1/ca.crt"
}
host gpu1 10.83.0.11
host gpu2 10.83.0.12
host gpu3 10.83.0.13
host gateway 10.83.0.10

# Made under sudo, used without it.
[ "$(id -u)" != 0 ] || chown -R "$owner" . "$(dirname "$folder")"
cd ..
# Of an older lab, with fewer servers.
rm -rf "$folder"
mv "$part" "$folder"
