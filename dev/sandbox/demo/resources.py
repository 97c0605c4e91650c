"""What the story applies, as a person would write it."""

import json

from sandbox.stage import Stage

INTEGRATION = """\
apiVersion: aws.spacelift.io/v1beta1
kind: AwsIntegration
metadata:
  name: prod
spec: {}
"""

POOL = "build"

INTEGRATION_OF_WORKERS = """\
apiVersion: aws.spacelift.io/v1beta1
kind: AwsIntegration
metadata:
  name: prod
spec:
  roleArn: {role_arn}
  generateCredentialsInWorker: true
"""

CALLER = "aws sts get-caller-identity --query Arn --output text"
WHO_AM_I = f"{CALLER}; sleep 2"

# A container's first process hears a signal only if it asks to; the shell looks up from its `sleep` each second.
LONG_WORK = """\
trap 'echo "asked to stop: cleaning up"; exit 1' TERM
for step in $(seq 60); do echo "step $step of 60"; sleep 1; done
"""


def run(stage: Stage, name: str, script: str, pool: str = "") -> str:
    """A Run of a shell script, for a pool if one is named; where the node does not say where AWS is, it does."""
    container = stage.container(script)
    variables = "".join(
        f"\n            - {{name: {variable['name']}, value: {json.dumps(variable['value'])}}}"
        for variable in container.get("env", ())
    )
    env = f"\n          env:{variables}" if variables else ""
    whose = f"\n  workerPool: {pool}" if pool else ""
    return f"""\
apiVersion: aws.spacelift.io/v1beta1
kind: Run
metadata:
  name: {name}
spec:
  integrationRef:
    name: prod{whose}
  template:
    spec:
      containers:
        - name: main
          image: {container["image"]}{env}
          command:
            - sh
            - -c
            - |
{_indented(script, 14)}"""


def _indented(text: str, columns: int) -> str:
    return "".join(f"{' ' * columns}{line}\n" for line in text.splitlines())
