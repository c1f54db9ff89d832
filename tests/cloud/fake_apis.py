"""The small APIs of the fake: service usage, projects, IAM, Artifact Registry, Secret Manager, Cloud Build, quotas, logging."""
import base64
import re
import shutil
import ssl
import threading
import time
import urllib.error
import urllib.request

from fake_google import PROJECT_NUMBER, ApiError, Reply, route
from fake_metadata import identity_token

DONE = {"name": "operations/noop.DONE_OPERATION", "done": True, "response": {}}


def new_state():
    return {"enabled": {"serviceusage.googleapis.com", "cloudresourcemanager.googleapis.com"}, "billing": True, "repositories": {},
            "tags": {}, "secrets": {}, "accounts": {}, "policies": {}, "builds": {}, "build_outcome": None, "logs": [], "quotas": {}, "baked": {}, "jobs": {}}


def check_project(google, project):
    if project not in (google.project, PROJECT_NUMBER, "-"):
        raise ApiError(403, f"The caller does not have permission to access projects instance [{project}]")


def need_api(google, name):
    if name not in google.apis["enabled"]:
        raise ApiError(403, f"{name} API has not been used in project {PROJECT_NUMBER} before or it is disabled.", details=[
            {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "SERVICE_DISABLED", "domain": "googleapis.com",
             "metadata": {"service": name, "consumer": f"projects/{PROJECT_NUMBER}"}}])


def take(table, name, what):
    if name not in table:
        raise ApiError(404, f"{what} \"{name}\" not found.")
    return table[name]


# Projects and their services

@route("GET", "cloudresourcemanager", r"/v1/projects/([^/:]+)")
def get_project(google, request, project):
    need_api(google, "cloudresourcemanager.googleapis.com")
    check_project(google, project)
    return {"projectId": google.project, "projectNumber": PROJECT_NUMBER, "name": google.project, "lifecycleState": "ACTIVE"}


@route("GET", "serviceusage", r"/v1/projects/([^/]+)/services")
def list_services(google, request, project):
    check_project(google, project)
    return {"services": [service(name) for name in sorted(google.apis["enabled"])]}


def service(name):
    return {"name": f"projects/{PROJECT_NUMBER}/services/{name}", "config": {"name": name, "title": name}, "state": "ENABLED"}


@route("GET", "serviceusage", r"/v1/projects/([^/]+)/services/([^/:]+)")
def get_service(google, request, project, name):
    return {**service(name), "state": "ENABLED" if name in google.apis["enabled"] else "DISABLED"}


@route("POST", "serviceusage", r"/v1/projects/([^/]+)/services:batchEnable")
def enable_services(google, request, project):
    return enable(google, request.json()["serviceIds"])


@route("POST", "serviceusage", r"/v1/projects/([^/]+)/services/([^/:]+):enable")
def enable_service(google, request, project, name):
    return enable(google, [name])


def enable(google, names):
    if not google.apis["billing"]:
        raise ApiError(400, f"Billing account for project '{PROJECT_NUMBER}' is not found. Billing must be enabled for activation of "
                            f"service(s) '{','.join(names)}' to proceed.", status="FAILED_PRECONDITION",
                       details=[{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "UREQ_PROJECT_BILLING_NOT_FOUND"}])
    google.apis["enabled"].update(names)
    return DONE


# IAM policies of every kind of resource

@route("GET", "(artifactregistry|secretmanager|run|iam)", r"/v1/(.+):getIamPolicy")
@route("POST", "(artifactregistry|secretmanager|run|iam|cloudresourcemanager)", r"/v1/(.+):getIamPolicy")
def get_policy(google, request, resource):
    return google.apis["policies"].get(resource, {"etag": "BwAAAAAAAAA=", "version": 1})


@route("POST", "(artifactregistry|secretmanager|run|iam|cloudresourcemanager)", r"/v1/(.+):setIamPolicy")
def set_policy(google, request, resource):
    policy = request.json()["policy"]
    check_members(google, policy)
    google.apis["policies"][resource] = policy
    return policy


def check_members(google, policy):
    for binding in policy.get("bindings", []):
        for member in binding["members"]:
            account = member.removeprefix("serviceAccount:")
            ours = account.endswith(f"@{google.project}.iam.gserviceaccount.com")
            if account != member and ours and account not in google.apis["accounts"]:
                raise ApiError(400, f"Service account {account} does not exist.")


@route("POST", r"[a-z0-9-]+", r"/v1/(projects/[^:]+):testIamPermissions")
def test_permissions(google, request, resource):
    return {"permissions": request.json()["permissions"]}


# Service accounts

@route("GET", "iam", r"/v1/projects/([^/]+)/serviceAccounts")
def list_accounts(google, request, project):
    need_api(google, "iam.googleapis.com")
    return {"accounts": list(google.apis["accounts"].values())}


@route("GET", "iam", r"/v1/projects/([^/]+)/serviceAccounts/([^/:]+)")
def get_account(google, request, project, email):
    return take(google.apis["accounts"], email, "Service account")


@route("POST", "iam", r"/v1/projects/([^/]+)/serviceAccounts")
def create_account(google, request, project):
    name = request.json()["accountId"]
    if not re.fullmatch(r"[a-z]([-a-z0-9]{4,28}[a-z0-9])", name):
        raise ApiError(400, f"The account ID \"{name}\" does not have a length between 6 and 30.")
    email = f"{name}@{google.project}.iam.gserviceaccount.com"
    if email in google.apis["accounts"]:
        raise ApiError(409, f"Service account {name} already exists within project projects/{project}.")
    google.apis["accounts"][email] = {"name": f"projects/{google.project}/serviceAccounts/{email}", "email": email, "uniqueId": "1",
                                      "projectId": google.project, **request.json().get("serviceAccount", {})}
    return google.apis["accounts"][email]


@route("PATCH", "iam", r"/v1/projects/([^/]+)/serviceAccounts/([^/:]+)")
def update_account(google, request, project, email):
    account = take(google.apis["accounts"], email, "Service account")
    for field in request.json()["updateMask"].split(","):
        field = re.sub("_([a-z])", lambda found: found[1].upper(), field)
        account[field] = request.json()["serviceAccount"][field]
    return account


@route("DELETE", "iam", r"/v1/projects/([^/]+)/serviceAccounts/([^/:]+)")
def delete_account(google, request, project, email):
    take(google.apis["accounts"], email, "Service account")
    del google.apis["accounts"][email]
    return {}


# Artifact Registry

REPOSITORY = r"/v1/(projects/[^/]+/locations/[^/]+/repositories/[^/:]+)"


@route("GET", "artifactregistry", REPOSITORY)
def get_repository(google, request, name):
    need_api(google, "artifactregistry.googleapis.com")
    return take(google.apis["repositories"], name, "Requested entity")


@route("POST", "artifactregistry", r"/v1/(projects/[^/]+/locations/[^/]+)/repositories")
def create_repository(google, request, parent):
    name = f"{parent}/repositories/{request.argument('repositoryId')}"
    if name in google.apis["repositories"]:
        raise ApiError(409, "the repository already exists")
    google.apis["repositories"][name] = {**request.json(), "name": name, "createTime": now()}
    return {"name": f"{parent}/operations/1", "done": True, "response": google.apis["repositories"][name]}


@route("PATCH", "artifactregistry", REPOSITORY)
def update_repository(google, request, name):
    take(google.apis["repositories"], name, "Requested entity").update(request.json())
    return google.apis["repositories"][name]


@route("DELETE", "artifactregistry", REPOSITORY)
def delete_repository(google, request, name):
    take(google.apis["repositories"], name, "Requested entity")
    del google.apis["repositories"][name]
    google.apis["tags"] = {tag: digest for tag, digest in google.apis["tags"].items() if not tag.startswith(name + "/")}
    google.apis["policies"].pop(name, None)
    return {"name": name.split("/repositories/")[0] + "/operations/1", "done": True, "response": {}}


@route("GET", "artifactregistry", REPOSITORY + r"/packages/([^/]+)/tags")
def list_tags(google, request, repository, package):
    need_api(google, "artifactregistry.googleapis.com")
    take(google.apis["repositories"], repository, "Requested entity")
    prefix = f"{repository}/packages/{package}/"
    tags = [{"name": name, "version": f"{prefix}versions/{digest}"} for name, digest in google.apis["tags"].items() if name.startswith(prefix)]
    if not tags:
        raise ApiError(404, "Requested entity was not found.")
    return {"tags": tags}


# Secret Manager

SECRET = r"/v1/projects/[^/]+/secrets/([^/:]+)"


@route("GET", "secretmanager", SECRET)
def get_secret(google, request, name):
    need_api(google, "secretmanager.googleapis.com")
    return {key: value for key, value in take(google.apis["secrets"], name, "Secret").items() if key != "versions"}


@route("GET", "secretmanager", r"/v1/projects/[^/]+/secrets")
def list_secrets(google, request):
    need_api(google, "secretmanager.googleapis.com")
    return {"secrets": [get_secret(google, request, name) for name in google.apis["secrets"]]}


@route("PATCH", "secretmanager", SECRET)
def update_secret(google, request, name):
    take(google.apis["secrets"], name, "Secret").update({field: request.json()[field] for field in request.argument("updateMask").split(",")})
    return get_secret(google, request, name)


@route("POST", "secretmanager", r"/v1/(projects/[^/]+)/secrets")
def create_secret(google, request, parent):
    name = request.argument("secretId")
    if name in google.apis["secrets"]:
        raise ApiError(409, f"Secret [{parent}/secrets/{name}] already exists.")
    google.apis["secrets"][name] = {**request.json(), "name": f"projects/{PROJECT_NUMBER}/secrets/{name}", "versions": []}
    return get_secret(google, request, name)


@route("POST", "secretmanager", SECRET + ":addVersion")
def add_version(google, request, name):
    versions = take(google.apis["secrets"], name, "Secret")["versions"]
    versions.append(base64.b64decode(request.json()["payload"]["data"]))
    return {"name": f"projects/{PROJECT_NUMBER}/secrets/{name}/versions/{len(versions)}", "state": "ENABLED",
            "clientSpecifiedPayloadChecksum": True, "createTime": now()}


@route("GET", "secretmanager", SECRET + "/versions")
def list_versions(google, request, name):
    versions = take(google.apis["secrets"], name, "Secret")["versions"]
    return {"versions": [{"name": f"projects/{PROJECT_NUMBER}/secrets/{name}/versions/{i + 1}", "state": "ENABLED", "createTime": now()}
                         for i in range(len(versions))]}


@route("DELETE", "secretmanager", SECRET)
def delete_secret(google, request, name):
    take(google.apis["secrets"], name, "Secret")
    del google.apis["secrets"][name]
    google.apis["policies"].pop(f"projects/{google.project}/secrets/{name}", None)
    return {}


# Cloud Build: runs the shell steps where the fake has a builder; else, and for Docker's, does what the steps of our kinds of build would leave behind

BUILDS = r"/v1/projects/([^/]+)/locations/([^/]+)/builds"


@route("POST", "cloudbuild", BUILDS)
def create_build(google, request, project, region):
    need_api(google, "cloudbuild.googleapis.com")
    build = request.json()
    number = f"{len(google.apis['builds']) + 1:08d}-0000-4000-8000-000000000000"
    build.update(id=number, projectId=google.project, createTime=now(), logUrl=f"https://console.cloud.google.com/cloud-build/builds/{number}",
                 status="QUEUED", name=f"projects/{PROJECT_NUMBER}/locations/{region}/builds/{number}")
    source = build.get("source", {}).get("storageSource")
    if source and (source["bucket"], source["object"]) not in google.storage.objects:
        raise ApiError(404, f"could not resolve source: gs://{source['bucket']}/{source['object']}")
    google.apis["builds"][number] = build
    if google.builder:
        build["status"] = "WORKING"
        threading.Thread(target=run_build, args=(google, build), daemon=True).start()
    return {"name": f"operations/build/{google.project}/{number}", "metadata": {
        "@type": "type.googleapis.com/google.devtools.cloudbuild.v1.BuildOperationMetadata", "build": build}}


@route("GET", "cloudbuild", BUILDS + r"/([^/]+)")
def get_build(google, request, project, region, number):
    build = take(google.apis["builds"], number, "Build")
    if build["status"] != "QUEUED":
        return build
    outcome = google.apis["build_outcome"]
    finish_build(google, build, outcome(build) if outcome else None)
    return build


def run_build(google, build):
    """In a thread of its own: the steps ask the fake, too."""
    problem, said = google.builder.run(build)
    said += f"ERROR\nERROR: {problem}\n" if problem else ""
    with google.lock:
        bucket, _, folder = build["logsBucket"].removeprefix("gs://").partition("/")
        google.storage.put(bucket, f"{folder}/log-{build['id']}.txt".lstrip("/"), said.encode(), "text/plain")
        finish_build(google, build, problem)


def finish_build(google, build, problem):
    build.update(finishTime=now(), status="FAILURE" if problem else "SUCCESS")
    if problem:
        build.update(statusDetail=problem, failureInfo={"type": "USER_BUILD_STEP", "detail": problem})
        return
    substitutions = build.get("substitutions", {})
    for image in build.get("images", []):
        uri = re.sub(r"\$\{?(_[A-Z_]+)\}?", lambda found: substitutions.get(found[1], ""), image)
        add_image(google, uri)
        bake(google, build, uri)


def bake(google, build, uri):
    """What a build with a step `bake` copied into its image: what the step before brought or, where no step runs, the bucket's, as for a model of the person's machine."""
    for step in build["steps"]:
        if step.get("id") == "bake":
            target = dict(entry.split("=", 1) for entry in step["env"])["TARGET"].removeprefix("gs://")
            folder = google.folder / "images" / build["id"]
            shutil.copytree(google.builder.workspace(build) / "model" if google.builder else google.storage.folder / target, folder)
            google.apis["baked"][uri] = folder


def add_image(google, uri):
    host, project, repository, package_tag = uri.split("/", 3)
    package, tag = package_tag.split(":")
    name = f"projects/{project}/locations/{host.removesuffix('-docker.pkg.dev')}/repositories/{repository}/packages/{package}"
    google.apis["tags"][f"{name}/tags/{tag}"] = "sha256:" + f"{abs(hash(uri)):064x}"[:64]


# Cloud Scheduler: its clock is `run_job`

JOBS = r"/v1/(projects/[^/]+/locations/[^/]+/jobs)"


@route("GET", "cloudscheduler", JOBS + r"/([^/:]+)")
def get_job(google, request, parent, name):
    need_api(google, "cloudscheduler.googleapis.com")
    return take(google.apis["jobs"], name, "Job")


@route("POST", "cloudscheduler", JOBS)
def create_job(google, request, parent):
    body = request.json()
    name = body["name"].rpartition("/")[2]
    if name in google.apis["jobs"]:
        raise ApiError(409, f"Job [{body['name']}] already exists.")
    account = body["httpTarget"].get("oidcToken", {}).get("serviceAccountEmail")
    if account and account not in google.apis["accounts"]:
        raise ApiError(404, f"Service account {account} does not exist.")
    google.apis["jobs"][name] = {**body, "state": "ENABLED"}
    return google.apis["jobs"][name]


@route("PATCH", "cloudscheduler", JOBS + r"/([^/:]+)")
def update_job(google, request, parent, name):
    job = take(google.apis["jobs"], name, "Job")
    for path in request.argument("updateMask").split(","):
        key = path.split(".")[0]
        job[key] = {**job[key], **request.json()[key]} if isinstance(job.get(key), dict) else request.json()[key]
    return job


@route("DELETE", "cloudscheduler", JOBS + r"/([^/:]+)")
def delete_job(google, request, parent, name):
    take(google.apis["jobs"], name, "Job")
    del google.apis["jobs"][name]
    return {}


def run_job(google, name):
    """What the clock does once: the job's request, with a token of its account. The HTTP status."""
    target = google.apis["jobs"][name]["httpTarget"]
    request = urllib.request.Request(target["uri"], method=target["httpMethod"])
    if "oidcToken" in target:
        token = identity_token(google.run, target["oidcToken"]["serviceAccountEmail"], target["oidcToken"]["audience"])
        request.add_header("Authorization", f"Bearer {token}")
    try:
        return urllib.request.urlopen(request, timeout=60, context=ssl.create_default_context(cafile=google.authority.ca)).status
    except urllib.error.HTTPError as error:
        return error.code


# Quotas and logs

@route("GET", "cloudquotas", r"/v1(?:beta)?/projects/[^/]+/locations/global/services/run\.googleapis\.com/quotaInfos/([^/]+)")
def get_quota(google, request, quota):
    value = google.apis["quotas"].get(quota)
    details = [] if value is None else [{"dimensions": {"region": region}, "details": {"value": str(amount)}} for region, amount in value.items()]
    return {"name": request.path, "quotaId": quota, "dimensionsInfos": details}


@route("POST", "logging", r"/v2/entries:list")
def list_entries(google, request):
    return {"entries": google.apis["logs"] + google.run.log_entries(request.json().get("filter", ""))}


def now():
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
