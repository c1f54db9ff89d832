"""Cloud Storage of the fake, with true checksums: a folder per bucket, so that a container can mount it."""
import base64
import ctypes
import functools
import hashlib
import json
import pathlib
import re
import shutil
import subprocess
import tempfile
import urllib.parse

from fake_google import ApiError, Reply, route

CRC_SOURCE = """#include <stddef.h>
unsigned crc32c(const unsigned char* p, size_t n) {
  static unsigned table[256]; unsigned c = ~0u;
  if (!table[1]) for (unsigned i = 0; i < 256; ++i) { unsigned r = i; for (int k = 0; k < 8; ++k) r = r >> 1 ^ (r & 1 ? 0x82F63B78u : 0); table[i] = r; }
  while (n--) c = table[(c ^ *p++) & 255] ^ c >> 8;
  return ~c;
}"""


@functools.cache
def crc_library():
    """The standard library has no CRC-32C and a loop in Python would take a minute on a small model."""
    with tempfile.TemporaryDirectory() as folder:
        library = pathlib.Path(folder) / "crc32c.so"
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-x", "c", "-", "-o", library], input=CRC_SOURCE.encode(), check=True)
        loaded = ctypes.CDLL(str(library))
    loaded.crc32c.restype = ctypes.c_uint
    loaded.crc32c.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
    return loaded


def crc32c(data):
    return base64.b64encode(crc_library().crc32c(data, len(data)).to_bytes(4, "big")).decode()


READERS = ("roles/storage.objectViewer", "roles/storage.objectUser", "roles/storage.objectAdmin", "roles/storage.admin")


def holds(condition, bucket, name):
    """Whether a binding's condition is met by an object or, without a name, by the bucket: alternatives of the two forms that are used here."""
    if not condition:
        return True
    for part in condition["expression"].split(" || "):
        begins = re.fullmatch(r'resource\.name\.startsWith\("([^"]*)"\)', part)
        if part == 'resource.type == "storage.googleapis.com/Bucket"':
            if name is None:
                return True
        elif not begins:
            raise AssertionError(f"the fake does not know the condition {part}")
        elif name is not None and f"projects/_/buckets/{bucket}/objects/{name}".startswith(begins[1]):
            return True
    return False


class Storage:
    def __init__(self, folder, policies):
        self.folder, self.policies = folder, policies
        self.buckets, self.objects, self.uploads = {}, {}, {}
        self.generation = 1000

    def may_read(self, bucket, name, account):
        """Whether a service account may read an object; without a name, whether it may list the bucket."""
        member = f"serviceAccount:{account}"
        return any(binding["role"] in READERS and member in binding["members"] and holds(binding.get("condition"), bucket, name)
                   for binding in self.policies.get(f"b/{bucket}", {}).get("bindings", []))

    def path(self, bucket, name):
        return self.folder / bucket / name

    def put(self, bucket, name, data, content_type="application/octet-stream", composed=False, metadata=None):
        self.generation += 1
        path = self.path(bucket, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(path.name + ".new")
        fresh.write_bytes(data)
        fresh.rename(path)
        link = f"https://storage.googleapis.com/download/storage/v1/b/{bucket}/o/{urllib.parse.quote(name, '')}"
        self.objects[bucket, name] = {
            "kind": "storage#object", "id": f"{bucket}/{name}/{self.generation}", "bucket": bucket, "name": name, "size": str(len(data)),
            "generation": str(self.generation), "metageneration": "1", "contentType": content_type, "storageClass": "STANDARD",
            "crc32c": crc32c(data), "mediaLink": f"{link}?generation={self.generation}&alt=media", "etag": str(self.generation),
            "timeCreated": "2026-01-01T00:00:00.000Z", "updated": "2026-01-01T00:00:00.000Z"}
        if metadata:
            self.objects[bucket, name]["metadata"] = metadata
        if composed:
            self.objects[bucket, name]["componentCount"] = 2
        else:
            self.objects[bucket, name]["md5Hash"] = base64.b64encode(hashlib.md5(data).digest()).decode()
        return self.objects[bucket, name]

    def remove(self, bucket, name):
        del self.objects[bucket, name]
        self.path(bucket, name).unlink()

    def names(self, bucket):
        return sorted(name for owner, name in self.objects if owner == bucket)


def need_bucket(google, bucket):
    if bucket not in google.storage.buckets:
        raise ApiError(404, "The specified bucket does not exist.")
    if google.storage.buckets[bucket].get("foreign"):
        raise ApiError(403, f"caller does not have storage.buckets.get access to the Google Cloud Storage bucket {bucket}.")
    return google.storage.buckets[bucket]


def need_object(google, bucket, name):
    need_bucket(google, bucket)
    if (bucket, name) not in google.storage.objects:
        raise ApiError(404, f"No such object: {bucket}/{name}")
    return google.storage.objects[bucket, name]


@route("GET", "storage", r"/storage/v1/b/([^/]+)")
def get_bucket(google, request, bucket):
    return need_bucket(google, bucket)


@route("GET", "storage", r"/storage/v1/b")
def list_buckets(google, request):
    return {"items": [bucket for bucket in google.storage.buckets.values() if not bucket.get("foreign")]}


@route("GET", "storage", r"/storage/v1/b/([^/]+)/storageLayout")
def get_layout(google, request, bucket):
    return {"bucket": bucket, "location": need_bucket(google, bucket)["location"], "locationType": "region", "hierarchicalNamespace": {"enabled": False}}


@route("GET", "storage", r"/storage/v1/b/([^/]+)/managedFolders")
def list_folders(google, request, bucket):
    need_bucket(google, bucket)
    return {"kind": "storage#managedFolders", "items": []}


@route("POST", "storage", r"/storage/v1/b")
def create_bucket(google, request):
    body = request.json()
    if body["name"] in google.storage.buckets:
        raise ApiError(409, "The requested bucket name is not available. The bucket namespace is shared by all users of the system. "
                            "Please select a different name and try again.")
    google.storage.buckets[body["name"]] = {"kind": "storage#bucket", "id": body["name"], "metageneration": "1", "projectNumber": "424242424242",
                                            "locationType": "region", **body, "location": body.get("location", "US").upper()}
    return google.storage.buckets[body["name"]]


@route("PATCH", "storage", r"/storage/v1/b/([^/]+)")
def update_bucket(google, request, bucket):
    need_bucket(google, bucket).update(request.json())
    return google.storage.buckets[bucket]


@route("DELETE", "storage", r"/storage/v1/b/([^/]+)")
def delete_bucket(google, request, bucket):
    need_bucket(google, bucket)
    if google.storage.names(bucket):
        raise ApiError(409, "The bucket you tried to delete is not empty.")
    del google.storage.buckets[bucket]
    google.apis["policies"].pop(f"b/{bucket}", None)
    shutil.rmtree(google.storage.folder / bucket, ignore_errors=True)
    return Reply(status=204)


@route("GET", "storage", r"/storage/v1/(b/[^/]+)/iam")
def get_bucket_policy(google, request, bucket):
    need_bucket(google, bucket[2:])
    return {"kind": "storage#policy", "resourceId": bucket, "version": 1, "etag": "CAE=", **google.apis["policies"].get(bucket, {})}


@route("PUT", "storage", r"/storage/v1/(b/[^/]+)/iam")
def set_bucket_policy(google, request, bucket):
    from fake_apis import check_members
    check_members(google, request.json())
    if any("condition" in binding for binding in request.json().get("bindings", [])) and request.json().get("version") != 3:
        raise ApiError(400, "A policy with conditions must have version 3.")
    google.apis["policies"][bucket] = request.json()
    return get_bucket_policy(google, request, bucket)


@route("GET", "storage", r"/storage/v1/b/([^/]+)/o")
def list_objects(google, request, bucket):
    need_bucket(google, bucket)
    prefix, delimiter = request.argument("prefix", ""), request.argument("delimiter")
    items, folders = [], set()
    for name in google.storage.names(bucket):
        if not name.startswith(prefix):
            continue
        rest = name[len(prefix):]
        if delimiter and delimiter in rest:
            folders.add(prefix + rest.split(delimiter)[0] + delimiter)
        else:
            items.append(google.storage.objects[bucket, name])
    return {"kind": "storage#objects", "items": items, "prefixes": sorted(folders)}


@route("GET", "storage", r"(?:/download)?/storage/v1/b/([^/]+)/o/([^/]+)")
def get_object(google, request, bucket, name):
    item = need_object(google, bucket, name)
    return download(google, request, bucket, name) if request.argument("alt") == "media" else item


@route("GET", "storage", r"/([a-z0-9][-a-z0-9_.]+)/(.+)")
def get_media(google, request, bucket, name):
    need_object(google, bucket, name)
    return download(google, request, bucket, name)


def download(google, request, bucket, name):
    data = google.storage.path(bucket, name).read_bytes()
    found = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range") or "")
    if not found:
        return Reply(data, 200, {"Content-Type": "application/octet-stream"})
    first = int(found[1])
    last = min(int(found[2] or len(data) - 1), len(data) - 1)
    if first >= len(data):
        raise ApiError(416, "The requested range cannot be satisfied.")
    return Reply(data[first:last + 1], 206, {"Content-Range": f"bytes {first}-{last}/{len(data)}", "Content-Type": "application/octet-stream"})


@route("DELETE", "storage", r"/storage/v1/b/([^/]+)/o/([^/]+)")
def delete_object(google, request, bucket, name):
    need_object(google, bucket, name)
    google.storage.remove(bucket, name)
    return Reply(status=204)


@route("POST", "storage", r"(?:/resumable)?/upload/storage/v1/b/([^/]+)/o")
def upload(google, request, bucket):
    need_bucket(google, bucket)
    if request.argument("uploadType") == "resumable":
        number = str(len(google.storage.uploads) + 1)
        google.storage.uploads[number] = {"bucket": bucket, "name": request.argument("name") or request.json().get("name"), "data": bytearray(),
                                          "metadata": request.json().get("metadata")}
        return Reply({}, 200, {"Location": f"https://storage.googleapis.com{request.path}?uploadType=resumable&upload_id={number}"})
    boundary = re.search(r"boundary=['\"]?([^'\";]+)", request.headers["Content-Type"])[1].encode()
    parts = request.body.split(b"--" + boundary)
    header = json.loads(parts[1].split(b"\n\n", 1)[-1] if b"\r\n\r\n" not in parts[1] else parts[1].split(b"\r\n\r\n", 1)[1])
    media = re.split(rb"\r?\n\r?\n", parts[2], maxsplit=1)[1]
    media = media[:-2] if media.endswith(b"\r\n") else media.removesuffix(b"\n")
    return google.storage.put(bucket, header.get("name") or request.argument("name"), media, metadata=header.get("metadata"))


@route("PUT", "storage", r"(?:/resumable)?/upload/storage/v1/b/([^/]+)/o")
def upload_part(google, request, bucket):
    upload = google.storage.uploads.get(request.argument("upload_id"))
    if upload is None:
        raise ApiError(404, "No such upload.")
    found = re.fullmatch(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)", request.headers.get("Content-Range", "bytes */*"))
    if found[1]:
        del upload["data"][int(found[1]):]
        upload["data"] += request.body
    have = len(upload["data"])
    if found[3] != "*" and have == int(found[3]):
        return google.storage.put(bucket, upload["name"], bytes(upload["data"]), metadata=upload["metadata"])
    return Reply(b"", 308, {"Range": f"bytes=0-{have - 1}"} if have else {})


@route("POST", "storage", r"/storage/v1/b/([^/]+)/o/([^/]+)/compose")
def compose(google, request, bucket, name):
    sources = request.json()["sourceObjects"]
    data = b"".join(google.storage.path(bucket, need_object(google, bucket, source["name"])["name"]).read_bytes() for source in sources)
    return google.storage.put(bucket, name, data, composed=True)
