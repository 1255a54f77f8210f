#!/bin/sh
# A Docker Engine with CDI on a GPU server that has neither Docker nor the NVIDIA container toolkit nor a network; where an
# engine answers, that one is taken as it is. Prints the folder that is to stand first on PATH, or nothing.
# usage: engine.sh PACKAGES
#   PACKAGES  a folder with Debian packages: docker.io and docker-cli (26 or newer), containerd, runc, iptables with its
#             libraries, tini, docker-registry, git-lfs, haproxy with liblua5.3-0 and libopentracing
# Packages are unpacked under /opt/nim-gpu-test and never over /, which another distribution's packages can break.
set -eu
packages=$1 root=/opt/nim-gpu-test
libraries=$root/usr/lib/x86_64-linux-gnu

if [ ! -d "$root" ]; then
  for package in "$packages"/*.deb; do dpkg-deb -x "$package" "$root"; done
  for name in iptables ip6tables iptables-save iptables-restore ip6tables-save ip6tables-restore; do
    rm -f "$root/usr/sbin/$name"
    printf '#!/bin/sh\nLD_LIBRARY_PATH=%s exec %s/usr/sbin/xtables-nft-multi %s "$@"\n' \
      "$libraries" "$root" "$name" >"$root/usr/sbin/$name"
    chmod 0755 "$root/usr/sbin/$name"
  done
fi

# HAProxy's own init script, which the role gateway starts it by, knows it in one place only.
if ! command -v haproxy >/dev/null; then
  install -m 0755 "$root/usr/sbin/haproxy" /usr/sbin/haproxy
  install -m 0755 "$root/etc/init.d/haproxy" /etc/init.d/haproxy
  cp -P "$libraries"/liblua5.3.so* "$libraries"/libopentracing*.so* /usr/local/lib/
  ldconfig
  haproxy -v >/dev/null
  mkdir -p /etc/haproxy /var/lib/haproxy
  id haproxy >/dev/null 2>&1 || useradd --system --no-create-home --shell /usr/sbin/nologin haproxy
fi

echo "$root/usr/sbin:$root/usr/bin"
PATH=$root/usr/sbin:$root/usr/bin:$PATH
export PATH XTABLES_LIBDIR="$libraries/xtables"
if docker version >/dev/null 2>&1; then exit 0; fi

mkdir -p /etc/docker /etc/cdi /var/lib/docker
echo '{"features": {"cdi": true}, "cdi-spec-dirs": ["/etc/cdi"]}' >/etc/docker/daemon.json
{
  echo 'cdiVersion: "0.5.0"'
  echo 'kind: nvidia.com/gpu'
  echo 'devices:'
  nvidia-smi --query-gpu=index,uuid --format=csv,noheader | tr -d ' ' | while IFS=, read -r index uuid; do
    for name in "$index" "$uuid"; do
      printf -- '- name: "%s"\n  containerEdits: {deviceNodes: [{path: /dev/nvidia%s}]}\n' "$name" "$index"
    done
  done
  echo 'containerEdits:'
  echo '  env: ["NVIDIA_VISIBLE_DEVICES=void", "LD_LIBRARY_PATH=/usr/local/nvidia/lib64"]'
  echo '  deviceNodes: [{path: /dev/nvidiactl}, {path: /dev/nvidia-uvm}, {path: /dev/nvidia-uvm-tools}]'
  echo '  mounts:'
  # The server's own Python with torch and CUDA, lent to an image that has none of it (run.py); and the driver.
  for folder in /usr /usr/local/nvidia /opt/*/; do
    folder=${folder%/}
    case $folder in "$root" | /opt/nim | /opt/containerd) continue ;; esac
    [ ! -d "$folder" ] || printf '  - {hostPath: %s, containerPath: %s, options: [ro, nosuid, nodev, bind]}\n' "$folder" "$folder"
  done
} >/etc/cdi/nvidia.yaml
setsid dockerd >/var/log/dockerd.log 2>&1 &
for _ in $(seq 120); do
  if docker version >/dev/null 2>&1; then exit 0; fi
  sleep 0.5
done
echo "The Docker Engine does not answer; the end of /var/log/dockerd.log:" >&2
tail -n 20 /var/log/dockerd.log >&2
exit 1
