"""Cloud Run of the fake: the Knative API that gcloud uses and, where a program is given, real containers' processes."""
import base64
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from fake_apis import need_api, now, take
from fake_front import Front, grpc_health
from fake_google import PROJECT_NUMBER, ApiError, Reply, route
from fake_metadata import MetadataServer, Signer
from ports import free_port

NOT_STARTED = ("The user-provided container failed to start and listen on the port defined provided by the PORT=8080 environment variable within "
               "the allocated timeout. This can happen when the container port is misconfigured or if the timeout is too short. "
               "Logs for this revision might contain more information.")


class Instance:
    """One container: the program with a revision's environment, a folder as its volume, a metadata server beside it."""

    def __init__(self, run, service, revision, spec):
        self.revision, self.spec, self.port = revision, spec, free_port()
        self.folder = run.google.folder / "instances" / f"{revision}-{self.port}"
        self.folder.mkdir(parents=True)
        self.log = self.folder / "log"
        container = spec["containers"][0]
        account = spec.get("serviceAccountName", f"{PROJECT_NUMBER}-compute@developer.gserviceaccount.com")
        self.metadata = MetadataServer(run, account)
        environment = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LD_LIBRARY_PATH", "ASAN_OPTIONS", "UBSAN_OPTIONS")}
        environment.update(run.stage_environment)
        environment.update(SSL_CERT_FILE=str(run.google.authority.ca), CURL_CA_BUNDLE=str(run.google.authority.ca),
                           GRPC_DEFAULT_SSL_ROOTS_FILE_PATH=str(run.google.authority.ca))
        environment.update(https_proxy=f"http://127.0.0.1:{run.google.port}", no_proxy="localhost,127.0.0.1")  # Google's own hosts are the fake
        mounts = self.mounts(run, account)
        for entry in container.get("env", []):
            value = entry.get("value", "")
            if "valueFrom" in entry:
                value = run.secret(entry["valueFrom"]["secretKeyRef"], account)
            for path, folder in mounts.items():
                if value == path or value.startswith(path + "/"):
                    value = str(folder) + value[len(path):]
            for name, local in run.names.items():
                value = value.replace(name, local)
            environment[entry["name"]] = value
        environment.update(PORT=str(self.port), K_SERVICE=service, K_REVISION=revision, K_CONFIGURATION=service,
                           GCE_METADATA_HOST=self.metadata.address)
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([*run.program, *container.get("args", [])], env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def volume(self, run, bucket, account):
        """What a bucket's volume shows: the objects that the account may read. Without any right on the bucket it is not mounted."""
        if not run.google.storage.may_read(bucket, None, account):
            raise ApiError(403, f"{account} does not have storage.objects.list access to the Google Cloud Storage bucket {bucket}.")
        folder = self.folder / "volumes" / bucket
        for name in run.google.storage.names(bucket):
            if run.google.storage.may_read(bucket, name, account):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).symlink_to(run.google.storage.path(bucket, name))
        return folder

    def mounts(self, run, account):
        """Mount path to folder: of a bucket, or of a secret's file."""
        volumes = {volume["name"]: volume for volume in self.spec.get("volumes", [])}
        folders = {}
        for mount in self.spec["containers"][0].get("volumeMounts", []):
            volume = volumes[mount["name"]]
            if "csi" in volume:
                attributes = volume["csi"]["volumeAttributes"]
                only = re.search(r"only-dir=([^,;]+)", attributes.get("mountOptions", ""))
                folders[mount["mountPath"]] = self.volume(run, attributes["bucketName"], account) / (only[1] if only else "")
            elif "secret" in volume:
                folder = self.folder / volume["name"]
                folder.mkdir()
                for item in volume["secret"]["items"]:
                    key = {"name": volume["secret"]["secretName"], "key": item["key"]}
                    (folder / item["path"]).write_text(run.secret(key, self.spec.get("serviceAccountName")))
                folders[mount["mountPath"]] = folder
        baked = run.google.apis["baked"].get(self.spec["containers"][0]["image"])
        return {**folders, "/model": baked} if baked else folders

    def alive(self):
        return self.process.poll() is None

    def started(self):
        """Whether the startup probe passes now."""
        probe = self.spec["containers"][0].get("startupProbe", {})
        try:
            if "grpc" in probe:
                return grpc_health(self.port, probe["grpc"].get("service", ""))
            if "httpGet" in probe:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{probe['httpGet'].get('path', '/')}", timeout=probe.get("timeoutSeconds", 1)) as reply:
                    return 200 <= reply.status < 400
            with socket.create_connection(("127.0.0.1", self.port), 1):
                return True
        except OSError:
            return False

    def wait_started(self, seconds):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.alive():
            if self.started():
                return True
            time.sleep(0.05)
        return False

    def stop(self, grace=10):
        """SIGTERM, ten seconds, SIGKILL, as Cloud Run does it."""
        if self.alive():
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(grace)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.metadata.close()


class Service:
    """A deployed service: its body as gcloud sees it, its address, and the instance of its latest ready revision."""

    def __init__(self, run, body, region):
        self.run, self.body, self.region = run, body, region
        self.name = body["metadata"]["name"]
        self.resource = f"projects/{run.google.project}/locations/{region}/services/{self.name}"
        self.instance, self.instance_lock = None, threading.Lock()
        self.retired, self.closed = [], False
        self.labels = {}  # of each revision
        self.ready = None  # the name of the newest revision that came up
        self.revisions, self.current = [], -1  # (name, spec), oldest first; the index of the one that serves
        self.front = Front(self) if run.program else None
        # There is no DNS here. What the person's programs call has its local address; the other services have Google's, and containers'
        # environments get the local ones in their place.
        self.url = f"https://{self.name}-{PROJECT_NUMBER}.{region}.run.app"
        if self.front and not self.name.endswith("-a"):
            run.names[self.url] = self.front.url
        elif self.front:
            self.url = self.front.url

    def container_spec(self):
        return self.revisions[self.current][1]

    def uses_http2(self):
        return self.container_spec()["containers"][0].get("ports", [{}])[0].get("name") == "h2c"

    def start(self):
        revision, spec = self.revisions[self.current]
        fresh = Instance(self.run, self.name, revision, spec)
        if not fresh.wait_started(self.run.startup_seconds):
            fresh.stop(grace=1)
            return None
        return fresh

    def serving(self):
        """The instance for a new request; starts one from zero. None when it does not come up."""
        with self.instance_lock:
            if self.closed:  # a stage that still runs connects again to one that is taken away
                return None
            if self.instance is None or not self.instance.alive():
                self.instance = self.start()
            return self.instance

    def replace(self):
        """Brings the latest revision up and retires the instance before it once its requests have ended."""
        fresh = self.start()
        if fresh is None:
            return False
        with self.instance_lock:
            if not self.closed:
                old, self.instance = self.instance, fresh
            else:
                old = fresh  # taken away while it came up
        if old is not None:
            retire = threading.Thread(target=self.retire, args=(old,), daemon=True)
            self.retired.append(retire)
            retire.start()
        return True

    def retire(self, instance):
        while self.front.active(instance) and not self.run.closing:
            time.sleep(0.1)
        instance.stop()

    def idle(self):
        """Scales to zero."""
        with self.instance_lock:
            old, self.instance = self.instance, None
        if old is not None:
            old.stop()

    def close(self):
        with self.instance_lock:
            self.closed = True
        if self.front:
            self.front.close()
        self.idle()
        for retire in self.retired:
            retire.join(15)


class CloudRun:
    def __init__(self, google, program, stage_environment):
        self.google, self.stage_environment = google, stage_environment
        self.program = program  # argv of a container's entry point; None: nothing is started
        self.services, self.tokens = {}, {}
        self.signer = Signer(google.folder)
        self.names = {}  # addresses of services to local ones
        self.startup_seconds = 120
        self.closing = False

    def secret(self, key, account):
        versions = take(self.google.apis["secrets"], key["name"], "Secret")["versions"]
        policy = self.google.apis["policies"].get(f"projects/{self.google.project}/secrets/{key['name']}", {})
        members = [member for binding in policy.get("bindings", []) if binding["role"] == "roles/secretmanager.secretAccessor"
                   for member in binding["members"]]
        if f"serviceAccount:{account}" not in members:
            raise ApiError(403, f"Permission denied on secret: {key['name']} for Revision service account {account}.")
        return versions[-1 if key["key"] == "latest" else int(key["key"]) - 1].decode()

    def invokers(self, service):
        policy = self.google.apis["policies"].get(service.resource, {})
        return {member for binding in policy.get("bindings", []) if binding["role"] == "roles/run.invoker" for member in binding["members"]}

    def log_entries(self, text):
        entries = []
        for service in self.services.values():
            if f'"{service.name}"' not in text or service.instance is None:
                continue
            for line in service.instance.log.read_text(errors="replace").splitlines():
                entry = {"resource": {"type": "cloud_run_revision", "labels": {"service_name": service.name}}, "timestamp": now(), "severity": "INFO",
                         "logName": f"projects/{self.google.project}/logs/run.googleapis.com%2Fstdout"}
                try:
                    entry["jsonPayload"] = json.loads(line)
                except ValueError:
                    entry["textPayload"] = line
                entries.append(entry)
        return entries[::-1]  # gcloud asks for the newest first

    def close(self):
        self.closing = True
        for service in list(self.services.values()):
            service.close()


SERVICES = r"/apis/serving\.knative\.dev/v1/namespaces/([^/]+)/services"
REGIONAL = r"[a-z0-9-]+-run"


def status_of(service, ready, message="", reason=""):
    """Traffic goes to the newest revision once that is ready, and stays where it was while it is not."""
    revision = service.revisions[-1][0]
    if ready == "True":
        service.ready = revision
    conditions = [{"type": kind, "status": ready, "lastTransitionTime": now(), **({"message": message, "reason": reason} if message else {})}
                  for kind in ("Ready", "ConfigurationsReady", "RoutesReady")]
    status = {"observedGeneration": service.body["metadata"]["generation"], "conditions": conditions, "latestCreatedRevisionName": revision,
              "url": service.url, "address": {"url": service.url}, "traffic": [{"revisionName": service.ready, "percent": 100, "latestRevision": True}] if service.ready else []}
    if service.ready:
        status["latestReadyRevisionName"] = service.ready
    return status


def take_service(google, name):
    if name not in google.run.services:
        raise ApiError(404, f"Resource '{name}' of kind 'SERVICE' in region could not be found")
    return google.run.services[name]


def new_revision(google, service):
    """Adds the template as a revision unless it is the last one again, and makes it serve. Waits like a fast platform would."""
    template = service.body["spec"]["template"]
    number = f"{service.name}-{len(service.revisions) + 1:05d}-abc"
    service.revisions.append((template["metadata"].get("name", number), json.loads(json.dumps(template["spec"]))))
    service.labels[service.revisions[-1][0]] = dict(template["metadata"].get("labels", {}))
    service.current = len(service.revisions) - 1
    if not service.front:
        service.body["status"] = status_of(service, "True")
        return
    service.body["status"] = status_of(service, "Unknown")

    def bring_up():
        try:
            good, why = service.replace(), NOT_STARTED
        except ApiError as error:
            good, why = False, str(error)
        service.body["status"] = status_of(service, "True") if good else status_of(service, "False", why, "HealthCheckContainerError")
    threading.Thread(target=bring_up, daemon=True).start()


@route("GET", REGIONAL, SERVICES)
def list_services(google, request, project):
    need_api(google, "run.googleapis.com")
    return service_list(google, request.host.split("-run.")[0])


@route("GET", "run", r"/v1/projects/([^/]+)/locations/-/services")
def list_services_everywhere(google, request, project):
    need_api(google, "run.googleapis.com")
    return service_list(google)


def service_list(google, region=None):
    """Of one region, or of all."""
    items = [service.body for service in google.run.services.values() if region in (None, service.region)]
    return {"apiVersion": "serving.knative.dev/v1", "kind": "ServiceList", "metadata": {}, "items": items}


@route("GET", REGIONAL, SERVICES + r"/([^/]+)")
def get_service(google, request, project, name):
    need_api(google, "run.googleapis.com")
    return take_service(google, name).body


def check_body(google, body):
    spec = body["spec"]["template"]["spec"]
    account = spec.get("serviceAccountName")
    if account and account not in google.apis["accounts"]:
        raise ApiError(400, f"Service account {account} does not exist.")
    image = spec["containers"][0]["image"]
    package, _, tag = image.rpartition(":")
    if package.split("/")[0].endswith("-docker.pkg.dev"):
        region, project, repository, name = package.replace("-docker.pkg.dev", "").split("/")
        if f"projects/{project}/locations/{region}/repositories/{repository}/packages/{name}/tags/{tag}" not in google.apis["tags"]:
            raise ApiError(400, f"Image '{image}' not found.")
    for volume in spec.get("volumes", []):
        if "csi" in volume and volume["csi"]["volumeAttributes"]["bucketName"] not in google.storage.buckets:
            raise ApiError(400, f"bucket {volume['csi']['volumeAttributes']['bucketName']} does not exist")


@route("POST", REGIONAL, SERVICES)
def create_service(google, request, project):
    need_api(google, "run.googleapis.com")
    body = request.json()
    name = body["metadata"]["name"]
    if name in google.run.services:
        raise ApiError(409, f"Resource '{name}' already exists.")
    check_body(google, body)
    body["metadata"].update(generation=1, resourceVersion="1", uid="1", creationTimestamp=now(), namespace=PROJECT_NUMBER)
    body["metadata"].setdefault("labels", {})["cloud.googleapis.com/location"] = request.host.split("-run.")[0]
    body["spec"].setdefault("traffic", [{"latestRevision": True, "percent": 100}])
    service = google.run.services[name] = Service(google.run, body, request.host.split("-run.")[0])
    new_revision(google, service)
    return body


@route("PUT", REGIONAL, SERVICES + r"/([^/]+)")
def replace_service(google, request, project, name):
    service, body = take_service(google, name), request.json()
    check_body(google, body)
    if body["metadata"].get("resourceVersion", service.body["metadata"]["resourceVersion"]) != service.body["metadata"]["resourceVersion"]:
        raise ApiError(409, "Conflict for resource: version was not current")
    old = service.body
    generation = old["metadata"]["generation"] + 1
    body["metadata"].update(generation=generation, resourceVersion=str(generation), uid="1", namespace=PROJECT_NUMBER)
    body["metadata"].setdefault("labels", {})["cloud.googleapis.com/location"] = service.region
    same = json.dumps(old["spec"]["template"], sort_keys=True) == json.dumps(body["spec"]["template"], sort_keys=True)
    service.body = body
    if same:  # service-level changes (scaling, traffic) make no revision
        body["status"] = {**old["status"], "observedGeneration": generation}
        route_traffic(service)
    else:
        new_revision(google, service)
    return body


def route_traffic(service):
    """A pinned revision (rollback), or again the latest, becomes the one that serves."""
    target = service.body["spec"].get("traffic", [{"latestRevision": True, "percent": 100}])[0]
    names = [name for name, _ in service.revisions]
    wanted = len(names) - 1 if target.get("latestRevision") else names.index(target["revisionName"])
    service.body["status"]["traffic"] = [{**target, "revisionName": names[wanted]}]
    if wanted != service.current % len(names):
        service.current = wanted
        if service.front:
            service.replace()


@route("DELETE", REGIONAL, SERVICES + r"/([^/]+)")
def delete_service(google, request, project, name):
    service = take_service(google, name)
    del google.run.services[name]
    google.apis["policies"].pop(service.resource, None)
    service.close()
    return {"kind": "Status", "status": "Success"}


@route("GET", REGIONAL, r"/apis/serving\.knative\.dev/v1/namespaces/([^/]+)/revisions")
def list_revisions(google, request, project):
    wanted = re.search(r"serving\.knative\.dev/service ?= ?([^,]+)", request.argument("labelSelector", ""))
    items = []
    for service in google.run.services.values():
        if wanted and service.name != wanted[1]:
            continue
        for number, (name, spec) in enumerate(service.revisions):
            items.append({"apiVersion": "serving.knative.dev/v1", "kind": "Revision", "spec": spec,
                          "metadata": {"name": name, "namespace": PROJECT_NUMBER, "creationTimestamp": f"2026-01-01T00:{number:02d}:00Z",
                                       "labels": {**service.labels[name], "serving.knative.dev/service": service.name, "cloud.googleapis.com/location": service.region}},
                          "status": {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": now()}]}})
    return {"apiVersion": "serving.knative.dev/v1", "kind": "RevisionList", "metadata": {}, "items": items}
