"""`kubectl spacelift-aws`: Runs and AwsIntegrations in people's hands, with their own kubeconfig and rights.

`commands/` has one file a command. Each reads through `kube/`, decides in `model/` (pure functions over plain objects)
and shows the outcome through `output/`. Nothing else talks to a cluster (`kube/`, `following/`) or to AWS (`aws/`).
"""

VERSION = "0.1.0"
