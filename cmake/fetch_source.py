#!/usr/bin/env python3
"""Prints the folder of a library's sources, which come from the Python package index once and stay in the user's cache.

usage: fetch_source.py NAME VERSION SHA256

pip finds and checks the source archive, so its configuration (index, proxy, certificates) counts. pip asks a source archive for its
metadata before it keeps it, which would install the package's build tools; a backend that reads the metadata out of the archive
stands in for them, so that nothing but the archive is downloaded and nothing of it runs.
"""
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile

BACKEND = '''
import email.parser, pathlib, shutil

def prepare_metadata_for_build_wheel(folder, settings=None):
    known = email.parser.HeaderParser().parsestr(pathlib.Path("PKG-INFO").read_text())
    name = f"{known['Name']}-{known['Version']}.dist-info"
    (pathlib.Path(folder) / name).mkdir()
    shutil.copy("PKG-INFO", pathlib.Path(folder) / name / "METADATA")
    return name

def get_requires_for_build_wheel(settings=None):
    return []

def build_wheel(folder, settings=None, metadata=None):
    raise RuntimeError("only the sources are wanted")
'''


def cache_folder():
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return pathlib.Path(base) / "commissure" / "sources"


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def download(name, version, sha256, folder):
    """The archive, as pip fetched and checked it."""
    backend = folder / "backend" / "scikit_build_core"
    backend.mkdir(parents=True)
    (backend / "__init__.py").touch()
    (backend / "build.py").write_text(BACKEND)
    wanted = folder / "wanted.txt"
    wanted.write_text(f"{name}=={version} --hash=sha256:{sha256}\n")
    subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-binary", name,
                    "--no-build-isolation", "--require-hashes", "--dest", folder, "-r", wanted],
                   env={**os.environ, "PYTHONPATH": str(backend.parent)}, check=True, stdout=sys.stderr)
    return next(folder.glob("*.tar.gz"))


def unpack(archive, folder):
    """What lies in the archive's one folder."""
    with tarfile.open(archive) as packed:
        for member in packed.getmembers():
            parts = pathlib.PurePosixPath(member.name).parts
            if member.isfile() and ".." not in parts and not member.name.startswith("/") and len(parts) > 1:
                target = folder.joinpath(*parts[1:])
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(packed.extractfile(member).read())


def fetch(name, version, sha256):
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    archive, sources = folder / f"{name}-{version}.tar.gz", folder / f"{name}-{version}-{sha256[:12]}"
    if sources.is_dir():
        return sources
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        work = pathlib.Path(temporary)
        if not archive.is_file() or digest(archive) != sha256:
            shutil.move(download(name, version, sha256, work), archive)
        (work / "sources").mkdir()
        unpack(archive, work / "sources")
        try:
            (work / "sources").rename(sources)
        except OSError:  # another configure was faster
            assert sources.is_dir()
    return sources


if __name__ == "__main__":
    try:
        print(fetch(*sys.argv[1:]))
    except subprocess.CalledProcessError:
        sys.exit(f"{sys.argv[1]} {sys.argv[2]} could not be fetched: pip failed")
    except (OSError, tarfile.TarError, StopIteration) as error:
        sys.exit(f"{sys.argv[1]} {sys.argv[2]} could not be fetched: {error}")
