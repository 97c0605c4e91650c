"""A CronJob of Kubernetes' own, on a real node: its Jobs get credentials and go as any Job goes."""

import json

from sandbox.objects import Object, condition
from sandbox.process import wait_until
from sandbox.realnode.stage import RealStage

WHO = "aws sts get-caller-identity --query Arn --output text"


def grant(stage: RealStage, namespace: str, account: str, verb: str) -> None:
    """A new service account with a verb on the integration."""
    where = f"--namespace={namespace}"
    rule = {"apiGroups": ["aws.spacelift.io"], "resources": ["awsintegrations"], "verbs": [verb]}
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": account},
        "rules": [rule],
    }
    stage.cluster.kubectl("create", where, "--filename=-", input=json.dumps(role))
    stage.cluster.kubectl("create", "serviceaccount", account, where)
    stage.cluster.kubectl(
        *("create", "rolebinding", account, where, f"--role={account}", f"--serviceaccount={namespace}:{account}")
    )


def cron_job(stage: RealStage, namespace: str, script: str, account: str, **words: str) -> Object:
    annotations = {f"aws.spacelift.io/{key.replace('_', '-')}": value for key, value in words.items()}
    pod = {"restartPolicy": "Never", "serviceAccountName": account, "containers": [stage.container(script)]}
    job = {"managedBy": "aws.spacelift.io/run", "backoffLimit": 0, "template": {"spec": pod}}
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"namespace": namespace, "name": "drift"},
        "spec": {
            "schedule": "* * * * *",
            "concurrencyPolicy": "Forbid",
            "successfulJobsHistoryLimit": 1,
            "jobTemplate": {"metadata": {"annotations": annotations}, "spec": job},
        },
    }


def test_a_cronjob_checks_for_drift_every_minute(stage: RealStage, namespace: str) -> None:
    grant(stage, namespace, "drift", "use")
    script = f"{WHO}; exit 2"
    words = {"integration": "prod", "success_exit_codes": "0,2"}
    stage.objects.create(cron_job(stage, namespace, script, "drift", **words))

    def completed() -> list[str]:
        return [
            job["metadata"]["name"]
            for job in stage.objects.list("Job", namespace)
            if condition(job, "Complete").get("status") == "True"
        ]

    wait_until(lambda: bool(completed()), timeout=120, what="the first Job of the CronJob")
    name = completed()[0]
    run = stage.objects.get("Run", namespace, name)
    assert run is not None
    said = stage.cluster.kubectl("logs", f"job/{name}", f"--namespace={namespace}").stdout
    assert said.strip().endswith(f"/{run['status']['runId']}")
    assert (run["status"]["phase"], run["status"]["exitCode"]) == ("Finished", 2)
    # The history's limit takes the first Job away, and its Run with it.
    wait_until(lambda: bool(completed()) and completed() != [name], timeout=120, what="the next Job")
    stage.objects.wait(
        "Run", namespace, name, lambda body: body is None, timeout=60, what="the first Job's Run is gone"
    )
    stage.objects.delete("CronJob", namespace, "drift", propagationPolicy="Background")
