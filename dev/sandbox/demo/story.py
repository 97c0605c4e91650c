"""The story: what is done, step by step, and what must be seen. Each step is a function that yields what happens."""

import json
from collections.abc import Callable, Iterator

from sandbox.controller import NAMESPACE, manifest, wait_for_runs
from sandbox.demo import resources
from sandbox.demo.beats import Beat, Chapter, Check, Command, Output, Prose
from sandbox.demo.scene import SECRET_TYPE, Scene, parsed
from sandbox.demo.sights import CONTROLLER, ended, nothing_left, phase_of
from sandbox.demo.workers import the_workers_side
from sandbox.objects import condition
from sandbox.program import CRDS
from sandbox.stage import CUSTOMER, INSTALLATION

Step = Callable[[Scene], Iterator[Beat]]

ROLE = "deploy"
ROLE_ARN = f"arn:aws:iam::{CUSTOMER}:role/{ROLE}"
WIDE = f"{INSTALLATION}@*"


def a_stage(scene: Scene) -> Iterator[Beat]:
    """What is there before anything of the operator's is."""
    yield Chapter("A cluster and an AWS")
    version = parsed(scene.ask("version", "--output=json").stdout) or {}
    server = version.get("serverVersion", {}).get("gitVersion", "")
    yield Check("A Kubernetes control plane answers", f"{server} at {scene.stage.cluster.server}", bool(server))
    nodes = scene.ask("get", "nodes", "--no-headers").stdout.splitlines()
    ready = [line.split()[0] for line in nodes if line.split()[1:2] == ["Ready"]]
    kind = "" if scene.stage.variables else ", a stand-in that runs containers as processes of this machine"
    yield Check("A node is ready to run pods", ", ".join(ready) + kind if ready else "no node is Ready", bool(ready))
    sts = scene.stage.aws.client("sts", scene.stage.operator)
    caller = sts.get_caller_identity()["Arn"]
    yield Check("STS knows the operator", f"{caller} at {scene.stage.aws.endpoint}", caller == scene.stage.operator.arn)


def the_operator(scene: Scene) -> Iterator[Beat]:
    """Its definitions, its permissions, its process."""
    yield Chapter("The operator arrives")
    yield Prose(
        f"operator.yaml is namespace {NAMESPACE} and what `helm template charts/spacelift-aws-operator` makes for it, "
        "with replicas=0, since the controller runs beside this cluster."
    )
    yield Command(("kubectl", "apply", "-f", "operator.yaml"))
    yield Output(scene.ask("apply", f"--filename={manifest(scene.stage.cluster)}", check=True).stdout)
    scene.stage.cluster.wait_for_crds([CRDS])
    wait_for_runs(scene.stage.cluster, scene.namespace)
    scene.stage.controller.start()
    yield Check(
        "The controller runs, as its own service account and with nothing more",
        f"{CONTROLLER}, installation {INSTALLATION}",
        scene.stage.controller.process.exit_code() is None,
    )
    allowed = ("create", "delete")
    answers = {verb: _may(scene, verb, "yes") for verb in allowed}
    answers |= {verb: _may(scene, verb, "no") for verb in ("get", "list", "watch", "update", "patch")}
    yield Check(
        "It may create and delete Secrets, and read none",
        ", ".join(f"{verb} {answer}" for verb, answer in answers.items()),
        tuple(verb for verb, answer in answers.items() if answer == "yes") == allowed,
    )


def _may(scene: Scene, verb: str, wanted: str) -> str:
    asked = ("auth", "can-i", verb, "secrets", "--all-namespaces", f"--as={CONTROLLER}")
    return scene.ask_until(*asked, wanted=lambda answer: answer.stdout.strip() == wanted).stdout.strip()


def no_role_yet(scene: Scene) -> Iterator[Beat]:
    """An integration without a role says what the role must trust."""
    yield Chapter("An integration, before there is a role")
    yield from scene.kubectl("apply", *scene.here, "-f", "-", given=resources.INTEGRATION)
    yield scene.verdict("prod", "False", "RoleNotSet")
    external_id = (scene.get("AwsIntegration", "prod") or {}).get("status", {}).get("externalId", "none")
    yield Check(
        "Its external ID is made of installation, namespace and name: nobody can pick another's",
        external_id,
        external_id == scene.stage.external_id(scene.namespace, "prod"),
    )


def no_access_yet(scene: Scene) -> Iterator[Beat]:
    """A role that does not exist looks to STS like one that does not trust."""
    yield Chapter("A role's ARN, before the role exists")
    patch = json.dumps({"spec": {"roleArn": ROLE_ARN}})
    yield from _patch(scene, "awsintegration/prod", patch)
    yield scene.verdict("prod", "False", "AccessDenied")


def trusted_too_widely(scene: Scene) -> Iterator[Beat]:
    """A trust that would serve every namespace is found out."""
    yield Chapter("The role appears, and trusts too much")
    wide = scene.stage.trust(WIDE, operator="StringLike")
    scene.stage.role(wide, ROLE, path="/")
    yield Prose(
        f"In account {CUSTOMER} somebody creates role {ROLE}, with a wildcard in its trust policy. The operator "
        "notices by itself; what it sends to STS it would send on behalf of a namespace that does not exist."
    )
    yield Output(json.dumps(wide["Statement"][0]["Condition"]))
    yield scene.verdict("prod", "False", "OtherExternalIdAccepted")


def rightly_trusted(scene: Scene) -> Iterator[Beat]:
    """The policy from the status is pasted, and verification asked for."""
    yield Chapter("The trust policy is taken from the status")
    where = ("prod", *scene.here)
    arguments = ("get", "awsintegration", *where, "-o", "jsonpath={.status.trustPolicy}")
    yield Command(("kubectl", *arguments))
    policy = scene.ask(*arguments, check=True).stdout
    yield Output(policy)
    document = parsed(policy)
    yield Prose("Pasted into the role as it is. The plugin asks for verification now instead of soon.")
    if document is not None:
        scene.stage.customer.set_trust(ROLE, document)
    yield from scene.kubectl("spacelift-aws", "trust", *where, "--verify", check=False)
    yield scene.verdict("prod", "True", "Verified")
    probes = (scene.get("AwsIntegration", "prod") or {}).get("status", {}).get("probes", [])
    results = {probe["name"]: probe["result"] for probe in probes}
    others = {name: result for name, result in results.items() if name != "Own"}
    yield Check(
        "STS allows its own external ID; none, a sibling's and another installation's are denied",
        ", ".join(f"{name} {result}" for name, result in results.items()),
        results.get("Own") == "Allowed"
        and {"None", "Sibling", "OtherInstallation"} <= others.keys()
        and set(others.values()) == {"Denied"},
    )


def a_run(scene: Scene) -> Iterator[Beat]:
    """A Run with credentials of its own; what its container sees of AWS; what is left of it."""
    yield Chapter("A Run asks AWS who it is")
    manifest = resources.run(scene.stage, "whoami", resources.WHO_AM_I)
    before = scene.stage.objects.version("Secret", scene.namespace)
    yield from scene.kubectl("create", *scene.here, "-f", "-", given=manifest)
    running = scene.until("Run", "whoami", lambda run: phase_of(run) not in ("Queued", "Preparing")) or {}
    status = running.get("status", {})
    run_id, name = status.get("runId", "none"), status.get("secretName", "none")
    secret = scene.secret_since(before, name)
    keys = sorted((secret or {}).get("data", {}))
    yield Check(
        "Run whoami: while it runs, a Secret of its own holds four variables",
        f"{name}: {', '.join(keys)}" if secret else f"no Secret {name}",
        keys == ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN"],
    )
    wait = ("--for=condition=Complete", "run/whoami", *scene.here, f"--timeout={scene.patience:g}s")
    yield from scene.kubectl("wait", *wait, check=False)
    arguments = ("logs", f"pod/{status.get('podName')}", *scene.here)
    yield Command(("kubectl", *arguments))
    printed = scene.ask(*arguments)
    yield Output(printed.stdout + printed.stderr)
    arn = printed.stdout.strip()
    yield Check(
        "Run whoami: AWS knows its container by a name that ends in the run ID",
        f"run ID {run_id}",
        arn == f"arn:aws:sts::{CUSTOMER}:assumed-role/{ROLE}/{run_id}",
    )
    yield ended(scene, "whoami", "Finished", "Finished")
    yield from nothing_left(scene, "whoami", name)


def a_run_stopped(scene: Scene) -> Iterator[Beat]:
    """A Run that is stopped half-way."""
    yield Chapter("A second Run is stopped half-way")
    manifest = resources.run(scene.stage, "long", resources.LONG_WORK)
    yield from scene.kubectl("create", *scene.here, "-f", "-", given=manifest)
    running = scene.until("Run", "long", lambda run: phase_of(run) == "Running")
    status = (running or {}).get("status", {})
    name, arn = str(status.get("secretName")), str(status.get("assumedRoleArn"))
    yield Check(
        "Run long: runs, with a Secret and a session of its own",
        f"{phase_of(running)} as {arn}",
        phase_of(running) == "Running" and arn.endswith(f"/{status.get('runId')}") and bool(scene.get("Secret", name)),
    )
    yield from _watch(scene, f"pod/{name}", "step 3")
    yield from _patch(scene, "run/long", json.dumps({"spec": {"stop": True}}))
    scene.until("Run", "long", lambda run: condition(run, "Complete"))
    yield ended(scene, "long", "Stopped", "Stopped")
    yield from nothing_left(scene, "long", name)


def from_a_pipeline(scene: Scene) -> Iterator[Beat]:
    """The plugin, as a pipeline calls it: a failing run's exit code comes back."""
    yield Chapter("The same from a pipeline")
    options = ("--integration", "prod", "--image", scene.stage.image, "--name", "check")
    variables = [word for name, value in scene.stage.variables.items() for word in ("--env", f"{name}={value}")]
    script = f"{resources.CALLER}; exit 3"
    arguments = ("spacelift-aws", "run", *scene.here, *options, *variables, "--", "sh", "-c", script)
    yield Command(("kubectl", *arguments))
    done = scene.ask(*arguments)
    yield Output(done.stderr + done.stdout)
    run_id = (scene.get("Run", "check") or {}).get("status", {}).get("runId", "none")
    yield Check(
        "Run check: its log is printed, and its exit code is the command's",
        f"exit code {done.returncode}",
        done.returncode == 3 and done.stdout.strip().endswith(f"/{run_id}"),
    )
    yield from scene.kubectl("spacelift-aws", "get", "check", *scene.here, check=False)


def what_remains(scene: Scene) -> Iterator[Beat]:
    """No live credentials anywhere; the Runs' own accounts of themselves."""
    yield Chapter("What remains")
    yield from scene.kubectl("get", "awsintegrations", *scene.here)
    yield from scene.kubectl("get", "runs", *scene.here)
    arguments = ("get", "secrets", "--all-namespaces", f"--field-selector=type={SECRET_TYPE}", "--output=name")
    left = scene.ask(*arguments, check=True).stdout.split()
    yield Check("No Secret with run credentials is left in the cluster", ", ".join(left) or "none", not left)


STORY: tuple[Step, ...] = (
    a_stage,
    the_operator,
    no_role_yet,
    no_access_yet,
    trusted_too_widely,
    rightly_trusted,
    a_run,
    a_run_stopped,
    from_a_pipeline,
    the_workers_side,
    what_remains,
)


def _patch(scene: Scene, target: str, patch: str) -> Iterator[Command | Output]:
    return scene.kubectl("patch", target, *scene.here, "--type=merge", "-p", patch)


def _watch(scene: Scene, pod: str, until: str) -> Iterator[Beat]:
    """A pod's log, once it holds a text."""
    arguments = ("logs", pod, *scene.here)
    yield Command(("kubectl", *arguments))
    yield Output(scene.ask_until(*arguments, wanted=lambda answer: until in answer.stdout).stdout)
