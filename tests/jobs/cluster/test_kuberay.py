"""Nights on a Ray cluster of their own: manifests that KubeRay takes, an image that fits them."""

import json
import re
import shlex
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator, ValidationError
from typer.testing import CliRunner

from jobs import cli
from jobs.cluster import kuberay
from jobs.pages.docs import commands
from tests.support.environment.kuberay import RAY_CRON_JOB, RAY_JOB
from tests.support.paths import ROOT

DOCKERFILE = (ROOT / "jobs" / "cluster" / "Dockerfile").read_text()


def rendered(target: str, *more: str) -> list[dict[str, Any]]:
    arguments = ["s3://b/m.csv", "--out", "s3://b/out", "--target", target, "--image", "r/ar:1"]
    result = CliRunner().invoke(
        cli.app, ["schedule", "render", *arguments, "--zone", "Europe/Berlin", *more]
    )
    assert result.exit_code == 0, result.stderr
    return list(yaml.safe_load_all(result.stdout))


def ray_job() -> dict[str, Any]:
    """The RayJob that the CronJob makes."""
    (config,) = (o for o in rendered("rayjob", "--gpus", "1") if o["kind"] == "ConfigMap")
    return dict(json.loads(config["data"]["rayjob.json"]))


def check(schema: dict[str, Any], value: object) -> None:
    Draft202012Validator(schema).validate(value)


def test_the_ray_cron_job_keeps_to_its_schema() -> None:
    (made,) = rendered("raycronjob")
    assert (made["apiVersion"], made["kind"]) == ("ray.io/v1", "RayCronJob")
    check(RAY_CRON_JOB, made["spec"])
    assert (made["spec"]["schedule"], made["spec"]["timeZone"]) == ("0 20 * * *", "Europe/Berlin")


def test_the_ray_job_keeps_to_its_schema() -> None:
    made = ray_job()
    assert made["metadata"]["generateName"] == "archive-restore-"  # each night another name
    check(RAY_JOB, made["spec"])


@pytest.mark.parametrize("wrong", [{"concurrencyPolicy": "Forbid"}, {"schedule": 5}])
def test_the_schema_finds_what_is_wrong(wrong: dict[str, Any]) -> None:
    (made,) = rendered("raycronjob")
    with pytest.raises(ValidationError):
        check(RAY_CRON_JOB, made["spec"] | wrong)


def test_a_night_never_overlaps_and_may_do_no_more_than_it_must() -> None:
    objects = {made["kind"]: made for made in rendered("rayjob")}
    spec = objects["CronJob"]["spec"]
    assert (spec["concurrencyPolicy"], spec["schedule"]) == ("Forbid", "0 20 * * *")
    job = spec["jobTemplate"]["spec"]
    assert job["backoffLimit"] == 0
    pod = job["template"]["spec"]
    (create,), (wait,) = pod["initContainers"], pod["containers"]
    assert create["command"] == ["kubectl", "create", "--filename=/job/rayjob.json"]
    # Forbid holds until the night has ended, also one whose exit code is not 0
    ((label, name),) = ray_job()["metadata"]["labels"].items()
    assert wait["command"][:4] == [
        "kubectl", "wait", "rayjobs", f"--selector={label}={name}"
    ]  # fmt: skip
    assert "--for=jsonpath={.status.endTime}" in wait["command"]
    (rule,) = objects["Role"]["rules"]
    assert rule["resources"] == ["rayjobs"] and "delete" not in rule["verbs"]
    assert (
        objects["RoleBinding"]["subjects"][0]["name"]
        == objects["ServiceAccount"]["metadata"]["name"]
    )


def test_the_job_is_a_submit_on_the_cluster_that_the_program_takes() -> None:
    words = shlex.split(ray_job()["spec"]["entrypoint"])
    assert words[:2] == ["archive-restore", "submit"]
    taken = commands()["submit"].make_context("submit", words[2:]).params
    assert {"on_cluster": True, "as_json": True, "until": "06:00"}.items() <= taken.items()
    runtime = yaml.safe_load(ray_job()["spec"]["runtimeEnvYAML"])
    assert runtime == {"env_vars": {"RAY_OVERRIDE_JOB_RUNTIME_ENV": "1"}}


def test_the_cluster_asks_for_a_token_and_its_pods_are_not_root() -> None:
    cluster = ray_job()["spec"]["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"}
    (workers,) = cluster["workerGroupSpecs"]
    assert workers["replicas"] == workers["minReplicas"] == workers["maxReplicas"] == 2
    for group in (cluster["headGroupSpec"], workers):
        (container,) = group["template"]["spec"]["containers"]
        assert container["image"] == "r/ar:1"
        assert container["securityContext"]["runAsUser"] == kuberay.USER
        assert container["securityContext"]["runAsNonRoot"] is True
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"


def test_the_image_is_what_the_pods_expect() -> None:
    lines = [line for line in DOCKERFILE.splitlines() if not line.startswith("#")]
    assert f"USER {kuberay.USER}" in lines and f"--uid {kuberay.USER} " in DOCKERFILE
    assert lines.index(f"USER {kuberay.USER}") > max(
        n for n, line in enumerate(lines) if line.startswith("RUN")
    )
    copied = [word for line in lines if line.startswith("COPY") for word in line.split()[1:-1]]
    assert all((ROOT / name).exists() for name in copied)
    pins = (ROOT / "constraints.txt").read_text().splitlines()
    assert set(re.findall(r"torch==[\d.]+", DOCKERFILE)) <= set(pins)
    assert "--constraint constraints.txt" in DOCKERFILE and "wget" in DOCKERFILE


@pytest.mark.parametrize("target", ["rayjob", "raycronjob"])
def test_what_is_missing_or_local_is_refused(target: str) -> None:
    base = ["schedule", "render", "--out", "s3://b/out", "--target", target]
    without = CliRunner().invoke(cli.app, [*base, "s3://b/m.csv"])
    assert without.exit_code == 2 and "needs --image" in without.stderr
    local = CliRunner().invoke(cli.app, [*base, "m.csv", "--image", "i"])
    assert local.exit_code == 2 and "give an s3:// address" in local.stderr
