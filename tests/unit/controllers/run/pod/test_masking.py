"""Where the helper that masks logs can stand, what a pod looks like with it, and what is said where it cannot."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spacelift_aws.api.reasons import LogsMaskedReason
from spacelift_aws.api.run import Run
from spacelift_aws.controllers.run import status
from spacelift_aws.controllers.run.decide import decide
from spacelift_aws.controllers.run.pod import masking, outcome
from spacelift_aws.controllers.run.pod.build import build_pod
from spacelift_aws.controllers.run.pod.helper import Helper, HelperDelivery
from spacelift_aws.controllers.run.pod.masking import HELPER, INIT_CONTAINER, MOUNT_PATH, VOLUME
from spacelift_aws.controllers.run.pod.outcome import outcome_of, trouble_of
from spacelift_aws.controllers.run.pod.view import parse_pod, unmasked
from spacelift_aws.controllers.run.status import End, terminal, waiting
from spacelift_aws.controllers.run.template_rules import credentialed_containers, masking_of, refusal

IMAGE = "example.com/operator:1"
Pod = dict[str, Any]


def container(name: str = "main", **more: Any) -> Pod:
    return {"name": name, "image": "hashicorp/terraform:1.13", "command": ["terraform", "plan"], **more}


def one(**more: Any) -> Pod:
    """A pod whose only container can be masked, but for what is given."""
    return {"containers": [container(**more)]}


def bare(name: str = "main", image: str = "hashicorp/terraform:1.13") -> Pod:
    return {"name": name, "image": image, "args": ["plan"]}


def planned(kit: Any, pod: Pod, helper_image: str | None = IMAGE, **spec: Any) -> masking.Masking:
    found = masking_of(kit.run(pod=pod, **spec).spec, helper_image)
    assert found is not None
    return found


def built(kit: Any, run: Run, helper_image: str | None = IMAGE, **helper: Any) -> Pod:
    configured = Helper(helper_image, **helper) if helper_image else None
    return build_pod(
        run, kit.run_id, role_arn=kit.role, executor="controller", expires_at=kit.at(3600), helper=configured
    )


def nodes(*terms: list[Pod]) -> Pod:
    required = {"nodeSelectorTerms": [{"matchExpressions": term} for term in terms]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}


def expression(operator: str, *values: str, key: str = "kubernetes.io/arch") -> Pod:
    return {"key": key, "operator": operator, "values": list(values)}


ARM = {"nodeSelector": {"kubernetes.io/arch": "arm64", "kubernetes.io/os": "linux", "zone": "a"}}


@pytest.mark.parametrize(
    ("why", "pod"),
    [
        ("a command", one()),
        ("what is not ours to judge", one(command=["$(SHELL)"], args=[1])),
        ("a terminal elsewhere", {"containers": [container(), container("other", tty=True)]}),
        ("no command elsewhere", {"containers": [container(), bare("other")]}),
        ("nodes that it is built for", {**one(), **ARM}),
        ("one of two kinds of nodes", {**one(), "affinity": nodes([expression("In", "s390x", "arm64")])}),
        ("one of two terms", {**one(), "affinity": nodes([expression("In", "s390x")], [expression("In", "amd64")])}),
        ("all nodes but some", {**one(), "affinity": nodes([expression("NotIn", "arm64")])}),
        ("any node that has the label", {**one(), "affinity": nodes([expression("Exists")])}),
        ("other labels", {**one(), "affinity": nodes([expression("In", "s390x", key="flavour")])}),
        ("what the API server will refuse", {**one(), "affinity": [], "nodeSelector": [], "os": "linux"}),
    ],
)
def test_what_can_be_masked(kit: Any, why: str, pod: Pod) -> None:
    found = planned(kit, pod)
    assert (found.reason, found.containers) == (LogsMaskedReason.MASKED, ("main",)), why
    assert found.message == "Secret access keys and session tokens are replaced by ***** in what `main` prints."
    assert refusal(kit.run(pod=pod, maskLogs="Required").spec, helper_image=IMAGE) is None


@pytest.mark.parametrize(
    ("why", "pod", "image", "reason", "words"),
    [
        ("no command", {"containers": [bare()]}, IMAGE, "NoCommand", 'such as `command: ["terraform"]`.'),
        ("an empty one", one(command=[]), IMAGE, "NoCommand", "has no `command`"),
        ("none that is one", one(command="terraform plan"), IMAGE, "NoCommand", "has no `command`"),
        ("a registry", {"containers": [bare(image="r:5000/x/tool:1@sha256:0")]}, IMAGE, "NoCommand", '["tool"]'),
        ("another name", {"containers": [bare(image="amazon/aws-cli")]}, IMAGE, "NoCommand", '["aws"]'),
        ("no image", {"containers": [{"name": "main"}]}, IMAGE, "NoCommand", '["terraform"]'),
        ("a terminal", one(tty=True), IMAGE, "Terminal", "remove `tty: true`."),
        ("no helper", one(), None, "NoHelper", "set SPACELIFT_AWS_HELPER_IMAGE."),
        ("an empty setting", one(), "", "NoHelper", "set SPACELIFT_AWS_HELPER_IMAGE."),
        ("other nodes", {**one(), "nodeSelector": {"kubernetes.io/arch": "s390x"}}, IMAGE, "NoHelper", "=s390x."),
        ("an older label", {**one(), "nodeSelector": {"beta.kubernetes.io/arch": "arm"}}, IMAGE, "NoHelper", "=arm."),
        ("Windows", {**one(), "nodeSelector": {"kubernetes.io/os": "windows"}}, IMAGE, "NoHelper", "=windows."),
        ("Windows again", {**one(), "os": {"name": "windows"}}, IMAGE, "NoHelper", "asks for Windows."),
        ("affinity", {**one(), "affinity": nodes([expression("In", "arm")])}, IMAGE, "NoHelper", "affinity."),
        (
            "every term",
            {**one(), "affinity": nodes([expression("In", "arm")], [expression("NotIn", "amd64", "arm64")])},
            IMAGE,
            "NoHelper",
            "affinity.",
        ),
    ],
)
def test_what_cannot_be_masked_goes_on_or_is_refused_in_the_same_words(
    kit: Any, why: str, pod: Pod, image: str | None, reason: str, words: str
) -> None:
    found = planned(kit, pod, image)
    assert (found.reason, found.containers) == (reason, ()), why
    assert words in found.message
    assert refusal(kit.run(pod=pod).spec, helper_image=image) is None
    assert refusal(kit.run(pod=pod, maskLogs="Required").spec, helper_image=image) == found.message


def test_those_that_can_be_masked_are_and_the_others_named(kit: Any) -> None:
    pod = {"initContainers": [container("first"), bare("second")], "containers": [container("third", tty=True)]}
    found = planned(kit, pod, credentialsFor=["first", "second", "third"])
    assert (found.reason, found.containers) == ("NoCommand", ("first",))
    first, second = found.message.index("`second` has no `command`"), found.message.index("`third` has a terminal")
    assert first < second < found.message.index("What `first` prints is masked.")


def test_never_means_nothing_of_it(kit: Any) -> None:
    run = kit.run(pod=one(), maskLogs="Never")
    assert planned(kit, one(), maskLogs="Never").reason == "NotAsked"
    assert built(kit, run) == built(kit, run, None)


def test_the_pod(kit: Any) -> None:
    run = kit.run(pod={"initContainers": [bare("before")], "containers": [container(args=["-input=false"])]})
    spec = built(kit, run)["spec"]
    helper, before = spec["initContainers"]
    assert before["name"] == "before"
    assert helper["command"] == ["/usr/local/bin/spacelift-aws-mask", "install", MOUNT_PATH]
    assert (helper["name"], helper["image"]) == (INIT_CONTAINER, IMAGE)
    assert not {"env", "envFrom", "args"} & set(helper), "no credentials, and nothing else of the run's"
    assert helper["resources"]["limits"] == helper["resources"]["requests"] == {"cpu": "100m", "memory": "32Mi"}
    assert spec["volumes"] == [{"name": VOLUME, "emptyDir": {"medium": "Memory", "sizeLimit": "8Mi"}}]
    [main] = spec["containers"]
    assert main["command"] == [HELPER, "--", "terraform", "plan"]
    assert main["args"] == ["-input=false"]
    assert main["volumeMounts"] == [{"name": VOLUME, "mountPath": MOUNT_PATH, "readOnly": True}]


def test_the_pod_with_an_image_volume(kit: Any) -> None:
    run = kit.run(pod={"initContainers": [bare("before")], "containers": [container(args=["-input=false"])]})
    found = built(kit, run, delivery=HelperDelivery.IMAGE)
    assert [one["name"] for one in found["spec"]["initContainers"]] == ["before"]
    assert found["spec"]["volumes"] == [{"name": VOLUME, "image": {"reference": IMAGE}}]
    [main] = found["spec"]["containers"]
    assert main["command"] == [f"{MOUNT_PATH}/usr/local/bin/spacelift-aws-mask", "--", "terraform", "plan"]
    assert main["volumeMounts"] == [{"name": VOLUME, "mountPath": MOUNT_PATH, "readOnly": True}]
    pod = parse_pod(created(kit, found))
    assert pod.image_volume
    assert unmasked(pod, ["main"]) == ()
    assert not parse_pod(created(kit, built(kit, run))).image_volume


def test_resources_and_security_context_are_settings(kit: Any) -> None:
    resources, security = {"requests": {"cpu": "1"}}, {"runAsUser": 1234, "runAsNonRoot": True}
    run = kit.run(pod={**one(), "securityContext": {"runAsUser": 0}})
    [helper] = built(kit, run, resources=resources, security_context=security)["spec"]["initContainers"]
    assert (helper["resources"], helper["securityContext"]) == (resources, security)


@pytest.mark.parametrize(
    ("why", "command", "args", "masked"),
    [
        ("vault-env", ["/vault/vault-env"], [HELPER, "--", "terraform"], True),
        ("in the command", ["/tekton/entrypoint", "-entrypoint", HELPER, "--mask", "A", "--", "terraform"], None, True),
        ("without its separator", ["/vault/vault-env"], [HELPER, "terraform"], False),
        ("taken out", ["/vault/vault-env"], ["terraform"], False),
        ("in a sentence", ["sh", "-c", f"{HELPER} -- terraform"], None, False),
    ],
)
def test_what_a_webhook_puts_in_front(kit: Any, why: str, command: list[str], args: Any, masked: bool) -> None:
    body = created(kit, built(kit, kit.run(pod=one())))
    [main] = body["spec"]["containers"]
    main["command"], main["args"] = command, args
    pod = parse_pod(body)
    assert unmasked(pod, ["main"]) == (() if masked else ("main",)), why
    found = status.with_pod(seen(kit, kit.run(pod=one()), pod), pod, None).condition("LogsMasked")
    assert found is not None
    assert found.status == ("True" if masked else "False")
    if not masked:
        assert f"a webhook changed its command to `{command[0]}`" in found.message


def test_an_api_server_that_takes_the_volume_out_is_told(kit: Any) -> None:
    body = created(kit, built(kit, kit.run(pod=one()), delivery=HelperDelivery.IMAGE))
    body["spec"]["volumes"] = body["spec"]["containers"][0]["volumeMounts"] = []
    pod = parse_pod(body)
    found = status.with_pod(seen(kit, kit.run(pod=one()), pod), pod, None).condition("LogsMasked")
    assert found is not None
    assert found.reason == "NoHelper"
    assert found.message.endswith(
        "the helper's volume was removed from the pod, for example by an API server without image volumes."
    )


def test_the_helper_is_told_which_variables_are_masked_too(kit: Any) -> None:
    [main] = built(kit, kit.run(pod=one(), maskFrom=["TF_VAR_password", "TOKEN"]))["spec"]["containers"]
    assert main["command"] == [HELPER, "--mask", "TF_VAR_password", "--mask", "TOKEN", "--", "terraform", "plan"]


def test_the_helper_has_no_user_of_its_own_unless_the_pods_is_root(kit: Any) -> None:
    def security(of_pod: Pod) -> Any:
        [helper] = built(kit, kit.run(pod={**one(), "securityContext": of_pod}))["spec"]["initContainers"]
        return helper["securityContext"]

    assert "runAsUser" not in security({})
    assert "runAsUser" not in security({"runAsUser": 1000650000})
    assert security({"runAsUser": 0})["runAsUser"] == 65532
    assert security({})["runAsNonRoot"] is True


def test_with_files_the_helper_is_told_where_they_are(kit: Any) -> None:
    spec = built(kit, kit.run(pod=one(), delivery="File"))["spec"]
    [main] = spec["containers"]
    assert main["command"] == [HELPER, "--files", "/var/run/secrets/aws.spacelift.io", "--", "terraform", "plan"]
    assert [mount["name"] for mount in main["volumeMounts"]] == ["spacelift-aws-credentials", VOLUME]
    [helper] = spec["initContainers"]
    assert [mount["name"] for mount in helper["volumeMounts"]] == [VOLUME]


@pytest.mark.parametrize(
    ("pod", "place"),
    [
        ({"containers": [container(), container(INIT_CONTAINER)]}, "template.spec.containers[1]: `aws-run-mask` is"),
        ({**one(), "initContainers": [bare(INIT_CONTAINER)]}, "template.spec.initContainers[0]: `aws-run-mask` is"),
        ({**one(), "volumes": [{}, {"name": VOLUME}]}, "template.spec.volumes[1]: `spacelift-aws-mask` is"),
        (
            one(volumeMounts=[{"mountPath": MOUNT_PATH + "/"}]),
            "containers[0].volumeMounts[0]: /spacelift",
        ),
        (one(volumeMounts=[{}, {"mountPath": f"{MOUNT_PATH}/../{HELPER}"}]), "containers[0].volumeMounts[1]: "),
        (one(volumeMounts=[{"mountPath": MOUNT_PATH[1:]}]), "containers[0].volumeMounts[0]: "),
    ],
)
def test_what_is_in_the_helpers_way_is_refused(kit: Any, pod: Pod, place: str) -> None:
    assert place in (refusal(kit.run(pod=pod).spec, helper_image=IMAGE) or "")


def test_what_is_beside_the_helpers_way_is_not(kit: Any) -> None:
    beside = ("/run", "/spacelift-aws", "/spacelift-aws-masks", "/a/spacelift-aws-mask")
    mounts = [{"mountPath": path} for path in beside]
    assert refusal(kit.run(pod=one(volumeMounts=mounts)).spec, helper_image=IMAGE) is None


names = st.sampled_from(["first", "second", "third", "fourth"])
words = st.lists(st.text("ab$()-", max_size=4), max_size=3)
containers = st.fixed_dictionaries(
    {"name": names},
    optional={
        "command": st.none() | words,
        "args": words,
        "tty": st.booleans(),
        "volumeMounts": st.none() | st.just([{"name": "own", "mountPath": "/run"}]),
        "env": st.just([{"name": "A", "value": "$(B)"}]),
        "restartPolicy": st.just("Always"),
    },
)
pods = st.fixed_dictionaries(
    {"containers": st.lists(containers, min_size=1, max_size=3)},
    optional={
        "initContainers": st.none() | st.lists(containers, max_size=2),
        "volumes": st.none() | st.just([{"name": "own", "image": {"reference": "i"}}]),
        "securityContext": st.just({"runAsUser": 0}),
        "fieldOfTheFuture": st.just({"a": [1]}),
    },
)


def all_of(spec: Pod) -> list[Pod]:
    return [*(spec.get("initContainers") or ()), *spec["containers"]]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])  # the kit has no state
@given(pod=pods, delivery=st.sampled_from(["Environment", "File"]), asked=st.sets(names))
def test_a_pod_with_the_helper_is_the_pod_without_it_but_for_the_helper(
    kit: Any, pod: Pod, delivery: str, asked: set[str]
) -> None:
    used = [one["name"] for one in all_of(pod)]
    if len(set(used)) < len(used):
        return
    run = kit.run(pod=pod, delivery=delivery, credentialsFor=sorted(asked & set(used)) or None)
    plain, helped = built(kit, run, None), built(kit, run)
    found, spec = planned(kit, pod, delivery=delivery, credentialsFor=run.spec.credentials_for), helped["spec"]
    credentialed = credentialed_containers(run.spec)
    assert set(found.containers) == {
        one["name"] for one in all_of(pod) if one["name"] in credentialed and one.get("command") and not one.get("tty")
    }
    assert set(unmasked(parse_pod(created(kit, helped)), credentialed)) == set(credentialed) - set(found.containers)
    if found.containers:
        helper = spec["initContainers"].pop(0)
        assert helper["name"] == INIT_CONTAINER
        assert kit.name not in str(helper), "it refers to the run's Secret"
        assert spec["volumes"].pop()["name"] == VOLUME
    for theirs in all_of(spec):
        if theirs["name"] in found.containers:
            start = theirs["command"].index("--")
            assert theirs["command"][0] == HELPER
            theirs["command"] = theirs["command"][start + 1 :]
            assert theirs["volumeMounts"].pop()["mountPath"] == MOUNT_PATH
    assert filled(helped) == filled(plain)


def created(kit: Any, pod: Pod) -> Pod:
    """The pod as the API server answers its creation."""
    metadata = {"uid": "pod-1", "resourceVersion": "1", "creationTimestamp": kit.time(1)}
    return {**pod, "metadata": {**pod["metadata"], **metadata}}


def filled(value: Any) -> Any:
    """Without what is as good as absent: an empty list, null."""
    if isinstance(value, dict):
        return {key: filled(inner) for key, inner in value.items() if inner not in (None, [])}
    return [filled(inner) for inner in value] if isinstance(value, list) else value


def shown(found: Any) -> tuple[str, str] | None:
    condition = found.condition("LogsMasked")
    return (condition.status, str(condition.reason)) if condition is not None else None


def seen(kit: Any, run: Run, pod: Any = None, helper_image: str | None = IMAGE) -> Any:
    return kit.seen(3, run=run, pod=pod, helper_image=helper_image)


def test_the_condition_is_what_the_pod_shows(kit: Any) -> None:
    run = kit.run(pod=one())
    masked, plain = (parse_pod(created(kit, built(kit, run, image))) for image in (IMAGE, None))
    assert shown(status.with_pod(seen(kit, run, masked), masked, None)) == ("True", "Masked")
    assert shown(status.with_pod(seen(kit, run, plain), plain, None)) == ("False", "NoHelper"), "a webhook's work"
    # The setting of today says nothing about a pod of yesterday.
    assert shown(status.with_pod(seen(kit, run, masked, None), masked, None)) == ("True", "Masked")


def test_a_template_cannot_pretend_to_be_masked(kit: Any) -> None:
    run = kit.run(pod=one(command=[HELPER, "--", "env"], volumeMounts=[{"name": "own", "mountPath": "/x"}]))
    pod = parse_pod(created(kit, built(kit, run, None)))
    assert shown(status.with_pod(seen(kit, run, pod, None), pod, None)) == ("False", "NoHelper")


def test_before_there_is_a_pod_only_what_speaks_against_it_is_told(kit: Any) -> None:
    def queued(run: Run, helper_image: str | None = IMAGE) -> tuple[str, str] | None:
        return shown(waiting(seen(kit, run, None, helper_image), "Retrying", "later"))  # type: ignore[arg-type]

    assert queued(kit.run(pod=one())) is None
    assert queued(kit.run(pod=one()), None) == ("False", "NoHelper")
    assert queued(kit.run(pod=one(tty=True))) == ("False", "Terminal")
    assert queued(kit.run(pod=one(), maskLogs="Never"), None) == ("False", "NotAsked")
    assert queued(kit.run(pod={"containers": "none"})) is None


def test_what_was_seen_of_a_pod_stays_when_it_is_gone(kit: Any) -> None:
    run = kit.run(pod=one())
    pod = parse_pod(created(kit, built(kit, run)))
    masked = status.with_pod(seen(kit, run, pod), pod, None)
    run = run.model_copy(update={"status": masked})
    end = End("Failed", "PodDeleted", "Gone.")  # type: ignore[arg-type]
    assert shown(terminal(seen(kit, run, None, None), end)) == ("True", "Masked")


def test_another_executors_run_is_not_ours_to_speak_of(kit: Any) -> None:
    looked_at = kit.seen(9, run=kit.run(pod=one(tty=True)), takeover_grace=60, helper_image=IMAGE)
    assert shown(waiting(looked_at, "NoWorker", "nobody")) is None  # type: ignore[arg-type]


def test_an_event_tells_once_that_logs_are_not_masked(kit: Any) -> None:
    run = kit.run(pod=one(tty=True))
    found = waiting(seen(kit, run), "Retrying", "later")  # type: ignore[arg-type]
    told = [(event.type, event.reason) for event in status.events(run.status, found, None)]
    assert told == [("Warning", "Retrying"), ("Warning", "Terminal")]
    assert list(status.events(found, found, None)) == []
    never = waiting(seen(kit, kit.run(pod=one(), maskLogs="Never")), "Retrying", "later")  # type: ignore[arg-type]
    assert [event.reason for event in status.events(run.status, never, None)] == ["Retrying"]


def test_a_required_helper_that_a_webhook_took_away_ends_the_run(kit: Any) -> None:
    run = kit.run(pod=one(), maskLogs="Required")
    plain = parse_pod(created(kit, built(kit, run, None)))
    [action] = decide(seen(kit, run, plain)).actions
    assert type(action).__name__ == "DeletePod"
    auto = kit.run(pod=one())
    assert "DeletePod" not in str(decide(seen(kit, auto, plain)).actions)


def test_a_command_that_cannot_be_started_is_the_runs_message_if_the_helper_says_so(kit: Any) -> None:
    sentence = "spacelift-aws-mask: terraformm: not found in PATH (/bin)"

    def message(image: str | None, code: int, said: str) -> str:
        pod = created(kit, built(kit, kit.run(pod=one()), image))
        state = kit.said(terminated=kit.terminated(code, message=said))
        return outcome_of(parse_pod({**pod, "status": {"phase": "Failed", "containerStatuses": [state]}})).message

    bare = "Container `main` ended with exit code 127."
    assert message(IMAGE, 127, sentence + "\n") == f"{bare[:-1]}: {sentence}"
    assert message(IMAGE, 127, "what the container printed") == bare
    assert message(None, 127, sentence) == bare
    assert message(IMAGE, 1, sentence) == "Container `main` ended with exit code 1."


def init_said(kit: Any, phase: str, **state: Any) -> Any:
    pod = created(kit, built(kit, kit.run(pod=one())))
    said = {"phase": phase, "initContainerStatuses": [kit.said(INIT_CONTAINER, **state)]}
    return parse_pod({**pod, "status": said})


def test_a_run_has_not_begun_with_the_helper(kit: Any) -> None:
    done = init_said(kit, "Pending", terminated=kit.terminated(0))
    assert not done.running
    found = status.with_pod(seen(kit, kit.run(pod=one()), done), done, None)
    assert (found.phase, found.started_at) == ("Preparing", None)
    assert outcome.started_at(done) is None, "nor did any node's clock say so"


def test_why_the_helper_did_not_come_is_the_runs_message(kit: Any) -> None:
    wrong = "no match for platform in manifest: not found"
    pulling = init_said(kit, "Pending", waiting={"reason": "ErrImagePull", "message": wrong})
    start = "Container `aws-run-mask` (the helper that masks logs)"
    trouble = trouble_of(pulling)
    assert trouble is not None
    assert trouble.message == f"{start}: its image cannot be pulled: {wrong}"
    full = kit.terminated(1, message="spacelift-aws-mask: no space left on device\n")
    ended = outcome_of(init_said(kit, "Failed", terminated=full))
    assert ended.message == f"{start} ended with exit code 1: spacelift-aws-mask: no space left on device"
    foreign = kit.terminated(128, reason="StartError", message="exec format error")
    ended = outcome_of(init_said(kit, "Failed", terminated=foreign))
    assert ended.message == f"{start} ended with exit code 128: exec format error"
    killed = kit.terminated(137, reason="OOMKilled")
    assert outcome_of(init_said(kit, "Failed", terminated=killed)).message.startswith(f"{start} needed more memory")


@pytest.mark.parametrize(
    ("why", "command", "ended", "helper_image", "told"),
    [
        ("s6-overlay", ["/init"], 3, IMAGE, True),
        ("s6-overlay that ran for a while", ["/init"], 4, IMAGE, False),
        ("s6-overlay without the helper", ["/init"], 2, None, False),
        ("anything else", ["terraform", "init"], 2, IMAGE, False),
    ],
)
def test_what_to_do_about_a_command_that_must_be_process_1(
    kit: Any, why: str, command: list[str], ended: float, helper_image: str | None, told: bool
) -> None:
    body = created(kit, built(kit, kit.run(pod=one(command=command)), helper_image))
    state = kit.said(terminated=kit.terminated(100, ended))  # it started after 2 seconds
    message = outcome_of(parse_pod({**body, "status": {"phase": "Failed", "containerStatuses": [state]}})).message
    assert ("at once: `/init` must be process 1" in message and "`maskLogs: Never`" in message) is told, why
