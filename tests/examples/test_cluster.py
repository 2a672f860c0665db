"""The examples for clusters: fields that their systems know, commands that damgan knows, a job of Slurm."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.collection.samples import sample, tree, write_tar

pytest.importorskip("ray")
pytest.importorskip("obstore")
yaml = pytest.importorskip("yaml")
ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "examples" / "cluster"

# Names from KubeRay's CRD of RayJob, ray.io/v1, at feeaf72 (August 2026), as far as the example needs them.
KNOWN = {
    "spec": {
        *("entrypoint", "backoffLimit", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished"),
        "rayClusterSpec",
    },
    "rayClusterSpec": {"rayVersion", "enableInTreeAutoscaling", "headGroupSpec", "workerGroupSpecs"},
    "headGroupSpec": {"rayStartParams", "template"},
    "workerGroupSpecs": {"groupName", "minReplicas", "maxReplicas", "rayStartParams", "template"},
}


def check_command(damgan, line):
    """The damgan command of an example is one: its dry run lists a thousand shards."""
    words = shlex.split(line)
    assert words[0] == "damgan"
    run = damgan(*words[1:], "--dry-run")
    assert run.code == 0, run.err
    assert len(run.out.splitlines()) == 1000
    assert "127.0.0.1:6379" in words


def test_the_autoscaling_cluster(damgan):
    import jsonschema
    import ray.autoscaler
    from ray.autoscaler._private.util import prepare_config, validate_config

    text = (CLUSTER / "autoscaler.yaml").read_text()
    document = yaml.safe_load(text)
    schema = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())
    jsonschema.validate(document, schema)
    whole = prepare_config(document)  # with Ray's own defaults
    validate_config(whole)
    assert "--port=6379" in whole["head_start_ray_commands"][-1]
    (command,) = [line for line in text.splitlines() if "ray exec" in line and "damgan inpaint" in line]
    check_command(damgan, shlex.split(command.lstrip("# "))[3])


def test_the_job_of_kuberay(damgan):
    document = yaml.safe_load((CLUSTER / "kuberay.yaml").read_text())
    assert (document["apiVersion"], document["kind"]) == ("ray.io/v1", "RayJob")
    spec = document["spec"]
    cluster = spec["rayClusterSpec"]
    head, (workers,) = cluster["headGroupSpec"], cluster["workerGroupSpecs"]
    parts = {
        "spec": spec,
        "rayClusterSpec": cluster,
        "headGroupSpec": head,
        "workerGroupSpecs": workers,
    }
    assert {name for name, part in parts.items() if part.keys() - KNOWN[name]} == set()
    for group in (head, workers):
        (container,) = group["template"]["spec"]["containers"]
        assert container.keys() == {"name", "image", "envFrom", "resources"}
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
    assert workers["minReplicas"] <= workers["maxReplicas"]
    check_command(damgan, spec["entrypoint"])


FAKES = {  # of a cluster of two nodes, both this machine
    "scontrol": 'echo "node0\nnode1"',
    "srun": 'while [[ $1 == --* ]]; do shift; done; exec "$@"',
    "damgan": f'exec {sys.executable} -m damgan_cli "$@"',
    "ray": f'exec {Path(sys.executable).parent}/ray "$@"',
}


@pytest.mark.skipif("DAMGAN_TEST_SLURM" not in os.environ, reason="takes a minute: set DAMGAN_TEST_SLURM")
def test_the_job_of_slurm(damgan, tiny_weights, tmp_path, monkeypatch):
    from ray.util import get_node_ip_address

    monkeypatch.chdir(tmp_path)
    fakes = FAKES | {"hostname": f"echo {get_node_ip_address()}"}
    for number in range(4):
        write_tar(tmp_path / f"in/{number}.tar", sample(number))
    assert damgan("inpaint", "in/{0..3}.tar", "-o", "alone", "--weights", tiny_weights).code == 0
    for name, line in fakes.items():
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / name).write_text(f"#!/bin/bash\necho $0 $@ >> {tmp_path}/log\n{line}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    job = {"SLURM_JOB_ID": str(os.getpid()), "SLURM_JOB_NODELIST": "node[0-1]", "SLURM_JOB_NUM_NODES": "2"}
    done = subprocess.run(
        ["bash", CLUSTER / "slurm.sh", "in/{0..3}.tar", "-o", "slurm", "--weights", str(tiny_weights)],
        check=False,
        cwd=tmp_path,
        env=os.environ
        | job
        | {
            "SLURM_CPUS_PER_TASK": "1",
            "PYTHONPATH": str(ROOT),
            "PATH": f"{tmp_path}/bin:{os.environ['PATH']}",
        },
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert tree("slurm") == tree("alone")
    log = (tmp_path / "log").read_text()
    assert "--nodelist=node0 ray start --head" in log
    assert "--exclude=node0 ray start --block --address=" in log
