# SPDX-License-Identifier: Apache-2.0
"""Every key of daemon.json that needs no code: the same under Podman, or what to do about it."""

from __future__ import annotations

DROP_IN = "/etc/containers/containers.conf.d/60-site.conf"

_HARMLESS = """
allow-nondistributable-artifacts config-file containerd containerd-namespace
containerd-plugin-namespace containerd-plugins-namespace debug deprecated-key-path
disable-legacy-registry exec-root experimental init-path live-restore log-format log-level
min-api-version oom-score-adjust pidfile raw-logs rootless userland-proxy userland-proxy-path
validate
"""

# Harmless with one value: what Podman does as well.
SAME = {
    "iptables": True,
    "ip6tables": True,
    "ip-forward": True,
    "ip-masq": True,
    "icc": True,
    "init": False,
    "ipv6": False,
    "selinux-enabled": True,
    "no-new-privileges": False,
    "storage-driver": ("overlay2", "overlay"),
    "default-runtime": ("runc", "io.containerd.runc.v2", "crun"),
    "default-cgroupns-mode": "private",
    "default-ipc-mode": ("private", "shareable"),
    "default-shm-size": ("64M", "64m", 67108864),
    "tls": False,
    "tlsverify": False,
    "mtu": (0, 1500),
    "bridge": "",
    "cgroup-parent": "",
    "userns-remap": "",
    "swarm-default-advertise-addr": "",
    "ip": ("0.0.0.0", ""),  # noqa: S104 (Docker's own default)
}

# `key, key | what to do`; {value} is the value as JSON, {c} the drop-in of containers.conf.
_TODO = """
bip, fixed-cidr | default network: in {c}: [network] default_subnet = "a.b.c.0/24"
bip6, fixed-cidr-v6, ipv6 | IPv6 is a network's own: `podman network create --ipv6 --subnet` or a
  network quadlet with IPv6=true
bridge | Podman has no such bridge: make a network (quadlet of type network) and name it in each
  container, or [network] default_network in {c}
default-gateway, default-gateway-v6 | a network's own: Gateway= of a network quadlet
default-network-opts | a network's own: Options= of each network quadlet
dns | in {c}: [containers] dns_servers = {value}; or DNS= of a quadlet
dns-opts | in {c}: [containers] dns_options = {value}
dns-search | in {c}: [containers] dns_searches = {value}
storage-opts | belongs to Docker's storage driver; a quota of a container's layer needs XFS with
  pquota and `--storage-opt size=` in its PodmanArgs
userns-remap | UserNS=auto in the quadlets that need it (ranges of user `containers` in
  /etc/subuid and /etc/subgid); files on volumes belong to subordinate ids: chown them
iptables, ip6tables | Podman writes its own rules; where none may be written: in {c}: [network]
  firewall_driver = "none", and publish no ports
firewall-backend | Podman chooses by the release: iptables on EL 9, nftables on EL 10; else in
  {c}: [network] firewall_driver
ip-forward, ip-forward-no-drop | Podman turns forwarding on when a network with a bridge is used;
  only Network=host or none does without
ip-masq | a network's own; Podman masquerades, unless a network is Internal=true
allow-direct-routing, bridge-accept-fwmark | no counterpart: rules of your own in firewalld
icc | no counterpart on one network; put containers that must not meet on networks of their own,
  each with Options=isolate=true
ip | the address to publish on: name it in each PublishPort, as in 127.0.0.1:8080:80
host-gateway-ip | in {c}: [containers] host_containers_internal_ip = {value}
mtu | in each network quadlet: Options=mtu={value}
default-shm-size | in {c}: [containers] shm_size = {value}
init | in {c}: [containers] init = true
no-new-privileges | NoNewPrivileges=true in each quadlet
seccomp-profile | in {c}: [containers] seccomp_profile = {value}
apparmor-profile | EL has SELinux in its place; nothing to set
default-cgroupns-mode | in {c}: [containers] cgroupns = {value}
default-ipc-mode | in {c}: [containers] ipcns = {value}
cdi-spec-dirs | in {c}: [engine] cdi_spec_dirs = {value}
cgroup-parent | Slice= in section Service of each quadlet, or podman_memory_max for all containers
selinux-enabled | Podman confines containers where SELinux is enforcing: bind mounts need :z or :Z
default-runtime | Podman runs crun (podman_runtime); another OCI runtime is named in
  [engine.runtimes] of {c}
max-concurrent-downloads, max-concurrent-uploads | in {c}: [engine] image_parallel_copies =
  {value}
max-download-attempts | in {c}: [engine] retry = {value} (Podman 5)
shutdown-timeout | TimeoutStopSec= in section Service of a quadlet
tls, tlsverify, tlscacert, tlscert, tlskey, tlscacerts | Podman's socket is not offered on TCP:
  use it over SSH, as in DOCKER_HOST=ssh://root@node
metrics-addr | Podman offers no metrics: podman stats, or an exporter of its own on its socket
authorization-plugins | no counterpart: who may open the socket may do all; give users rootless
  Podman instead
labels | labels of the daemon have no counterpart
node-generic-resources, swarm-default-advertise-addr, cluster-store, cluster-store-opts,
  cluster-advertise | belongs to swarm, which Podman has not
builder | BuildKit's cache has no counterpart; podman_prune_calendar clears up
cpu-rt-period, cpu-rt-runtime | not on cgroup v2
api-cors-header | Podman's socket sends no such header: put a proxy before it
http-proxy, https-proxy, no-proxy | in {c}: [engine] env = ["HTTPS_PROXY=..."]; where the node
  only pulls from the depot, not needed
"""


def _sentences(table):
    """For each key of a table its sentence; a line that is indented continues the last one."""
    found = {}
    for line in table.strip().replace("\n  ", " ").splitlines():
        keys, _, sentence = line.partition("|")
        found.update(dict.fromkeys(map(str.strip, keys.split(",")), sentence.strip()))
    return found


# About dockerd's own process, or done by Podman anyway, or without a counterpart to miss.
HARMLESS = frozenset(_HARMLESS.split())
TODO = _sentences(_TODO)


def conf(section, line):
    """How a line of containers.conf is set."""
    return f"in {DROP_IN}: [{section}] {line}"
