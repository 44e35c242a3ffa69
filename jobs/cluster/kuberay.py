"""A nightly run on its own Ray cluster. KubeRay makes the cluster and removes it afterwards.

KubeRay 1.6 has RayCronJobs, behind a feature gate. Without them, a CronJob makes a RayJob. Neither
repeats a failed run: the next night continues where it stopped.
"""

from __future__ import annotations

import json
import shlex
from importlib.metadata import version
from typing import Any

from jobs.cluster.nightly import NightlyRun

Yaml = dict[str, Any]  # a Kubernetes object, or a part of one

USER = 1000  # user id in the image
KEEP_SECONDS = 600  # the cluster stays this long after the job, for inspection
SECRET = "archive-restore"
LABEL = "app.kubernetes.io/name"
KUBECTL = "registry.k8s.io/kubectl:v1.34.1"
HEAD_RESOURCES = {"cpu": "2", "memory": "8Gi"}
WORKER_RESOURCES = {"cpu": "4", "memory": "16Gi"}


def raycronjob(run: NightlyRun) -> dict[str, str]:
    """Return a RayCronJob. It has no `concurrencyPolicy`; the lease refuses a second run."""
    spec: Yaml = {"schedule": run.cron, "jobTemplate": rayjob_spec(run)}
    if run.zone:
        spec["timeZone"] = run.zone
    return {f"{run.name}.yaml": dump(_object("ray.io/v1", "RayCronJob", run.name, spec=spec))}


def rayjob(run: NightlyRun) -> dict[str, str]:
    """Return a CronJob that makes a RayJob and waits for its end, with the permissions it needs.

    The image of kubectl has no shell, so the job waits for `.status.endTime`: a RayJob has it after
    success and after failure. The selector also finds older RayJobs; they have ended already.
    """
    made = _object("ray.io/v1", "RayJob", run.name, spec=rayjob_spec(run))
    made["metadata"] = {"generateName": f"{run.name}-", "labels": {LABEL: run.name}}
    selector, ended = f"--selector={LABEL}={run.name}", "--for=jsonpath={.status.endTime}"
    pod = {
        "serviceAccountName": run.name,
        "restartPolicy": "Never",
        "initContainers": [_kubectl("submit", ["create", "--filename=/job/rayjob.json"])],
        "containers": [_kubectl("wait", ["wait", "rayjobs", selector, ended, "--timeout=24h"])],
        "volumes": [{"name": "job", "configMap": {"name": run.name}}],
    }
    job = {"backoffLimit": 0, "template": {"spec": pod}}
    spec: Yaml = {
        "schedule": run.cron,
        "concurrencyPolicy": "Forbid",
        "jobTemplate": {"spec": job},
    }
    if run.zone:
        spec["timeZone"] = run.zone
    verbs = ["create", "get", "list", "watch"]
    rule = {"apiGroups": ["ray.io"], "resources": ["rayjobs"], "verbs": verbs}
    group = "rbac.authorization.k8s.io"
    role = {"apiGroup": group, "kind": "Role", "name": run.name}
    account = {"kind": "ServiceAccount", "name": run.name}
    objects = (
        _object("v1", "ServiceAccount", run.name),
        _object(f"{group}/v1", "Role", run.name, rules=[rule]),
        _object(f"{group}/v1", "RoleBinding", run.name, roleRef=role, subjects=[account]),
        _object("v1", "ConfigMap", run.name, data={"rayjob.json": json.dumps(made)}),
        _object("batch/v1", "CronJob", run.name, spec=spec),
    )
    return {f"{run.name}.yaml": "---\n".join(map(dump, objects))}


def rayjob_spec(run: NightlyRun) -> Yaml:
    """Return the job that RayJob and RayCronJob hold. Raises ArchiveError without an image."""
    # the run adds its settings to those of the job
    environment = {"env_vars": {"RAY_OVERRIDE_JOB_RUNTIME_ENV": "1"}}
    card = {"nvidia.com/gpu": str(run.gpus)} if run.gpus else {}
    worker = {
        "groupName": "workers",
        "replicas": run.workers,
        "minReplicas": run.workers,
        "maxReplicas": run.workers,
        "rayStartParams": {},
        "template": _pod(run, "ray-worker", WORKER_RESOURCES | card),
    }
    head = {"rayStartParams": {"num-cpus": "0"}, "template": _pod(run, "ray-head", HEAD_RESOURCES)}
    return {
        "entrypoint": shlex.join([*run.command, "--on-cluster", "--json"]),
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


def _pod(run: NightlyRun, name: str, resources: Yaml) -> Yaml:
    zone = [{"name": "TZ", "value": run.zone}] if run.zone else []
    container = {
        "name": name,
        "image": run.image_for_pods,
        "env": zone,
        "envFrom": [{"secretRef": {"name": SECRET, "optional": True}}],
        "resources": {"requests": resources, "limits": resources},
        "securityContext": _restricted(),
        "volumeMounts": [{"name": "work", "mountPath": "/tmp"}],
    }
    return {"spec": {"containers": [container], "volumes": [{"name": "work", "emptyDir": {}}]}}


def _kubectl(name: str, words: list[str]) -> Yaml:
    return {
        "name": name,
        "image": KUBECTL,
        "command": ["kubectl", *words],
        "securityContext": _restricted(),
        "volumeMounts": [{"name": "job", "mountPath": "/job"}],
    }


def _restricted() -> Yaml:
    """Return the settings that Kubernetes' restricted profile requires of a container."""
    return {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def _object(api: str, kind: str, name: str, **more: object) -> Yaml:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name}, **more}


def dump(value: object) -> str:
    """Return YAML with the keys in the order of the value, without anchors for repeated parts."""
    import yaml

    return str(yaml.safe_dump(json.loads(json.dumps(value)), sort_keys=False, width=100))
