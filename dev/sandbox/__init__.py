"""A Kubernetes control plane, a stand-in node and an emulated AWS on loopback. The operator never imports it."""
