"""Short-lived, traceable AWS credentials for every infrastructure run in a Kubernetes cluster."""
