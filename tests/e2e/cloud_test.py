#!/usr/bin/env python3
"""A person's session with Google Cloud Run, through the real gcloud and a fake of Google's APIs that starts the real program.

Nothing here reaches Google. First `up`, second `up`, ask, scale to zero and wake, hand-made changes, rollout and rollback under load,
failures, interruption and resumption, two deployments side by side, down.
"""
import json
import os
import re
import signal
import subprocess
import threading
import time

from cloud_person import Person, fake_cloud
from harness import ALL, PROGRAM, QUICK, SMOL, wait_until

from fake_apis import run_job
from fake_front import grpc_status
from fake_metadata import identity_token
from fake_run import Service


def first_session(google):
    """The happy path with everything guarded: IAM and a key, weights in a volume."""
    me = Person(google, access="both", warm_schedule="0 8 * * 1-5", time_zone="Europe/Berlin")
    me.environment["COMMISSURE_API_KEY"] = "a-very-secret-key"
    dry, _ = me.up("--dry-run")
    assert not google.calls, "a dry run asks nothing"
    assert dry.count("gcloud run deploy") == 3 and "a-very-secret-key" not in dry, dry

    # IAM guards the first stage: the person's token is what `gcloud auth print-identity-token` would print.
    google.apis["policies"]["projects/demo-project/locations/europe-west4/services/demo-a"] = {
        "bindings": [{"role": "roles/run.invoker", "members": ["user:me@example.com"]}]}
    me.environment["COMMISSURE_IDENTITY_TOKEN"] = "not-yet"
    _, err = me.up("--no-wake")
    assert re.search(r"in 3 stages, 0\.43 USD an hour while all are up\n", err), err
    assert re.search(r"to do: repository, .*, image, weights \(\d+\.\d MB\), stage c, stage b, stage a, schedule; about \d+ min \d\d s in all", err), err
    url = re.search(r"Serving \S+ at (\S+)/v1", err)[1]
    me.environment["COMMISSURE_IDENTITY_TOKEN"] = identity_token(google.run, "me@example.com", url)
    assert "X-Serverless-Authorization" in err and "$COMMISSURE_API_KEY" in err, err
    check_secrets(google, me, "a-very-secret-key")
    check_bodies(google)
    check_callers(google)

    out, err = me.run("ask", "--temperature", "0", "--max-tokens", "8", "What is the capital of France?")
    assert out.strip(), err
    me.environment["COMMISSURE_IDENTITY_TOKEN"] = "wrong"
    assert "401" in me.run("ask", "Hi", status=1)[1]
    me.environment["COMMISSURE_IDENTITY_TOKEN"] = identity_token(google.run, "you@example.com", url)
    assert "403" in me.run("ask", "Hi", status=1)[1]
    me.environment["COMMISSURE_IDENTITY_TOKEN"] = identity_token(google.run, "me@example.com", url)

    before = len(google.calls)
    _, err = me.up()
    assert "Nothing to change." in err and google.changes(before) == [], google.changes(before)

    check_schedule(google)
    for service in google.run.services.values():
        service.idle()
    warm = me.run("ask", "--temperature", "0", "--max-tokens", "8", "What is the capital of France?")[0]
    assert warm == out, "from zero to the same answer"

    me.environment["PATH"] = os.environ["PATH"]  # once through gcloud's own start script
    assert "ready" in me.run("status")[0]
    me.environment["PATH"] = google.gcloud_path
    live = json.loads(me.run("status", "--json", "--live")[0])["stages"]
    assert [stage["state"] for stage in live] == ["ready"] * 3, live
    assert "stream taken" in me.run("logs", "--stage", "b")[0]
    watch(google, me, url)
    return me, url


def check_schedule(google):
    """The job of the clock wakes all stages, as an account that may call stage A and do nothing else, and knows no key."""
    job = google.apis["jobs"]["demo-warm"]
    account = "demo-warm@demo-project.iam.gserviceaccount.com"
    url = google.run.services["demo-a"].url
    assert (job["schedule"], job["timeZone"], job["httpTarget"]["uri"], job["httpTarget"]["httpMethod"]) == ("0 8 * * 1-5", "Europe/Berlin", url + "/health", "GET"), job
    assert job["httpTarget"]["oidcToken"] == {"serviceAccountEmail": account, "audience": url} and job["retryConfig"]["retryCount"] == 5, job
    rights = [name for name, policy in google.apis["policies"].items() if account in json.dumps(policy)]
    assert rights == ["projects/demo-project/locations/europe-west4/services/demo-a"], rights
    for service in google.run.services.values():
        service.idle()
    wait_until(lambda: run_job(google, "demo-warm") == 200, 60, "the clock wakes the chain")
    assert all(service.instance.alive() for service in google.run.services.values())


def watch(google, me, url):
    """`bench`, `top` and `verify` find the deployment by themselves, or by its name; `verify` from zero."""
    load = json.loads(me.run("bench", "--requests", "2", "--concurrency", "2", "--prompt-tokens", "8", "--max-tokens", "4", "--json")[0])
    assert load["url"] == url and load["completed"] == 2, load
    assert "healthy" in me.run("top", "--once")[0]
    (me.folder / "two.yaml").write_text(json.dumps({**me.fields, "deployments": {"demo": {}, "other": {}}}))
    (me.folder / "prompts.txt").write_text("The sea was calm and\n")
    for service in google.run.services.values():
        service.idle()
    same, _ = me.run("verify", "--file", "two.yaml", "--deployment", "demo", "--prompts", "prompts.txt", "--max-tokens", "4")
    assert "3 stages give the same tokens and log-probabilities as one, bit for bit" in same, same
    assert "Not replayed: the chain is not one of this machine" in same, same
    assert "not on Cloud Run" in me.run("verify", "--file", "two.yaml", "--deployment", "other", status=1)[1]


def check_secrets(google, me, secret):
    """Only Secret Manager and the process that needs it ever see a secret."""
    for method, host, path, body in google.calls:
        assert secret.encode() not in body, (method, host, path)
    for service in google.run.services.values():
        assert secret not in json.dumps(service.body) and secret not in service.instance.log.read_text()
    assert google.apis["secrets"]["demo-api-key"]["versions"] == [secret.encode()]
    for path in me.folder.rglob("*"):
        assert not path.is_file() or secret.encode() not in path.read_bytes(), path


def check_bodies(google):
    """What Google would get for each stage, and who may do what."""
    urls = {}
    for letter in "cba":
        service = google.run.services[f"demo-{letter}"]
        spec = service.body["spec"]["template"]["spec"]
        container = spec["containers"][0]
        variables = {entry["name"]: entry.get("value") for entry in container["env"]}
        assert container["ports"] == [{"containerPort": 8080} if letter == "a" else {"name": "h2c", "containerPort": 8080}], container["ports"]
        assert spec["serviceAccountName"] == f"demo-{letter}@demo-project.iam.gserviceaccount.com"
        assert spec["timeoutSeconds"] == 3600 and container["resources"]["limits"] == {"cpu": "2", "memory": "2Gi"}
        assert variables["STAGE"] == letter and variables["K1"] and variables["K2"]
        urls[letter] = service.url
        following = chr(ord(letter) + 1)
        assert variables.get(f"{following.upper()}_ENDPOINT") == urls.get(following), variables
        assert ("COMMISSURE_API_KEY" in variables) == (letter == "a")
        before = f"demo-{chr(ord(letter) - 1)}@demo-project.iam.gserviceaccount.com"
        assert variables.get("COMMISSURE_REQUIRE_IDENTITY") == (None if letter == "a" else service.url), variables
        assert variables.get("COMMISSURE_ALLOWED_CALLERS") == (None if letter == "a" else before), variables
    invokers = {name: google.run.invokers(service) for name, service in google.run.services.items()}
    assert invokers["demo-b"] == {"serviceAccount:demo-a@demo-project.iam.gserviceaccount.com"}, invokers
    assert invokers["demo-c"] == {"serviceAccount:demo-b@demo-project.iam.gserviceaccount.com"}, invokers
    assert "allUsers" not in invokers["demo-a"]
    for binding in google.apis["policies"]["b/demo-project-demo"]["bindings"]:
        if binding["role"] == "roles/storage.objectViewer":
            assert "models/SmolLM2" in binding["condition"]["expression"], binding
    bucket = google.storage.buckets["demo-project-demo"]["iamConfiguration"]
    assert bucket["uniformBucketLevelAccess"]["enabled"] and bucket["publicAccessPrevention"] == "enforced", bucket


def check_callers(google):
    """Behind Google's check each stage makes its own: here the front is passed by, as somebody would who got past IAM."""
    for letter, before, other in (("b", "a", "c"), ("c", "b", "a")):
        service = google.run.services[f"demo-{letter}"]
        account = {name: f"demo-{name}@demo-project.iam.gserviceaccount.com" for name in "abc"}

        def status(caller, audience, lifetime=3600):
            token = identity_token(google.run, account[caller], audience, lifetime)
            return grpc_status(service.serving().port, "/commissure.v1.Stage/Describe", token)

        own = service.front.url
        wait_until(lambda: service.serving() is not None, 30, f"stage {letter} is up")
        wait_until(lambda: status(before, own) == 0, 30, f"stage {letter} has Google's keys and lets {before} in")
        assert status(other, own) == 7, "another account"
        assert status(before, "https://elsewhere.example") == 16, "another audience"
        assert status(before, own, lifetime=-600) == 16, "an old token"
        assert grpc_status(service.serving().port, "/commissure.v1.Stage/Describe") == 16, "no token"
        assert grpc_status(service.serving().port, "/commissure.v1.Stage/Describe", "x" * 200) == 16, "no token at all"
        forged = identity_token(google.run, account[before], own, signature="bm9uc2Vuc2U" * 31)
        assert grpc_status(service.serving().port, "/commissure.v1.Stage/Describe", forged) == 16, "a token that Google did not sign"


class Load:
    """Streams one answer after the other until it is stopped; every one must be whole."""

    def __init__(self, me, n_threads=2):
        self.me, self.stop, self.answers, self.problems = me, threading.Event(), 0, []
        self.threads = [threading.Thread(target=self.work) for _ in range(n_threads)]
        for thread in self.threads:
            thread.start()

    def work(self):
        while not self.stop.is_set():
            done = subprocess.run([PROGRAM, "ask", "--url", self.me.environment["TEST_URL"], "--json", "--temperature", "0", "--max-tokens", "24", "Count."],
                                  env=self.me.environment, capture_output=True, text=True)
            if done.returncode != 0 or json.loads(done.stdout)["finish_reason"] not in ("stop", "length"):
                self.problems.append(done.stdout + done.stderr)
            self.answers += 1

    def finish(self):
        self.stop.set()
        for thread in self.threads:
            thread.join()
        assert not self.problems, self.problems[:3]
        return self.answers


def rollout_and_rollback(google, me, url):
    me.environment["TEST_URL"] = url
    releases = [google.run.services["demo-a"].body["spec"]["template"]["metadata"]["labels"]["commissure-release"]]
    load = Load(me)
    wait_until(lambda: load.answers >= 2, 60, "answers before the rollout")
    me.write(context=2048)
    _, err = me.up()
    releases.append(google.run.services["demo-a"].body["spec"]["template"]["metadata"]["labels"]["commissure-release"])
    assert releases[0] != releases[1] and "arguments: stage --read-weights instead of stage --max-model-len 2048 --read-weights" in err, err
    seen = load.answers
    wait_until(lambda: load.answers >= seen + 2, 60, "answers after the rollout")
    _, err = me.run("rollback")
    assert f"to release {releases[0]}" in err, err
    seen = load.answers
    wait_until(lambda: load.answers >= seen + 2, 60, "answers after the rollback")
    n_answers = load.finish()
    told = me.run("status")[0]
    assert "traffic goes to demo-a-00001-abc; the newest is demo-a-00002-abc" in told and "serves: demo-b-00001-abc (100 % of the traffic)" in told, told
    print(f"rollout and rollback under load: {n_answers} answers, none failed")
    _, err = me.up("--no-wake")
    assert "traffic: demo-a-00001-abc instead of latest" in err, err


def by_hand(google, me):
    """What somebody changed in the console is seen, named and mended; scale is a change that stays until the next `up`."""
    _, err = me.run("scale", "--min", "1", "--stage", "b")
    assert "demo-b: min instances 0, wanted 1" in err, err
    body = google.run.services["demo-c"].body
    body["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"] = "1Gi"
    google.apis["policies"][google.run.services["demo-b"].resource]["bindings"].append({"role": "roles/run.invoker", "members": ["allUsers", "user:me@example.com"]})
    told = me.run("status", status=1)[0]
    assert "ANYBODY may call it (allUsers): mend it with commissure up" in told and "user:me@example.com may call it, beside the stage before" in told, told
    before = len(google.calls)
    _, err = me.up("--no-wake")
    assert "access: anybody may call demo-b (allUsers)" in err and "warning: user:me@example.com may call demo-b, too" in err, err
    assert "allUsers" not in google.run.invokers(google.run.services["demo-b"])
    assert "memory: 1Gi instead of 2Gi" in err and "min instances: 1 instead of 0" in err, err
    changed = {call.rsplit("/", 1)[1] for call in google.changes(before) if call.startswith("PUT")}
    assert changed == {"demo-b", "demo-c"}, changed
    for schedule, why, change in (("0 7 * * *", "schedule: 0 8 * * 1-5 instead of 0 7 * * *", "PATCH"), ("", "job demo-warm: no schedule asks for it", "DELETE")):
        me.write(warm_schedule=schedule)
        before = len(google.calls)
        _, err = me.up("--no-wake")
        assert why in err and [call.split()[0] for call in google.changes(before)] == [change], (err, google.changes(before))
    assert not google.apis["jobs"]
    me.write(warm_schedule="0 8 * * 1-5")
    me.run("deploy", "--source", str(me.source))


def down(google, me, all_of_it=True):
    me.run("down", "--all", "--yes")
    left = [name for table in ("repositories", "secrets", "accounts", "tags") for name in google.apis[table] if "/demo" in f"/{name}"]
    assert not google.run.services and not google.storage.buckets and not left and not google.apis["jobs"], (google.run.services, google.storage.buckets, left)
    before = len(google.calls)
    assert "Nothing was there." in me.run("down", "--all", "--yes")[1] and google.changes(before) == []


def not_ours(google):
    """A deployment whose name other things have: nothing of theirs is changed or removed until `--adopt` takes it. Then: another model and fewer stages, and what that leaves behind."""
    me = Person(google, name="shop", access="key", stages={"count": 2, "cpu": 2, "memory": "2Gi"})
    me.environment["COMMISSURE_API_KEY"] = "key"
    repository = "projects/demo-project/locations/europe-west4/repositories/shop"
    google.apis["repositories"][repository] = {"name": repository, "format": "DOCKER"}
    foreign_service(google, "shop-b")
    before = len(google.calls)
    me.fails("not made by this deployment (label commissure-deployment=shop): service shop-b, repository shop", "commissure up --adopt")
    me.fails("say that it is meant: commissure down --all --yes", command=("down", "--all"))
    _, err = me.run("down", "--all", "--yes")
    assert "service shop-b was not made by this deployment and stays" in err and "repository shop was not made by this deployment and stays" in err, err
    assert google.changes(before) == [] and "cleanupPolicies" not in google.apis["repositories"][repository], google.changes(before)
    assert "it has no label of this deployment" in me.run("status", status=1)[0]

    _, err = me.up("--adopt")
    assert "adopts service shop-b\n" in err and "adopts repository shop\n" in err and "a first answer in" in err, err
    assert google.apis["repositories"][repository]["labels"] == {"commissure-deployment": "shop"}
    assert "Nothing to change." in me.up("--no-wake")[1]
    another_model(google, me)
    left_behind(google, me)
    me.run("down", "--all", "--yes")
    assert repository not in google.apis["repositories"] and not any(name.startswith("shop") for name in google.run.services)


def foreign_service(google, name):
    """A public service that somebody deployed by another way."""
    body = {"metadata": {"name": name, "labels": {"cloud.googleapis.com/location": "europe-west4"}, "annotations": {}, "generation": 1, "resourceVersion": "1"}, "spec": {
        "template": {"metadata": {"labels": {}, "annotations": {}}, "spec": {"containers": [{"image": "registry.example/shop:1"}]}}, "traffic": [{"latestRevision": True, "percent": 100}]}}
    service = google.run.services[name] = Service(google.run, body, "europe-west4")
    body["status"] = {"url": service.url, "observedGeneration": 1, "conditions": [{"type": "Ready", "status": "True"}], "traffic": []}
    google.apis["policies"][service.resource] = {"bindings": [{"role": "roles/run.invoker", "members": ["allUsers"]}]}


def another_model(google, me):
    """Stages that may not read their weights never get the traffic; the next `up` gives them the right to the new folder and leaves that to the old one."""
    other = me.folder / "Another.gguf"
    other.symlink_to(SMOL)
    may_read = google.storage.may_read
    google.storage.may_read = lambda bucket, name, account: name is None or "Another" not in name
    me.write(model=str(other))
    me.fails("step stage b: ", "failed to start and listen", "commissure logs --stage b")
    google.storage.may_read = may_read
    assert me.run("ask", "--max-tokens", "4", "Hi")[0].strip(), "the revisions before serve on"
    assert "serves: shop-b-00001-abc (100 % of the traffic)" in me.run("status", status=1)[0]
    _, err = me.up()
    assert "a first answer in" in err and "left behind, `commissure up --prune` removes it: account shop-a on gs://demo-project-shop: roles/storage.objectViewer, with a condition for something else" in err, err
    folders = {binding["condition"]["expression"].split('"')[-2] for binding in google.apis["policies"]["b/demo-project-shop"]["bindings"] if "condition" in binding}
    assert len(folders) == 2 and any("/models/Another" in folder for folder in folders), folders
    assert all(folder.endswith("/") for folder in folders), folders


def left_behind(google, me):
    """What the file no longer asks for is told by `up` and `status`, and removed by `up --prune`."""
    me.write(stages={"count": 1, "cpu": 2, "memory": "4Gi"}, access="public")
    before = len(google.calls)
    _, err = me.up()
    told = me.run("status")[0]
    for left in ("service shop-b", "secret shop-api-key", "account shop-b"):
        assert f"removes it: {left} (" in err and f"left behind: {left} (commissure up --prune)\n" in told, (left, err, told)
    assert not [call for call in google.changes(before) if call.startswith("DELETE")], google.changes(before)
    _, err = me.up("--prune", "--no-wake")
    assert "left services: done in" in err and "left rights: done in" in err, err
    assert "shop-b" not in google.run.services and "shop-api-key" not in google.apis["secrets"] and not any(email.startswith("shop-b@") for email in google.apis["accounts"])
    assert len([binding for binding in google.apis["policies"]["b/demo-project-shop"]["bindings"] if "condition" in binding]) == 1
    _, err = me.up("--no-wake")
    assert "Nothing to change." in err and "left behind" not in err, err


def failures_on_the_way(google):
    """One `up` after the other, each stopped by another failure further on; each resumes where the last one stopped."""
    me = Person(google, name="bumpy", access="key", weights="baked")
    google.apis["billing"] = False
    google.apis["enabled"] -= {"artifactregistry.googleapis.com"}  # something is left to enable
    # gcloud asks once more with a fresh token.
    google.fail("GET cloudresourcemanager", 401, "Request had invalid authentication credentials.", times=2)
    me.fails("step read: ", "invalid authentication credentials", "gcloud auth login")
    me.fails("step apis: ", "Billing must be enabled", "gcloud billing projects link demo-project")
    google.apis["billing"] = True
    google.storage.buckets["demo-project-bumpy"] = {"name": "demo-project-bumpy", "foreign": True}
    me.fails("does not have storage.buckets.get access", "set another bucket in commissure.yaml")
    del google.storage.buckets["demo-project-bumpy"]
    before = len(google.calls)
    me.fails("step secrets: set COMMISSURE_API_KEY in the environment", "bumpy-api-key", "export COMMISSURE_API_KEY=")
    assert google.changes(before) == [], "said before anything is made"
    me.environment["COMMISSURE_API_KEY"] = "key"
    google.fail(r"PUT storage\.googleapis\.com/storage/v1/b/demo-project-bumpy/iam", 403, "me does not have storage.buckets.setIamPolicy access.")
    me.fails("step access: ", "setIamPolicy access", "--role=roles/resourcemanager.projectIamAdmin")
    google.fail("POST storage.googleapis.com/resumable/upload/storage/v1/b/demo-project-bumpy/o", 403, "no access to storage.objects.create")
    me.fails("step weights: ", "roles/storage.admin")
    google.apis["build_outcome"] = lambda build: "the disk is full"
    me.fails("step image: ", "completed with status", "run `commissure up` again")
    google.apis["build_outcome"] = None
    google.fail("POST europe-west4-run.*services", 400, "Quota exceeded for total allowable count of GPUs per project per region.")
    me.fails("step stage c: ", "Quota exceeded for total allowable count of GPUs", "ask for GPU quota in europe-west4")

    before = len(google.calls)
    _, err = me.up()
    for step in ("apis", "repository", "bucket", "accounts", "secrets", "access", "image", "weights"):
        assert f"{step}: unchanged" in err, err
    assert not [call for call in google.changes(before) if "run.googleapis" not in call], google.changes(before)
    assert "a first answer in" in err, err
    check_baked(google)
    return me


def check_baked(google):
    """The model lies in the image, which the last build made in three steps; no stage needs the bucket."""
    for letter in "abc":
        container = google.run.services[f"bumpy-{letter}"].body["spec"]["template"]["spec"]["containers"][0]
        assert {"name": "MODEL_DIR", "value": f"/model/{SMOL.name}"} in container["env"] and container["image"] in google.apis["baked"], container
    build = list(google.apis["builds"].values())[-1]
    assert [step["id"] for step in build["steps"]] == ["build", "fetch", "bake"] and build["images"] == [container["image"]], build
    readers = [binding for binding in google.apis["policies"]["b/demo-project-bumpy"]["bindings"] if binding["role"] == "roles/storage.objectViewer"]
    assert not readers, readers


# In the order of the steps: what `up` asks just then, and whether that still reaches Google. Where a step makes several calls it is torn between.
BLOWS = (("read", "GET cloudresourcemanager", True), ("apis", "POST serviceusage.*nable", False), ("repository", "POST artifactregistry.*repositories$", True),
         ("bucket", "PATCH storage.*/b/demo-project-torn", False), ("accounts", "POST iam.*/serviceAccounts", True), ("secrets", "POST secretmanager.*:addVersion", False),
         ("access", "PUT storage.*/iam", True), ("image", "GET cloudbuild.*/builds/", False), ("weights", "PUT storage.*upload/storage", False),
         ("stage c", "POST europe-west4-run.*/services$", False), ("caller of c", "POST run.*torn-c:setIamPolicy", True), ("stage b", "POST europe-west4-run.*/services$", True),
         ("stage a", "POST europe-west4-run.*/services$", False))


def interruptions(google):
    """`up` is stopped at every step, by Ctrl-C (to the whole group, as a terminal sends it) and by kill -9 in turns; the next one goes on."""
    me = Person(google, name="torn", access="key")
    me.environment["COMMISSURE_API_KEY"] = "key"
    google.apis["enabled"] -= {"artifactregistry.googleapis.com"}
    blows = [*((step, pattern, arrives) for step, pattern, arrives in BLOWS), ("wake", "stage a: done", None), ("ask", "stage c .*ready", None)]
    for number, (step, pattern, arrives) in enumerate(blows if ALL else blows[::2]):  # `make sweep` stops it at every change
        blow = (signal.SIGINT, signal.SIGKILL)[number % 2]
        process = me.start("up", "--source", str(me.source), start_new_session=True)
        if arrives is not None:
            google.on_call(pattern, lambda: os.killpg(process.pid, blow), arrives)
            _, err = process.communicate(timeout=120)
        else:
            err = ""
            for line in process.stderr:
                err += line
                if re.search(pattern, line):
                    os.killpg(process.pid, blow)
            process.wait(60)
        assert process.returncode == (1 if blow == signal.SIGINT else -signal.SIGKILL), (step, process.returncode, err)
        assert blow == signal.SIGKILL or "interrupted; the same command goes on from here" in err, (step, err)
        wait_until(lambda: not google.gcloud.calls(), 30, f"{step}: no gcloud goes on")
    _, err = me.up()
    assert "Nothing to change." in err and "a first answer in" in err, err
    me.run("down", "--all", "--yes")
    assert "demo-project-torn" not in google.storage.buckets, "the bucket that an interrupted `up` made is known as its own"


def too_few_gpus(google):
    """What the region's quota does not allow is said before anything is made."""
    me = Person(google, name="many", stages={"count": 3, "gpu": "nvidia-l4", "cpu": 4, "memory": "16Gi"}, image="registry.example/with-gpu-kernels:1")
    google.apis["quotas"] = {"NvidiaL4GpuAllocNoZonalRedundancyPerProjectRegion": {"europe-west1": 9, "europe-west4": 2}}
    before = len(google.calls)
    assert "cloudquotas.googleapis.com does not tell" in me.run("plan", "--quota", status=1)[1]
    me.fails("step quota: the stages need 3 nvidia-l4 at once", "allows 2 in europe-west4", "iam-admin/quotas?project=demo-project")
    assert all("services:batchEnable" in call or "services/cloudquotas" in call for call in google.changes(before)), google.changes(before)
    before = len(google.calls)
    assert "allows 2 in europe-west4" in me.run("plan", "--quota", status=1)[1]
    google.apis["quotas"] = {"NvidiaL4GpuAllocNoZonalRedundancyPerProjectRegion": {"europe-west4": 3}}
    assert "The GPU quotas of europe-west4 hold all stages." in me.run("plan", "--quota")[1] and google.changes(before) == []
    google.apis["quotas"] = {}


def bad_words(google):
    """Mistakes in the file are found before anything is asked."""
    me = Person(google)
    me.environment["HF_ENDPOINT"] = "http://127.0.0.1:9"  # nobody listens there
    strange = me.folder / "strange"
    strange.mkdir()
    (strange / "config.json").write_text(json.dumps({"architectures": ["StrangeForCausalLM"], "model_type": "strange"}))
    (strange / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    before = len(google.calls)
    for flags, words in ((("--stages", "2"), ("--stages is for a chain on this machine", "set `stages` in commissure.yaml")), (("--cuts", "3,4"), ("--cuts is", "set `cuts`")),
                         (("--model", "x"), ("--model is", "set `model`")), (("--image-urls", "off"), ("--image-urls is", "which has no key for this")),
                         (("--allowed-hosts", "x"), ("--allowed-hosts is", "leave the flag out")), (("--port", "81"), ("--port is", "leave the flag out"))):
        me.fails(*words, command=("up", *flags))
    for fields, words in (
            ({"regoin": "x"}, ("commissure.yaml: line 1", "unknown key \"regoin\"", "did you mean region?")),
            ({"weights": "baked", "image": "registry.example/own:1"}, ("leave `image` out",)),
            ({"name": "X"}, ("must be 4 to 24 lower-case letters",)),
            ({"stages": 99}, ("stages is \"99\"", "1 to 26")),
            ({"stages": 2, "cuts": [3, 4]}, ("2 cuts do not make 2 stages",)),
            ({"cuts": [20, 10]}, ("cuts must rise", "10 comes after 20")),
            ({"cuts": [10, 40]}, ("commissure.yaml: ", "40", "30 layers")),
            ({"region": "europe-west5"}, ("region is \"europe-west5\"", "did you mean europe-west1?")),
            ({"model": str(strange), "cuts": [10, 20]}, ("commissure.yaml: ", "model type \"strange\" is not supported")),
            ({"model": "hf:google/gemma-3-27b-it"}, ("say where to cut it",)),
            ({"model": "/nowhere/model.gguf"}, ("/nowhere/model.gguf",)),
            ({"network": {"internal": "true"}}, ("set `network`",)),
            ({"warm_schedule": "at eight"}, ("must be five cron fields",)),
            ({"stages": {"count": 3, "cpu": 3}}, ("stage a: no instance has 3 vCPU: set cpu: 2",)),
            ({"stages": {"count": 3, "cpu": 2, "memory": "16Gi"}}, ("2 vCPU take 512Mi to 8Gi", "set memory: 8Gi or cpu: 4")),
            ({"stages": {"count": 3, "gpu": "nvidia-l4", "cpu": 2, "memory": "8Gi"}}, ("set cpu: 4 and memory: 16Gi",)),
            ({"stages": {"count": 3, "gpu": "nvidia-l4", "cpu": 4, "memory": "16Gi"}}, ("stage a: the image that is built here computes on CPUs only", "leave `gpu` out")),
            ({"stages": {"count": 3, "gpu": "nvidia-t4"}}, ("stage a: ", "has no GPU nvidia-t4; its GPUs: nvidia-l4, nvidia-rtx-pro-6000")),
            ({"stages": {"count": 3, "gpu": "nvidia-l4"}, "region": "europe-west3"}, ("not offered in europe-west3: set region: europe-west1",)),
            ({"context": 8192, "streams": 64}, ("stage a needs ", " GB and has 1.8: give it fewer layers", "would do, ", "USD an hour")),
            ({"stages": {"count": 2, "cpu": 2, "memory": "2Gi", "max_instances": 3}}, ("set max_instances: 1",))):
        saved = dict(me.fields)
        me.write(**fields)
        me.fails(*words)
        me.fields = saved
    assert len(google.calls) == before, "nothing was asked"


start = time.monotonic()
with fake_cloud() as google:
    bad_words(google)
    me, url = first_session(google)
    print(f"first session: ok after {time.monotonic() - start:.0f} s")
    if not QUICK:
        rollout_and_rollback(google, me, url)
        by_hand(google, me)
        print(f"rollout, rollback, changes by hand: ok after {time.monotonic() - start:.0f} s")
        not_ours(google)
        print(f"what is not ours, what is left behind: ok after {time.monotonic() - start:.0f} s")
        other = failures_on_the_way(google)
        print(f"failures: ok after {time.monotonic() - start:.0f} s")
        interruptions(google)
        too_few_gpus(google)
        print(f"failures and interruptions: ok after {time.monotonic() - start:.0f} s")
        before = len(google.calls)
        assert "Nothing to change." in me.up("--no-wake")[1] and google.changes(before) == [], "the other deployment changed nothing here"
        other.run("down", "--all", "--yes")
        assert all(name.startswith("demo-") for name in google.run.services), google.run.services
        assert me.run("ask", "--max-tokens", "4", "Hi")[0].strip()
    down(google, me)
print(f"cloud: ok in {time.monotonic() - start:.0f} s")
