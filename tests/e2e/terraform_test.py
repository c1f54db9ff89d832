#!/usr/bin/env python3
"""The Terraform module says what `commissure up` does: parsed whole, and its services, as Terraform computes them, compared with the commands of a dry run.

The google provider is not needed (and not had) here: the values of the services come from the module's provider-free part, chain.tf. The table of keys in docs/commissure-yaml.md says
which key has which variable; every one is tried with the table's example.
"""
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

import harness

try:
    import hcl2
    import yaml
except ImportError:
    if os.environ.get("COMMISSURE_TEST_HCL"):
        raise
    python = harness.python_with("cloud-files", "python-hcl2==7.3.1", "pyyaml")
    os.execve(python, [python, __file__], dict(os.environ, COMMISSURE_TEST_HCL="1"))

MODULE = harness.ROOT / "deploy/terraform"
MODEL = "gs://acme-weights/models/gemma"
CASES = {
    "cpu": {"name": "demo", "cuts": [10, 20], "context": 2048, "streams": 2, "stages": [{"cpu": 2, "memory": "2Gi"}] * 3},
    "gpu": {"name": "large", "cuts": [20, 44], "context": 4096, "kv_dtype": "int8", "access": "both", "weights": "mounted", "warm_schedule": "0 8 * * 1-5", "time_zone": "Europe/Berlin", "network": {"name": "vpc", "internal": True},
            "stages": [{"gpu": "nvidia-l4", "cpu": 8, "memory": "32Gi", "min_instances": 1, "concurrency": 4}, {"gpu": "nvidia-l4", "zonal_redundancy": True}, {"gpu": "nvidia-l4"}]},
    "file": {"name": "single", "model": "gs://acme-weights/models/smol/Smol.Q4_1.gguf", "cuts": [15], "stages": [{"cpu": 2, "memory": "2Gi"}] * 2},
    "baked": {"name": "baked", "model": "gs://acme-weights/models/smol/Smol.Q4_1.gguf", "image": "", "cuts": [15], "weights": "baked", "stages": [{"cpu": 2, "memory": "2Gi"}] * 2},
    "whole": {"name": "alone", "cuts": [], "access": "key", "warm_schedule": "*/10 8-18 * * 1-5", "stages": [{"gpu": "nvidia-rtx-pro-6000", "cpu": 20, "memory": "80Gi", "max_instances": 3}]},
}


# Not with the others of a chain, or only together: the cases above have them.
APART = {"name", "project", "region", "model", "bucket", "image", "stages", "labels", "cpu", "memory", "gpu", "max_instances"}


def keys_of_file():
    """Rows of the tables of keys by their heading: key, example, what it becomes, variable."""
    page = (harness.ROOT / "docs/commissure-yaml.md").read_text()
    keys = {}
    for part in page.split("\n## ")[1:]:
        rows = [[cell.strip().strip("`") for cell in line.strip("|").split(" | ")] for line in part.splitlines() if line.startswith("| `")]
        keys[part.splitlines()[0].strip("`").split()[-1]] = [{"key": row[0], "example": yaml.safe_load(row[4]), "becomes": row[5], "variable": row[6].strip("`| ")} for row in rows]
    assert set(keys) == {"deployment", "stage", "network"} and all(keys.values()), keys
    return keys


def case_of_examples(keys):
    """A chain in which all keys that the module knows have the examples of the table."""
    case = {row["key"]: row["example"] for row in keys["deployment"] if row["variable"] and row["key"] not in APART}
    stage = {row["key"]: row["example"] for row in keys["stage"] if row["variable"] and row["key"] not in APART}
    case["network"] = {row["key"]: row["example"] for row in keys["network"]}
    case["stages"] = [{"gpu": "nvidia-l4", "cpu": 8, "memory": "32Gi", **stage} for _ in range(len(case["cuts"]) + 1)]
    return {"name": "examples", **case}


def parsed():
    """Every file of the module as python-hcl2 reads it."""
    return {path.relative_to(MODULE).as_posix(): hcl2.loads(path.read_text()) for path in sorted(MODULE.rglob("*.tf")) if ".terraform" not in path.parts}


def plain(name):
    return name.strip('"')


def check_module(files):
    resources = [plain(kind) for file in files.values() for block in file.get("resource", []) for kind in block]
    for kind in ("cloud_run_v2_service", "service_account", "cloud_run_v2_service_iam_member", "artifact_registry_repository", "storage_bucket", "secret_manager_secret",
                 "cloud_scheduler_job", "monitoring_alert_policy", "monitoring_dashboard", "billing_budget", "compute_network", "compute_subnetwork", "compute_global_forwarding_rule"):
        assert f"google_{kind}" in resources, (kind, sorted(set(resources)))
    text = "\n".join((MODULE / name).read_text() for name in files)
    declared = {plain(name): body for file in files.values() for block in file.get("variable", []) for name, body in block.items()}
    assert set(re.findall(r"\bvar\.(\w+)", text)) == set(declared), set(re.findall(r"\bvar\.(\w+)", text)) ^ set(declared)
    assert all("description" in body for body in declared.values()), "every variable is documented"
    known = {plain(name) for file in files.values() for block in file.get("locals", []) for name in block}
    assert set(re.findall(r"\blocal\.(\w+)", text)) <= known, set(re.findall(r"\blocal\.(\w+)", text)) - known
    service = (MODULE / "services.tf").read_text()
    chain = (MODULE / "chain.tf").read_text()
    of_stage = set(re.findall(r"^    (\w+) += optional\(", stages_variable(), re.M))
    used = set(re.findall(r"each\.value\.([a-z]\w*)", service)) - {"value"}
    for name in used - of_stage:
        assert re.search(rf"^      {name} += ", chain, re.M), f"the chain's stages have no {name}"
    of_environment = set(re.findall(r"\bstage\.([a-z]\w*)", chain))
    assert of_stage <= used | of_environment, f"nothing becomes of {of_stage - used - of_environment}"
    for fixed in (r"cpu_idle += false", r"startup_cpu_boost += true", r'execution_environment += "EXECUTION_ENVIRONMENT_GEN2"', r'"nvidia\.com/gpu" = "1"', r'egress = "ALL_TRAFFIC"'):
        assert re.search(fixed, service), fixed  # --no-cpu-throttling, --cpu-boost, --execution-environment, --gpu=1, --vpc-egress
    assert 'for_each = var.weights == "baked" ? {} : local.stages' in (MODULE / "access.tf").read_text(), "baked weights are read by nobody"
    sidecar = re.search(r'dynamic "containers" \{\n      for_each = var\.prometheus_sidecar && each\.key == "a".*?depends_on = \["stage"\]', service, re.S)
    assert sidecar and 'name  = "stage"' in service, "the sidecar stands beside stage A, and waits for it"
    dashboard = json.loads((MODULE / "dashboard.json").read_text())
    assert len(dashboard["mosaicLayout"]["tiles"]) >= 6


def deploy_flags(case, folder):
    """Letter of each stage to the flags of its `gcloud run deploy` in a dry run, "warm" to those of the scheduler's job, "build" to the build's input."""
    (folder / "commissure.yaml").write_text(json.dumps({"project": "acme", "region": "europe-west4", "model": MODEL, "image": "registry.example/commissure:1", **case}))
    answer = subprocess.run([harness.PROGRAM, "up", "--dry-run", "--json"], cwd=folder, capture_output=True, text=True, timeout=60)
    assert answer.returncode == 0, answer.stderr
    services = {}
    for line in answer.stdout.splitlines():
        words = shlex.split(json.loads(line)["command"])
        if "--role=roles/storage.objectViewer" in words:
            services["reads"] = next(word for word in words if word.startswith("--condition="))
        if words[1:3] == ["builds", "submit"] and words[-1].startswith("<<<"):
            services["build"] = json.loads(words[-1][3:])
        if words[1:3] not in (["run", "deploy"], ["scheduler", "jobs"]):
            continue
        flags = dict(word.partition("=")[::2] for word in words[4:])
        services["warm" if words[1] == "scheduler" else words[3][-1]] = flags
    return services


def listed(flag):
    """A flag's list, with the separator that it may name."""
    other = re.match(r"\^(.)\^(.*)", flag)
    return other[2].split(other[1]) if other else flag.split(",")


def stages_variable():
    """The declaration of `stages`, which stands beside the services."""
    return re.search(r'^variable "stages" \{\n.*?^\}\n', (MODULE / "services.tf").read_text(), re.M | re.S)[0]


class Refused(AssertionError):
    """By Terraform, in its words."""


def computed(case, folder, image="registry.example/commissure:1", **more):
    """The same by Terraform, and what it gives Cloud Build. `more` are variables of the module."""
    known = {row["variable"] for row in keys_of_file()["deployment"]} - {"stages"}
    network = {row["variable"]: case["network"][row["key"]] for row in keys_of_file()["network"] if row["key"] in case.get("network", {})}
    own = image.startswith(f"europe-west4-docker.pkg.dev/acme/{case['name']}/commissure:")  # then the module has a tag of it
    variables = {"project": "acme", "region": "europe-west4", "image": image.rpartition(":")[2] if own else image, "bucket": "acme-weights",
                 "model_name": pathlib.Path(case.get("model", MODEL)).name, **{name: value for name, value in case.items() if name in known and name not in ("model", "network", "image")},
                 "model": case.get("model", MODEL).removeprefix("gs://acme-weights/models/"), **network,
                 "stages": [{name: str(value) if name == "cpu" else value for name, value in stage.items()} for stage in case["stages"]], **more}
    (folder / "chain.tf").write_text((MODULE / "chain.tf").read_text() + "\n" + stages_variable())
    (folder / "terraform.tfvars.json").write_text(json.dumps(variables))
    values = {"stages": "stages", "callers": "callers", "warm": "warm_job", "build": "build", "reads": "weights_condition"}
    (folder / "main.tf.json").write_text(json.dumps({"locals": {"project_number": "PROJECT_NUMBER"}, "output": {name: {"value": f"${{local.{value}}}"} for name, value in values.items()}}))
    for command in (("init",), ("apply", "-auto-approve")):
        done = subprocess.run(["terraform", *command, "-input=false", "-no-color"], cwd=folder, capture_output=True, text=True, timeout=120)
        if done.returncode != 0:
            raise Refused(done.stdout + done.stderr)
    outputs = json.loads(subprocess.run(["terraform", "output", "-json"], cwd=folder, capture_output=True, text=True, timeout=60, check=True).stdout)
    return outputs["stages"]["value"], outputs["callers"]["value"], outputs.get("warm", {}).get("value"), outputs["build"]["value"], outputs["reads"]["value"]


def check_job(flags, job):
    """The scheduler's job."""
    assert (job is None) == (flags is None), (job, flags)
    if job is None:
        return
    said = {"--schedule": job["schedule"], "--description": job["description"], "--time-zone": job["time_zone"], "--uri": job["uri"], "--http-method": job["method"], "--attempt-deadline": job["deadline"],
            "--max-retry-attempts": str(job["retries"]), "--min-backoff": job["pause"]["least"], "--max-backoff": job["pause"]["most"]}
    if job["account"]:
        said.update({"--oidc-service-account-email": job["account"], "--oidc-token-audience": job["audience"]})
    assert said == {name: value for name, value in flags.items() if name in said or name.startswith("--oidc")}, (said, flags)


def check_build(config, build, image):
    """Baked weights: Cloud Build gets by its file what `up` gives it."""
    substitutions = dict(item.split("=", 1) for item in build["substitutions"].split(","))
    assert substitutions.pop("_IMAGE") == image, build
    if config is None:
        assert build["config"] == "deploy/cloudbuild.yaml" and not substitutions, build
        return
    ours = yaml.safe_load((harness.ROOT / build["config"]).read_text())
    values = {"${_IMAGE}": image, "${_MODEL}": substitutions["_MODEL"]}
    for step, wanted in zip(ours["steps"], config["steps"], strict=True):
        environment = [f"{name}={values[value]}" for name, value in (entry.split("=", 1) for entry in step.pop("env", []))]
        assert set(environment) <= set(wanted.pop("env", [])), (environment, wanted)
        assert step == wanted, (step, wanted)
        used = {name for name in re.findall(r"\$\$(\w+)", step["args"][-1])}
        assert used == {entry.split("=")[0] for entry in environment}, (used, environment)
    assert [values[name] for name in ours["images"]] == config["images"] and (ours["timeout"], ours["options"]) == (config["timeout"], config["options"]), (ours, config)


def probe(**fields):
    return ",".join(f"{name}={value}" for name, value in fields.items())


def compare(case, folder):
    wanted = deploy_flags(case, folder)
    stages, callers, warm, build, reads = computed(case, folder, wanted["a"]["--image"])
    check_job(wanted.pop("warm", None), warm)
    granted = wanted.pop("reads", None)
    if case.get("weights") != "baked":  # then no stage reads the bucket
        assert granted == "--condition=title=weights-only,expression=" + reads, (granted, reads)
    check_build(wanted.pop("build", None), build, stages["a"]["image"])
    of_stage = [row for row in keys_of_file()["stage"] if row["becomes"].startswith("--")]
    assert set(wanted) == set(stages) and callers == {letter: chr(ord(letter) - 1) for letter in stages if letter != "a"}
    for letter, stage in stages.items():
        flags = wanted[letter]
        assert stage["service"] == f"{case['name']}-{letter}"
        environment = dict(item.split("=", 1) for item in listed(flags["--set-env-vars"]))
        assert stage["environment"] == environment, (letter, stage["environment"], environment)
        startup, live = stage["startup_probe"], stage["liveness_probe"]
        kinds = [{"httpGet.path": each["http_path"], "httpGet.port": each["port"]} if each["http_path"] else {"grpc.service": each["grpc"], "grpc.port": each["port"]} for each in (startup, live)]
        said = {
            "--image": stage["image"], "--service-account": stage["account"], "--timeout": str(stage["timeout_seconds"]), "--port": str(stage["port"]),
            "--args": ",".join(stage["arguments"]), "--ingress": "internal" if stage["internal"] else "all",
            "--startup-probe": probe(**kinds[0], timeoutSeconds=startup["timeout"], periodSeconds=startup["period"], failureThreshold=startup["failures"]),
            "--liveness-probe": probe(**kinds[1], timeoutSeconds=live["timeout"], periodSeconds=live["period"], failureThreshold=live["failures"]),
        }
        for flag, value in said.items():
            assert flags[flag] == value, (letter, flag, flags[flag], value)
        for row in of_stage:  # a truth is a flag that is there
            value = stage[row["key"]]
            assert flags.get(row["becomes"], "") == ("" if isinstance(value, bool) else str(value)) and (value is not True or row["becomes"] in flags), (letter, row, flags)
        assert ("--use-http2" in flags) == stage["http2"] and ("--network" in flags) == (stage["calls"] and "network" in case), (letter, flags)
        secrets = [f"{name}={secret}:latest" for name, secret in stage["secrets"].items()]
        assert flags.get("--set-secrets", "") == ",".join(secrets), (letter, flags)
        assert ("--add-volume" in flags) == bool(stage["mounted_bucket"]) and flags.get("--add-volume", "").endswith(stage["mounted_bucket"]), (letter, flags)


def check_service_yaml():
    """deploy/service.yaml, its words filled in, is what `up` deploys as stage b."""
    text = (harness.ROOT / "deploy/service.yaml").read_text()
    for word, value in (("PROJECT_NUMBER", "number"), ("PROJECT", "acme"), ("REGION", "europe-west4"), ("BUCKET", "acme-weights"), ("models/MODEL", "models/gemma"), ("value: MODEL", "value: gemma")):
        text = text.replace(word, value)
    service = yaml.safe_load(text)
    with tempfile.TemporaryDirectory() as folder:
        flags = deploy_flags({"name": "commissure", "cuts": [10, 20], "stages": 3}, pathlib.Path(folder))["b"]
    template = service["spec"]["template"]
    spec, annotations = template["spec"], template["metadata"]["annotations"]
    container = spec["containers"][0]
    environment = dict(item.replace("PROJECT_NUMBER", "number").split("=", 1) for item in listed(flags["--set-env-vars"]))
    assert {entry["name"]: entry["value"] for entry in container["env"]} == environment, (container["env"], environment)
    startup, live = container["startupProbe"], container["livenessProbe"]
    said = {
        "--cpu": container["resources"]["limits"]["cpu"], "--memory": container["resources"]["limits"]["memory"], "--service-account": spec["serviceAccountName"],
        "--concurrency": str(spec["containerConcurrency"]), "--timeout": str(spec["timeoutSeconds"]), "--max-instances": annotations["autoscaling.knative.dev/maxScale"],
        "--min": service["metadata"]["annotations"]["run.googleapis.com/minScale"], "--ingress": service["metadata"]["annotations"]["run.googleapis.com/ingress"],
        "--execution-environment": annotations["run.googleapis.com/execution-environment"], "--port": str(container["ports"][0]["containerPort"]), "--args": ",".join(container["args"]),
        "--startup-probe": probe(**{"grpc.service": startup["grpc"]["service"], "grpc.port": startup["grpc"]["port"], "timeoutSeconds": startup["timeoutSeconds"],
                                    "periodSeconds": startup["periodSeconds"], "failureThreshold": startup["failureThreshold"]}),
        "--liveness-probe": probe(**{"grpc.service": live["grpc"]["service"], "grpc.port": live["grpc"]["port"], "timeoutSeconds": live["timeoutSeconds"],
                                     "periodSeconds": live["periodSeconds"], "failureThreshold": live["failureThreshold"]}),
    }
    for flag, value in said.items():
        assert flags[flag] == value, (flag, flags[flag], value)
    assert "--use-http2" in flags and container["ports"][0]["name"] == "h2c" and "--no-cpu-throttling" in flags and "--cpu-boost" in flags
    assert (annotations["run.googleapis.com/cpu-throttling"], annotations["run.googleapis.com/startup-cpu-boost"]) == ("false", "true")


def stub(folder, name, text):
    (folder / name).write_text("#!/bin/sh\n" + text)
    (folder / name).chmod(0o755)


def check_first_key():
    """`make deploy` gives the key's secret a value before anything asks for it, or says what is missing before anything is made."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        log = folder / "log"
        stub(folder, "terraform", f'echo "terraform $*" >> {log}\n')
        stub(folder, "gcloud", f'case "$*" in *list*) [ -e {folder}/version ] && echo 1 || {{ cat {folder}/words >&2; exit 1; }};; *) echo "gcloud $*: $(cat)" >> {log}; touch {folder}/version;; esac\n')
        environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
        environment.pop("COMMISSURE_API_KEY", None)

        def add_key(**more):
            return subprocess.run([MODULE / "add_key.sh", "demo-api-key", "acme"], env={**environment, **more}, capture_output=True, text=True, timeout=30)
        (folder / "words").write_text("ERROR: (gcloud.secrets.versions.list) PERMISSION_DENIED: Permission 'secretmanager.versions.list' denied\n")
        denied = add_key(COMMISSURE_API_KEY="k e y")
        assert denied.returncode == 1 and "Permission 'secretmanager.versions.list' denied" in denied.stderr and "--role=roles/secretmanager.admin" in denied.stderr, denied
        (folder / "words").write_text("ERROR: (gcloud.secrets.versions.list) NOT_FOUND: Secret [projects/1/secrets/demo-api-key] not found.\n")
        refused = add_key()
        assert refused.returncode == 1 and "export COMMISSURE_API_KEY=" in refused.stderr and not log.exists(), refused
        for _ in range(2):  # the second time it is there
            assert add_key(COMMISSURE_API_KEY="k e y").returncode == 0
        assert log.read_text().splitlines() == ["terraform apply -target=google_secret_manager_secret.api_key",
                                                "gcloud secrets versions add demo-api-key --project=acme --data-file=-: k e y"], log.read_text()


def main():
    check_module(parsed())
    check_first_key()
    check_service_yaml()
    if shutil.which("terraform") is None:
        print("terraform: the module parses; the services were NOT computed: terraform is absent")
        return
    # The provider is not there: formatting is all that terraform itself can check of the module.
    formatted = subprocess.run(["terraform", "fmt", "-check", "-recursive", "-diff"], cwd=MODULE, capture_output=True, text=True, timeout=60)
    assert formatted.returncode == 0, formatted.stdout
    for name, case in {**CASES, "examples": case_of_examples(keys_of_file())}.items():
        with tempfile.TemporaryDirectory() as folder:
            compare(case, pathlib.Path(folder))
        print(f"{name}: every stage as `up` deploys it")
    with tempfile.TemporaryDirectory() as folder:
        try:
            computed(CASES["gpu"], pathlib.Path(folder), image="latest")
        except Refused as refused:
            assert "computes on CPUs only" in str(refused), refused
        else:
            raise AssertionError("a GPU beside an image without kernels for it")
    print("terraform: ok")


if __name__ == "__main__":
    sys.exit(main())
