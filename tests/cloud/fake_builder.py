"""Runs the shell steps of a build as Cloud Build would: one after the other in a shared /workspace, each with its own variables and secrets.

Only steps with a shell run, on this machine instead of in their image: what Docker would do is left to `make try-image`.
"""
import pathlib
import shutil
import subprocess
import tempfile

STEP_SECONDS = 300


class Builder:
    """`environment` is all that a step inherits: PATH with what its image has, and where the services are that it reaches by name."""

    def __init__(self, google, environment):
        self.google, self.environment = google, environment
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="commissure-build-"))

    def close(self):
        shutil.rmtree(self.folder, ignore_errors=True)

    def workspace(self, build):
        return self.folder / build["id"]

    def run(self, build):
        """What went wrong, or None; and all that the steps said."""
        self.workspace(build).mkdir()
        said = ""
        for number, step in enumerate(build["steps"]):
            if step.get("entrypoint") != "bash" or step.get("id") == "bake":
                continue
            done = subprocess.run(["bash", *map(self.resolver(build), step["args"])], cwd=self.workspace(build), env=self.variables(build, step), capture_output=True, text=True,
                                  timeout=STEP_SECONDS)
            said += "".join(f"Step #{number} - \"{step['id']}\": {line}\n" for line in (done.stdout + done.stderr).splitlines())
            if done.returncode != 0:
                return f"build step {number} \"{step['name']}\" failed: step exited with non-zero status: {done.returncode}", said
        return None, said

    def resolver(self, build):
        def resolve(text):
            return text.replace("$$", "$").replace("/workspace", str(self.workspace(build)))
        return resolve

    def variables(self, build, step):
        variables = dict(self.environment, HOME=str(self.workspace(build)))
        variables.update(entry.replace("$$", "$").split("=", 1) for entry in step.get("env", []))
        for secret in build.get("availableSecrets", {}).get("secretManager", []):
            if secret["env"] in step.get("secretEnv", []):
                name = secret["versionName"].split("/")[3]
                account = build["serviceAccount"].rsplit("/", 1)[1]
                variables[secret["env"]] = self.google.run.secret({"name": name, "key": "latest"}, account)
        return variables
