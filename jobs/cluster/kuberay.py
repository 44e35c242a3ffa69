"""A nightly run on a Ray cluster of its own, which KubeRay makes for it and takes away after it.

As a RayCronJob where KubeRay has them (1.6, a feature gate), else as a CronJob that makes a RayJob.
Neither tries a failed night again: the next one goes on where it stopped.
"""

from __future__ import annotations

import json
import shlex
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from schemas.errors import ArchiveError

if TYPE_CHECKING:
    from jobs.cluster.schedule import Plan

Manifest = dict[str, Any]

USER = 1000  # of the image
KEEP_SECONDS = 600  # the cluster, after the job, for whoever wants to look
SECRET = "archive-restore"
LABEL = "app.kubernetes.io/name"
KUBECTL = "registry.k8s.io/kubectl:v1.34.1"
HEAD = {"cpu": "2", "memory": "8Gi"}
WORKER = {"cpu": "4", "memory": "16Gi"}


def raycronjob(plan: Plan) -> dict[str, str]:
    """A RayCronJob. It knows no `concurrencyPolicy`: the lease refuses a second night."""
    spec: Manifest = {"schedule": plan.cron, "jobTemplate": rayjob_spec(plan)}
    if plan.zone:
        spec["timeZone"] = plan.zone
    return {f"{plan.name}.yaml": dump(_object("ray.io/v1", "RayCronJob", plan.name, spec=spec))}


def rayjob(plan: Plan) -> dict[str, str]:
    """A CronJob that makes a RayJob and waits for its end, with what it needs to be allowed to.

    The image of kubectl has no shell. Whether a night ended well or not, its RayJob has an end;
    those of nights before, which the selector finds as well, have theirs.
    """
    made = _object("ray.io/v1", "RayJob", plan.name, spec=rayjob_spec(plan))
    made["metadata"] = {"generateName": f"{plan.name}-", "labels": {LABEL: plan.name}}
    wait = ["wait", "rayjobs", f"--selector={LABEL}={plan.name}",
            "--for=jsonpath={.status.endTime}", "--timeout=24h"]  # fmt: skip
    pod = {
        "serviceAccountName": plan.name, "restartPolicy": "Never",
        "initContainers": [_kubectl("submit", ["create", "--filename=/job/rayjob.json"])],
        "containers": [_kubectl("wait", wait)],
        "volumes": [{"name": "job", "configMap": {"name": plan.name}}],
    }  # fmt: skip
    job = {"backoffLimit": 0, "template": {"spec": pod}}
    spec: Manifest = {"schedule": plan.cron, "concurrencyPolicy": "Forbid",
                      "jobTemplate": {"spec": job}}  # fmt: skip
    if plan.zone:
        spec["timeZone"] = plan.zone
    verbs = ["create", "get", "list", "watch"]
    rule = {"apiGroups": ["ray.io"], "resources": ["rayjobs"], "verbs": verbs}
    group = "rbac.authorization.k8s.io"
    role = {"apiGroup": group, "kind": "Role", "name": plan.name}
    objects = (
        _object("v1", "ServiceAccount", plan.name),
        _object(f"{group}/v1", "Role", plan.name, rules=[rule]),
        _object(f"{group}/v1", "RoleBinding", plan.name, roleRef=role,
                subjects=[{"kind": "ServiceAccount", "name": plan.name}]),
        _object("v1", "ConfigMap", plan.name, data={"rayjob.json": json.dumps(made)}),
        _object("batch/v1", "CronJob", plan.name, spec=spec),
    )  # fmt: skip
    return {f"{plan.name}.yaml": "---\n".join(map(dump, objects))}


def rayjob_spec(plan: Plan) -> Manifest:
    """The job, as RayJob and RayCronJob hold it. Raises ArchiveError without an image."""
    if plan.image is None:
        raise ArchiveError("KubeRay needs --image: the image of the program")
    if local := [word for word in plan.words if word.startswith("/")]:
        raise ArchiveError(f"a pod does not see {local[0]}: give an s3:// address or a known name")
    environment = {"env_vars": {"RAY_OVERRIDE_JOB_RUNTIME_ENV": "1"}}  # the run adds its own
    card = {"nvidia.com/gpu": str(plan.gpus)} if plan.gpus else {}
    worker = {
        "groupName": "workers", "replicas": plan.workers, "minReplicas": plan.workers,
        "maxReplicas": plan.workers, "rayStartParams": {},
        "template": _pod(plan, "ray-worker", WORKER | card),
    }  # fmt: skip
    head = {"rayStartParams": {"num-cpus": "0"}, "template": _pod(plan, "ray-head", HEAD)}
    return {
        "entrypoint": shlex.join([*plan.command, "--on-cluster", "--json"]),
        "runtimeEnvYAML": dump(environment),
        "backoffLimit": 0,
        "shutdownAfterJobFinishes": True,
        "ttlSecondsAfterFinished": KEEP_SECONDS,
        "rayClusterSpec": {
            "rayVersion": version("ray"),
            "authOptions": {"mode": "token"},
            "headGroupSpec": head,
            "workerGroupSpecs": [worker],
        },
    }


def _pod(plan: Plan, name: str, resources: Manifest) -> Manifest:
    zone = [{"name": "TZ", "value": plan.zone}] if plan.zone else []
    container = {
        "name": name, "image": plan.image, "env": zone,
        "envFrom": [{"secretRef": {"name": SECRET, "optional": True}}],
        "resources": {"requests": resources, "limits": resources},
        "securityContext": _restricted(),
        "volumeMounts": [{"name": "work", "mountPath": "/tmp"}],
    }  # fmt: skip
    return {"spec": {"containers": [container], "volumes": [{"name": "work", "emptyDir": {}}]}}


def _kubectl(name: str, words: list[str]) -> Manifest:
    return {
        "name": name, "image": KUBECTL, "command": ["kubectl", *words],
        "securityContext": _restricted(),
        "volumeMounts": [{"name": "job", "mountPath": "/job"}],
    }  # fmt: skip


def _restricted() -> Manifest:
    """What Kubernetes' restricted profile asks of a container."""
    return {
        "runAsNonRoot": True, "runAsUser": USER, "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"},
    }  # fmt: skip


def _object(api: str, kind: str, name: str, **more: object) -> Manifest:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name}, **more}


def dump(value: object) -> str:
    """YAML in the order that it was written in; parts that occur twice are written twice."""
    import yaml

    return str(yaml.safe_dump(json.loads(json.dumps(value)), sort_keys=False, width=100))
