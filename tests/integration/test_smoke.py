from sandbox.objects import condition
from sandbox.stage import Stage


def test_smoke(stage: Stage, namespace: str) -> None:
    stage.integration(namespace)
    name = stage.run(namespace, "aws sts get-caller-identity")
    done = stage.objects.wait("Run", namespace, name, lambda run: condition(run, "Complete"))
    assert done["status"]["phase"] == "Finished"
