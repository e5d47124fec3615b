"""The manifests under studies/cluster are what Kubernetes, KubeRay, Slurm and Ray expect."""

import copy
import importlib.resources
import re
import shlex
import subprocess
import sys
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml
from command_line import CommandLine
from rayjob_schema import RAY_JOB

from studies.commands.cluster import TEMPLATES

KUBERNETES = "1.33"
FOLDER = importlib.resources.files("studies.cluster")


def text_of(kind):
    return (FOLDER / TEMPLATES[kind]).read_text(encoding="utf-8")


@pytest.fixture
def rayjob():
    [claim, job] = yaml.safe_load_all(text_of("kuberay"))
    return claim, job


def groups_of(job):
    cluster = job["spec"]["rayClusterSpec"]
    return [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]


@pytest.mark.parametrize("kind", TEMPLATES)
def test_a_manifest_can_be_printed_and_says_where_to_edit(kind, tmp_path):
    printed = CommandLine(tmp_path).without_home("cluster-template", kind)
    assert printed == text_of(kind)
    assert "EDIT" in printed and f"mpn cluster-template {kind} >" in printed


def test_the_kinds_there_are_are_said(tmp_path):
    said = CommandLine(tmp_path).without_home("cluster-template", "slrum", code=2)
    assert "did you mean 'slurm'? There are: kuberay, ray-up, slurm" in said


@pytest.mark.parametrize("kind", TEMPLATES)
def test_what_a_manifest_calls_are_commands_and_options_of_mpn(kind, tmp_path):
    lines = re.findall(r"mpn (?:run|submit|cluster-template) .*", text_of(kind))
    assert lines
    mpn = CommandLine(tmp_path)
    for words in map(str.split, lines):
        known = mpn.without_home(words[1], "--help")
        for option in (word for word in words if word.startswith("--")):
            assert option in known, f"{option} in {words}"


# -- KubeRay ------------------------------------------------------------------------------


def test_the_rayjob_is_of_the_api_references_form(rayjob):
    jsonschema.validate(rayjob[1], RAY_JOB)


@pytest.mark.parametrize(
    ("place", "key", "value"),
    [
        (("spec",), "entrypont", "mpn"),
        (("spec",), "backoffLimit", "3"),
        (("spec", "rayClusterSpec", "authOptions"), "mode", "tokens"),
        (("spec", "rayClusterSpec", "headGroupSpec", "rayStartParams"), "num-cpus", 0),
    ],
)
def test_the_schema_finds_what_kuberay_would_refuse(rayjob, place, key, value):
    broken = copy.deepcopy(rayjob[1])
    node = broken
    for part in place:
        node = node[part]
    node[key] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, RAY_JOB)


def test_pods_and_the_claim_are_what_kubernetes_knows(rayjob):
    claim, job = rayjob
    pods = [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, **group["template"]}
        for group in groups_of(job)
    ]
    for resource in (claim, *pods):
        kubernetes_validate.validate(resource, KUBERNETES, strict=True)
    pods[0]["spec"]["containers"][0]["volumeMount"] = []
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(pods[0], KUBERNETES, strict=True)


def test_every_pod_has_the_home_its_own_cache_and_the_services_secret(rayjob):
    claim, job = rayjob
    home = re.search(r"--home (\S+)", job["spec"]["entrypoint"])[1]
    for group in groups_of(job):
        pod = group["template"]["spec"]
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        [container] = pod["containers"]
        mounts = {mount["mountPath"]: volumes[mount["name"]] for mount in container["volumeMounts"]}
        shared = mounts[f"/{home.split('/')[1]}"]
        assert shared["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
        cache = {one["name"]: one["value"] for one in container["env"]}["MPN_CACHE"]
        assert "emptyDir" in mounts[cache]
        assert "configMap" in mounts[str(Path(job["spec"]["entrypoint"].split()[2]).parent)]
        assert [one["secretRef"]["name"] for one in container["envFrom"]] == ["mpn-services"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]


# -- ray up -------------------------------------------------------------------------------


def test_the_cluster_for_ray_up_is_of_rays_own_schema():
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = prepare_config(yaml.safe_load(text_of("ray-up")))
    validate_config(config)
    assert config["available_node_types"]["gpu"]["min_workers"] >= 1
    assert config["available_node_types"]["head"]["resources"] == {"CPU": 0}
    with pytest.raises(jsonschema.ValidationError):
        validate_config({**config, "max_worker": 3})


@pytest.mark.parametrize("key", ["head_start_ray_commands", "worker_start_ray_commands"])
def test_nodes_start_with_the_environment_that_was_written_for_them(key):
    config = yaml.safe_load(text_of("ray-up"))
    start = config[key][-1]
    assert start.startswith(". ~/mpn.env && ray start")
    assert any("> ~/mpn.env" in command for command in config["setup_commands"])
    for command in [*config["setup_commands"], *config[key]]:
        assert subprocess.run(["bash", "-n", "-c", command], check=False).returncode == 0
        assert shlex.split(command)


# -- Slurm --------------------------------------------------------------------------------


def test_the_batch_script_has_no_mistake_that_bash_or_shellcheck_knows():
    script = str(FOLDER / TEMPLATES["slurm"])
    for command in (["bash", "-n"], [str(Path(sys.executable).with_name("shellcheck"))]):
        found = subprocess.run([*command, script], capture_output=True, text=True, check=False)
        assert found.returncode == 0, found.stdout + found.stderr


def test_the_batch_job_is_signalled_in_time_and_queued_again():
    directives = re.findall(r"^#SBATCH (--[a-z-]+)(?:=(\S+))?", text_of("slurm"), re.MULTILINE)
    options = dict(directives)
    assert "--requeue" in options and options["--open-mode"] == "append"
    assert options["--signal"] == "B:USR1@120"
