"""The two resources as users write them: pydantic models, the single source of both definitions in `crds/`.

A schema's bounds and rules are the API server's to enforce. Python reads what the server accepted without judging it
again, so that an operator keeps serving objects that a newer or older definition let in.
"""

GROUP = "aws.spacelift.io"
VERSION = "v1beta1"
API_VERSION = f"{GROUP}/{VERSION}"
AWSINTEGRATIONS = "awsintegrations"
RUNS = "runs"
