"""A half hour of operation in small, scraped by a real Prometheus: every expression of alerts and dashboard has data.

With `DASHBOARD_PICTURE` naming a file, the dashboard is drawn there from what Prometheus has.
"""

import os
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox import charts, dashboard, prometheus
from sandbox.certificates import Authority
from sandbox.controller import NAMESPACE, Controller
from sandbox.faults import Match, Rule, denied, expired_token, throttled
from sandbox.objects import complete
from sandbox.picture import Series, draw
from sandbox.ports import free_port
from sandbox.process import wait_until
from sandbox.prometheus import Prometheus
from sandbox.stage import INSTALLATION, Stage
from sandbox.worker import Worker, tenant
from spacelift_aws.names import child_name

pytestmark = pytest.mark.slow

PICTURE = os.environ.get("DASHBOARD_PICTURE")
ALERTS = charts.OPERATOR / "files" / "alerts.yaml"
FIRST = {"SPACELIFT_AWS_NAMESPACE": NAMESPACE, "SPACELIFT_AWS_RENEW_AFTER": "0.005"}
"""The replica that acts. Of 900 seconds: credentials in files are renewed after 4.5."""
FOREVER = "trap 'exit 0' TERM; while :; do sleep 0.1; done"


@dataclass
class Scene:
    """What is scraped, by whom, and when the script began and ended."""

    stage: Stage
    prometheus: Prometheus
    standby: str
    """Where the replica that waits has its metrics, over TLS."""
    authority: Authority
    start: float = field(default_factory=time.time)
    end: float = 0.0

    def over_time(self, expression: str) -> list[dict[str, Any]]:
        return self.prometheus.range(expression, self.start, self.end or time.time())


@pytest.fixture(scope="module")
def program() -> Path:
    found = prometheus.find("prometheus")
    if found is None:
        assert os.environ.get("CI") != "true", "prometheus is missing"
        pytest.skip("prometheus is missing: WHAT IT WOULD SCRAPE IS NOT TRIED")
    return found


def quick_rules(folder: Path) -> Path:
    """The alerts, with seconds for minutes: what is tried is that they find what they look for."""
    text = re.sub(r"for: \d+m", "for: 1s", ALERTS.read_text()).replace("> 1800", "> 2")
    path = folder / "alerts.yaml"
    path.write_text(re.sub(r"\[\d+m\]", "[10s]", text))
    return path


def token(stage: Stage, account: str) -> str:
    stage.cluster.kubectl("create", "serviceaccount", account, f"--namespace={NAMESPACE}")
    return stage.cluster.kubectl("create", "token", account, f"--namespace={NAMESPACE}").stdout.strip()


@pytest.fixture(scope="module")
def scene(_stage: Stage, program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    stage, folder = _stage, tmp_path_factory.mktemp("monitoring")
    ports = {name: free_port() for name in ("first", "standby", "worker", "prometheus")}
    _let_ask_who_scrapes(stage)
    authority = Authority(folder)
    authority.server("tls", ["localhost", "127.0.0.1"])
    secret = folder / "token"
    secret.write_text(token(stage, "prometheus"))
    stage.cluster.kubectl(
        "create", "clusterrolebinding", "prometheus", f"--serviceaccount={NAMESPACE}:prometheus",
        "--clusterrole=spacelift-aws-controller-metrics-reader",
    )  # fmt: skip
    stage.controller.stop()
    stage.controller.environment.update({**FIRST, "SPACELIFT_AWS_METRICS_PORT": str(ports["first"])})
    stage.controller.start()
    standby = Controller(stage.cluster, stage.controller.environment, "standby")
    guards = {"SPACELIFT_AWS_METRICS_CERTIFICATE": str(folder), "SPACELIFT_AWS_METRICS_PORT": str(ports["standby"])}
    standby.start(guards)
    worker = _worker(stage, ports["worker"])
    plain = [
        {"job_name": job, "honor_labels": True, "static_configs": [{"targets": [f"127.0.0.1:{ports[name]}"]}]}
        for job, name in (("controller", "first"), ("worker", "worker"))
    ]
    guarded_scrape = {
        "job_name": "standby",
        "scheme": "https",
        "authorization": {"credentials_file": str(secret)},
        "tls_config": {"ca_file": str(authority.certificate)},
        "static_configs": [{"targets": [f"127.0.0.1:{ports['standby']}"]}],
    }
    running = Prometheus(
        stage.cluster.supervisor, program, [*plain, guarded_scrape], quick_rules(folder), ports["prometheus"]
    )
    yield Scene(stage, running, f"https://localhost:{ports['standby']}/metrics", authority)
    for process in (running.process, worker.process, standby.process):
        process.stop(grace=5)
    stage.controller.stop()
    for name in (*FIRST, "SPACELIFT_AWS_METRICS_PORT"):
        del stage.controller.environment[name]
    stage.cluster.kubectl("delete", "clusterrolebinding", "prometheus", "spacelift-aws-controller-metrics")


def _let_ask_who_scrapes(stage: Stage) -> None:
    """What the chart brings for metrics that ask for a token."""
    rendered = charts.documents(charts.render(charts.OPERATOR, NAMESPACE, {"metrics": {"tlsSecret": "tls"}}))
    names = ("spacelift-aws-controller-metrics", "spacelift-aws-controller-metrics-reader")
    wanted = [one for one in rendered if one["kind"].startswith("ClusterRole") and one["metadata"]["name"] in names]
    assert len(wanted) == 2
    stage.cluster.kubectl("apply", "--filename=-", input=yaml.safe_dump_all(wanted))


def _worker(stage: Stage, port: int) -> Worker:
    """A pool with an integration of its own, which has executed a Run."""
    namespace, owner = stage.namespace(), tenant(stage.aws, stage.fresh("tenant"))
    variables = {**stage.aws.environment(owner.identity), "SPACELIFT_AWS_INSTALLATION": INSTALLATION}
    worker = Worker(stage.cluster, {**variables, "SPACELIFT_AWS_METRICS_PORT": str(port)}, namespace)
    worker.install()
    worker.start()
    stage.integration(namespace, roleArn=owner.role_arn, generateCredentialsInWorker=True)
    stage.run(namespace, "true")
    return worker


def fires(scene: Scene, alert: str) -> Callable[[], bool]:
    return lambda: bool(scene.prometheus.query(f'ALERTS{{alertname="{alert}",alertstate="firing"}}'))


@pytest.fixture(scope="module")
def played(scene: Scene) -> Scene:
    """The script: good and bad Runs, a wildcard, an unserved pool, a held Secret, failing renewals, throttling."""
    stage = scene.stage
    namespace = stage.namespace()
    good = stage.integration(namespace, durationSeconds=900)
    stage.integration(namespace, "open", roleArn=stage.role(stage.trust("acme-prod@*", operator="StringLike")))
    stage.integration(namespace, "workers", generateCredentialsInWorker=True, roleArn=good["spec"]["roleArn"])
    for script in ("true", "exit 1", "true", "sleep 1"):
        stage.run(namespace, script)
    stage.run(namespace, integration="open")
    stage.run(namespace, integration="workers", workerPool="nobody")
    long = stage.run(namespace, FOREVER, delivery="File", name="long")
    held = _hold(stage, namespace)
    with stage.proxy.rule(Rule(Match(session_name_prefix=_run_id(stage, namespace, long)), denied())):
        wait_until(fires(scene, "SpaceliftAwsRenewalsFailing"), timeout=90, what="failing renewals", interval=0.5)
    for alert in ("SecretOutlivesRun", "TrustLost", "RunsWaiting", "PoolSilent"):
        wait_until(fires(scene, f"SpaceliftAws{alert}"), timeout=60, what=alert, interval=0.5)
    with stage.proxy.rule(Rule(Match(session_name_prefix="01"), throttled())):
        stage.run(namespace, "true")
        wait_until(fires(scene, "SpaceliftAwsStsThrottled"), timeout=60, what="throttling", interval=0.5)
    stage.objects.patch("Secret", namespace, held, {"metadata": {"finalizers": None}})
    stage.objects.patch("Run", namespace, long, {"spec": {"stop": True}})
    stage.objects.wait("Run", namespace, long, complete, timeout=60, what=long)
    for _ in range(25 if PICTURE else 2):
        stage.run(namespace, "sleep 2")
        # One Run each three seconds is what the picture shows.
        time.sleep(3)
    scene.end = time.time()
    return scene


def _run_id(stage: Stage, namespace: str, name: str) -> str:
    run = stage.objects.wait(
        "Run", namespace, name, lambda run: (run or {}).get("status", {}).get("phase") == "Running", timeout=60
    )
    return str(run["status"]["runId"])


def _hold(stage: Stage, namespace: str) -> str:
    """The Secret of a Run that has ended, held by somebody's finalizer."""
    gate = stage.gate()
    name = stage.run(namespace, gate.wait)
    secret = child_name(_run_id(stage, namespace, name))
    stage.objects.patch("Secret", namespace, secret, {"metadata": {"finalizers": ["test.example/hold"]}})
    gate.open()
    return secret


def bare(expression: str) -> str:
    """An alert's expression without its last comparison: what it looks at."""
    return re.sub(r"\s*(==|>|<)\s*[\d.]+$", "", expression.partition(" or absent(")[0])


@pytest.mark.parametrize(
    "alert", yaml.safe_load(ALERTS.read_text())["groups"][0]["rules"], ids=lambda rule: rule["alert"]
)
def test_every_alert_looks_at_something(played: Scene, alert: dict[str, Any]) -> None:
    assert played.over_time(bare(alert["expr"])), alert["expr"]


@pytest.mark.parametrize("panel", list(dashboard.panels()), ids=lambda panel: panel.title)
def test_every_panel_has_data(played: Scene, panel: dashboard.Panel) -> None:
    for query in panel.queries:
        assert played.over_time(filled(query)), query.promql


def filled(query: dashboard.Query) -> str:
    """As Grafana asks it with everything chosen."""
    return query.promql.replace("$job", ".+").replace("$instance", ".+").replace("$__rate_interval", "15s")


def test_no_label_grows_with_runs(played: Scene) -> None:
    series = played.prometheus.query('{__name__=~"spacelift_aws_.+"}')
    runs = {str(run["metadata"]["name"]) for run in played.stage.objects.list("Run", played.stage.namespaces[-1])}
    assert runs
    assert not [one for one in series if runs & set(one["metric"].values())]


def get(scene: Scene, bearer: str | None) -> int:
    headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
    context = ssl.create_default_context(cafile=scene.authority.certificate)
    try:
        with urllib.request.urlopen(
            urllib.request.Request(scene.standby, headers=headers), context=context, timeout=10
        ) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_who_shows_no_good_token_or_may_not_read_gets_nothing(scene: Scene) -> None:
    stage = scene.stage
    assert [get(scene, bearer) for bearer in (None, "made-up", token(stage, "curious"))] == [401, 403, 403]
    allowed = stage.cluster.kubectl("create", "token", "prometheus", f"--namespace={NAMESPACE}").stdout.strip()
    assert get(scene, allowed) == 200
    # Prometheus itself shows its token, and the replica that waits has no gauges of Runs.
    assert scene.prometheus.query('spacelift_aws_leader{job="standby"}')[0]["value"][1] == "0"
    assert scene.prometheus.query('spacelift_aws_runs{job="standby"}') == []


def test_what_is_gone_leaves_nothing_behind(played: Scene) -> None:
    stage = played.stage
    namespace = stage.namespaces[-1]
    mine = f'{{__name__=~"spacelift_aws_.+",namespace="{namespace}"}}'
    assert played.prometheus.query(mine)
    stage.objects.delete("Namespace", None, namespace)
    # Prometheus marks as stale what a scrape does not have any more.
    wait_until(lambda: played.prometheus.query(mine) == [], timeout=90, what="nothing of the namespace", interval=0.5)


def test_an_identity_that_is_gone_raises_an_alert(played: Scene) -> None:
    stage = played.stage
    with stage.proxy.rule(Rule(Match(action=None), expired_token())):
        stage.integration(stage.namespace())
        wait_until(fires(played, "SpaceliftAwsNoIdentity"), timeout=90, what="the alert", interval=0.5)


def test_a_controller_that_is_down_raises_an_alert(played: Scene) -> None:
    played.stage.controller.kill()
    # The replica that waits takes over after a while; until then nobody acts.
    wait_until(fires(played, "SpaceliftAwsNoLeader"), timeout=30, what="the alert", interval=0.5)


def series(scene: Scene, panel: dashboard.Panel) -> Iterator[Series]:
    for query in panel.queries:
        for one in scene.over_time(filled(query)):
            name = query.legend
            for label, value in one["metric"].items():
                name = name.replace(f"{{{{{label}}}}}", value)
            points = [(float(at), float(value)) for at, value in one["values"] if value not in ("NaN", "+Inf")]
            yield Series(re.sub(r"\{\{\w+\}\} ?", "", name), points)


def test_a_picture_is_drawn(played: Scene) -> None:
    data = {panel.title: list(series(played, panel)) for panel in dashboard.panels()}
    seconds = played.end - played.start
    drawn = draw(
        data, played.start, played.end, f"The dashboard over {seconds:.0f} s of a scripted run, scraped every second"
    )
    assert drawn.count("<polyline") >= len([panel for panel in dashboard.panels() if panel.kind != "stat"])
    if PICTURE:
        Path(PICTURE).write_text(drawn)
