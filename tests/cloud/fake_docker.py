"""Programs that stand in for docker, podman and buildah: they build nothing, write down how they were called, and their push tells the fake of Google.

A login keeps its password in a file, as the real ones do without a credential helper; a push shows that password to the registry.
"""
import json
import os
import pathlib
import shutil
import sys
import tempfile
import urllib.error
import urllib.request

from fake_apis import add_image
from fake_google import route


@route("POST", "registry", r"/push/(.+)")
def push(google, request, image):
    """What a registry would do; that it asks for a token is the fake's own business."""
    add_image(google, image)
    return {}


def play(tool, folder):
    """The program itself."""
    folder, words = pathlib.Path(folder), sys.argv[1:]
    with open(folder / "calls", "a") as log:
        log.write(json.dumps([tool, *words]) + "\n")
    fails = json.loads((folder / "fails").read_text()).get(f"{tool} {words[0]}")
    if fails:
        print(fails, file=sys.stderr)
        return 1
    auth = folder / "auth"
    if words[0] == "login":
        auth.write_text(sys.stdin.read())
    if words[0] == "logout":
        auth.unlink()
    if words[0] != "push":
        return 0
    proxy = urllib.request.ProxyHandler({"http": f"http://127.0.0.1:{os.environ['CLOUDSDK_PROXY_PORT']}"})
    request = urllib.request.Request(f"http://registry.googleapis.com/push/{words[-1]}", b"{}", {"Authorization": f"Bearer {auth.read_text()}"})
    try:
        return 0 if urllib.request.build_opener(proxy).open(request).status == 200 else 1
    except urllib.error.HTTPError as error:
        print(f"denied: {error}", file=sys.stderr)
        return 1


class Builders:
    """A folder for PATH with some of the programs. `fails` says which of their commands fail, with which words."""

    def __init__(self, google):
        self.google, self.folder = google, pathlib.Path(tempfile.mkdtemp(prefix="commissure-builders-"))
        self.fail()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.folder, ignore_errors=True)

    def install(self, *tools):
        for tool in tools:
            program = self.folder / tool
            program.write_text(f"#!{sys.executable} -SE\nimport sys\nsys.path.append({str(pathlib.Path(__file__).parent)!r})\n"
                               f"import fake_docker\nsys.exit(fake_docker.play({tool!r}, {str(self.folder)!r}))\n")
            program.chmod(0o755)

    def fail(self, **fails):
        (self.folder / "fails").write_text(json.dumps({name.replace("_", " "): words for name, words in fails.items()}))

    def calls(self):
        """Since the last time: [tool, word, ...]."""
        log = self.folder / "calls"
        calls = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
        log.unlink(missing_ok=True)
        return calls

    def is_logged_in(self):
        return (self.folder / "auth").exists()

    @property
    def path(self):
        """These programs and gcloud, and no others of this machine."""
        return f"{self.folder}:{self.google.gcloud_path.split(':')[0]}"
