"""The real gcloud without its start-up, most of a second a call: a server that has imported it forks for every call.

`QuickGcloud` puts a folder with a program `gcloud` before all others; that program hands its arguments, environment, folder and open files
to the server and ends as the fork ends. A fork begins where gcloud's own start script would: nothing of one call is left for the next.
"""
import array
import atexit
import contextlib
import gc
import importlib
import json
import os
import pathlib
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

HEAD_BYTES = 8


def send_call(path):
    """The program `gcloud`: one call to the server."""
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(path)
        call = json.dumps([sys.argv[1:], dict(os.environ), os.getcwd()]).encode()
        server.sendmsg([len(call).to_bytes(HEAD_BYTES, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))])
        server.sendall(call)
        status = server.recv(1)
    return status[0] if status else 1


def take_call(client):
    head, ancillary, _, _ = client.recvmsg(HEAD_BYTES, socket.CMSG_SPACE(3 * 4))
    files = array.array("i")
    for _, _, data in ancillary:
        files.frombytes(data)
    body, size = b"", int.from_bytes(head, "big")
    while len(body) < size:
        piece = client.recv(size - len(body))
        if not piece:
            raise ConnectionError
        body += piece
    return list(files), *json.loads(body)


def work(files, arguments, environment, folder, main, reports):
    """The fork that is gcloud. Tells what it had to import."""
    os.setpgid(0, 0)  # with the processes that it starts
    for number, file in enumerate(files):
        os.dup2(file, number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["gcloud", *arguments]
    sys.stdin, sys.stdout, sys.stderr = (open(number, mode, encoding="utf-8") for number, mode in enumerate("rww"))
    known = set(sys.modules)
    try:
        status = main() or 0
    except SystemExit as exit_call:
        status = exit_call.code or 0
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    reports.send(json.dumps([name for name in sys.modules if name not in known]).encode())
    os._exit(status)  # taking the interpreter apart would be half of the time


def answer_call(client, main, reports, server_ended):
    files, *call = take_call(client)
    ended, end = os.pipe()
    os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(end)
    worker = os.fork()
    if worker == 0:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        client.close()
        work(files, *call, main, reports)
    for file in files:
        os.close(file)
    ready, _, _ = select.select([ended, client, server_ended], [], [])
    if ended not in ready:  # the client was killed, or the test is over; uploads have processes of their own
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.setpgid(worker, worker)
        os.killpg(worker, signal.SIGTERM)
    code = os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])
    with contextlib.suppress(OSError):
        client.sendall(bytes([code if code >= 0 else 128 - code]))


def learn(names):
    """Imports what a call needed, so that the next one finds it."""
    for name in names:
        with contextlib.suppress(Exception):
            importlib.import_module(name)


def serve(file, root):
    sys.path[:0] = [f"{root}/lib/third_party", f"{root}/lib"]
    gcloud = importlib.import_module("googlecloudsdk.gcloud_main")
    news, reports = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    server_ended, lives = os.pipe()  # nobody but this process keeps the second end open
    with socket.socket(fileno=int(file)) as listener:
        while True:
            ready, _, _ = select.select([listener, news, 0], [], [])
            if 0 in ready:  # the test has ended without a word
                return
            if news in ready:
                learn(json.loads(news.recv(1 << 20)))
            if listener not in ready:
                continue
            client, _ = listener.accept()
            gc.freeze()
            if os.fork() == 0:
                listener.close()
                os.close(lives)
                answer_call(client, gcloud.main, reports, server_ended)
                os._exit(0)
            client.close()


class QuickGcloud:
    """Runs the server while it lives; `path` is the PATH that finds it."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="commissure-gcloud-"))
        found = subprocess.run(["gcloud", "info", "--format=value(basic.python_location,installation.sdk_root)"], check=True, capture_output=True, text=True)
        python, root = found.stdout.split()
        path = str(self.folder / "socket")
        program = self.folder / "gcloud"
        program.write_text(f"#!{sys.executable} -SE\nimport sys\nsys.path.append({str(pathlib.Path(__file__).parent)!r})\n"
                           f"import quick_gcloud\nsys.exit(quick_gcloud.send_call({path!r}))\n")
        program.chmod(0o755)
        environment = {**os.environ, "CLOUDSDK_ROOT_DIR": root, "CLOUDSDK_PYTHON": python, "QUICK_GCLOUD": str(self.folder)}
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen(64)
            file = listener.fileno()
            self.server = subprocess.Popen([python, "-S", __file__, str(file), root], env=environment, pass_fds=[file], stdin=subprocess.PIPE)
        self.path = f"{self.folder}:{os.environ['PATH']}"

    def calls(self):
        """The processes of calls that still run."""
        running, mark = [], f"QUICK_GCLOUD={self.folder}".encode()
        for process in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it has ended
                if int(process.name) != self.server.pid and mark in (process / "environ").read_bytes().split(b"\0"):
                    running.append(int(process.name))
        return running

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.kill()
        self.server.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


if __name__ == "__main__":
    serve(*sys.argv[1:])
