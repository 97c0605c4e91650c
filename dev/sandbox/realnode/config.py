"""The files that containerd, its network plugin and the kubelet of a real node are configured by. Pure.

All paths are those inside the machine (see `machine.py`), so they are the usual ones.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CGROUP = "spacelift-aws-node"
"""All containers' cgroups are below it, in every hierarchy."""
DEVICE = "spacelift-node"
"""The end outside of the cable between this machine and the node's."""
OUTSIDE, ADDRESS = "198.18.77.1", "198.18.77.2"
"""Both ends of the cable. 198.18.0.0/15 is for tests of networks (RFC 2544): nobody routes it."""
PODS = "198.18.78.0/24"
SERVICE_ADDRESS, SERVICE_PORT = "10.0.0.1", 443
"""Of the Service `kubernetes`, under which pods look for the API server."""

SOCKET = "/run/containerd/containerd.sock"
PAUSE = "localhost/pause:1"

SYSCTLS = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)
"""What a kubelet sets on its machine; a kernel has them once, not once a namespace."""


def containerd(folder: Path, snapshotter: str) -> str:
    """config.toml of containerd; `folder` holds the network's configuration."""
    return f"""version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{snapshotter}"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{folder}"
"""


def network() -> str:
    """The conflist of a bridge. Pods reach each other and the node, and through it nothing else."""
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "ipMasq": False,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": PODS}]], "routes": [{"dst": "0.0.0.0/0"}]},
    }
    return json.dumps({"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge]}, indent=1)


def kubelet(authority: Path, resolv_conf: Path, settings: Mapping[str, Any]) -> str:
    """A KubeletConfiguration; `settings` are fields of it that win over these."""
    return json.dumps(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {"anonymous": {"enabled": False}, "x509": {"clientCAFile": str(authority)}},
            "containerRuntimeEndpoint": f"unix://{SOCKET}",
            "cgroupDriver": "cgroupfs",
            "failCgroupV1": False,
            # The cgroups of pods as a whole would need the machine's root cgroup; those of containers do without.
            "cgroupsPerQOS": False,
            "cgroupRoot": f"/{CGROUP}",
            "enforceNodeAllocatable": [],
            "failSwapOn": False,
            "makeIPTablesUtilChains": False,
            "resolvConf": str(resolv_conf),
            # This machine's disk is nobody's business here: images stay, and nothing is evicted for it.
            "imageGCHighThresholdPercent": 100,
            "evictionHard": {},
            **settings,
        },
        indent=1,
    )
