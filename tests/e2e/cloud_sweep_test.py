#!/usr/bin/env python3
"""Every call that `up` makes of Google goes wrong once, and every change is a moment at which `up` is stopped; each time the next `up` goes on, until all is there.

Mishaps are an error of Google's (403, 429, 500, 503), a connection that breaks before the call took effect and one that breaks after. gcloud itself repeats many such calls; where it gives up,
`up` must name the step, say Google's words and a cure, in one line. The containers are not started here: cloud_test.py does.

A test run makes the pass `turns`, in which each call meets one kind of mishap. cloud_sweep_test.py PASS ..., or `all` (`make sweep`, half an hour): every call meets that kind; every change is
met by Ctrl-C (`int`) or kill -9 (`kill`) before (`cut`) or after its effect (`lost`).
"""
import collections
import os
import re
import signal
import subprocess
import sys
import time

from cloud_person import Person, fake_cloud
from harness import wait_until

from fake_google import CUT, LOST, ApiError

STATES = {403: "PERMISSION_DENIED", 429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE"}
WORDS = {403: "The caller does not have permission", 429: "Quota exceeded for quota metric 'Requests per minute'", 500: "Internal error encountered", 503: "The service is currently unavailable"}
MISHAPS = (403, 429, 500, 503, CUT, LOST)
CURES = {403: ("you lack a role; an owner of the project grants it: gcloud projects add-iam-policy-binding demo-project --member=user:YOU --role=roles/", "belongs to somebody else",
               "the build goes on, you may not read its log", "if it is right you lack a role: gcloud projects add-iam-policy-binding demo-project --member=user:YOU --role=roles/"),
         429: ("a quota is used up; see https://console.cloud.google.com/iam-admin/quotas?project=demo-project",),
         500: ("Google's service has a problem now; run the same command again",), 503: ("Google's service has a problem now; run the same command again",),
         CUT: ("check the network and proxy of this machine, then run the same command again",),
         LOST: ("check the network and proxy of this machine, then run the same command again", "run the same command again")}
# Which step makes a change; reads belong to the step `read` or to the one whose call looks first.
STEPS = (("serviceusage", "apis"), ("artifactregistry.*repositories$", "repository"), ("artifactregistry.*IamPolicy", "access"), ("(POST|PATCH) storage.*/b(/[a-z-]+)?$", "bucket"),
         ("POST iam.*serviceAccounts [a-z-]+$", "accounts"), ("secretmanager.*(secrets|addVersion)$", "secrets"), ("secretmanager.*setIamPolicy", "access"), ("PUT storage.*/iam$", "access"),
         ("cloudbuild.*builds$", "image"), ("upload/.*/o$", "image|weights"), ("POST [a-z0-9-]*run.*/services sweep-[abc]$", "stage [abc]"), ("cloudscheduler", "schedule"), ("run.*setIamPolicy", "stage [abc]|schedule"))


def call_name(name, body):
    """One name for what differs from run to run, such as ids of builds; accounts and services are made one after the other under one path."""
    made = re.search(rb'"(?:accountId|name)": ?"(sweep-[a-z]+)"', body) if name.startswith("POST") else None
    return re.sub(r"[0-9a-f-]*\d[0-9a-f-]{5,}|[\d.]{3,}", "#", name) + (f" {made[1].decode()}" if made else "")


def is_change(name):
    return not re.match("GET|HEAD", name) and not name.endswith((":getIamPolicy", ":testIamPermissions", "entries:list"))


def says_why(kind, name, line):
    """Whether it names the step, Google's words and a cure."""
    step = re.match("commissure up: step ([a-z]+( [a-z])?): ", line)
    if re.search("run.*:[gs]etIamPolicy", name) and "Setting IAM policy failed" in line:  # gcloud only warns of it, without the cause
        return step and re.fullmatch("stage [abc]", step[1]) and "others may not call it yet: run the same command again" in line
    wanted = next((steps for pattern, steps in STEPS if is_change(name) and re.search(pattern, name)), None)
    return step and (wanted is None or re.fullmatch(wanted, step[1])) and (kind not in WORDS or (WORDS[kind] if "/logs/" not in name or kind != 403 else "can only stream logs") in line) and any(cure in line for cure in CURES[kind])


def person(google):
    me = Person(google, name="sweep", access="key", warm_schedule="0 8 * * 1-5")
    me.environment["COMMISSURE_API_KEY"] = "a-key"
    google.apis["enabled"] -= {"artifactregistry.googleapis.com", "run.googleapis.com"}
    return me


def is_whole(google, me):
    """Nothing is missing and nothing is there twice."""
    before = len(google.calls)
    assert "Nothing to change." in me.up("--no-wake")[1] and google.changes(before) == [], google.changes(before)
    me.run("down", "--all", "--yes")
    left = [name for table in ("repositories", "secrets", "accounts", "tags", "jobs") for name in google.apis[table] if me.fields["name"] in name]
    assert not left and not google.run.services and not google.storage.buckets, (left, google.run.services, google.storage.buckets)


def mishaps(google, kinds):
    """Calls meet the kinds in turns, each once."""
    me, met, failed = person(google), {}, collections.Counter()
    fresh, problems = [], []

    def mishap(name, body):
        name = call_name(name, body)
        if name in met:
            return None
        kind = met[name] = kinds[len(met) % len(kinds)]
        fresh.append((kind, name))
        return ApiError(kind, WORDS[kind], status=STATES[kind]) if kind in WORDS else kind

    google.mishap = mishap
    for n_runs in range(1, 200):
        fresh.clear()
        process = me.start("up", "--no-wake", "--source", str(me.source))
        try:
            _, err = process.communicate(timeout=400)
        except subprocess.TimeoutExpired:
            process.terminate()
            raise AssertionError((process.communicate()[1], fresh)) from None
        if process.returncode == 0:
            break
        assert process.returncode == 1 and fresh, err
        line = err.strip().splitlines()[-1]
        blamed = next(((kind, name) for kind, name in reversed(fresh) if says_why(kind, name, line)), None)  # reads go out several at once
        failed.update(blamed[:1] if blamed else ())
        problems += [] if blamed and "Traceback" not in err else [(line, list(fresh))]
    google.mishap = None
    assert process.returncode == 0, err
    assert not problems, "\n".join(map(str, problems))
    is_whole(google, me)
    n_changes = sum(map(is_change, met))
    assert n_changes >= 25 and len(met) >= 48, (n_changes, sorted(met))
    print(f"{len(met)} calls, {n_changes} of them changes, met {', '.join(map(str, kinds))}: {sum(failed.values())} times `up` failed and said why, {n_runs} runs in all", flush=True)


def blows(google, blow, mishap):
    """`up` is stopped at every change that it makes, before or after it took effect, as Ctrl-C does it or as kill -9 does."""
    me, met = person(google), set()

    def strike(name, body):
        name = call_name(name, body)
        if name in met or not is_change(name) or not process:
            return None
        met.add(name)
        os.killpg(process[0].pid, blow)
        return mishap

    process = []
    google.mishap = strike
    for _ in range(200):
        n_before = len(met)
        with google.lock:  # no call before the process is known
            process[:] = [me.start("up", "--no-wake", "--source", str(me.source), start_new_session=True)]
        _, err = process[0].communicate(timeout=400)
        wait_until(lambda: not google.gcloud.calls(), 30, "no gcloud goes on")
        if process[0].returncode == 0:
            break
        assert len(met) > n_before and process[0].returncode in (1, -signal.SIGKILL), (process[0].returncode, err)
        assert process[0].returncode == -signal.SIGKILL or "interrupted; the same command goes on from here" in err, err
    google.mishap = None
    assert process[0].returncode == 0, err
    is_whole(google, me)
    assert len(met) >= 25, sorted(met)
    print(f"stopped at {len(met)} changes by {blow.name}: {mishap}", flush=True)


def is_alive(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def nothing_goes_on(google):
    """Stopped by a signal that it alone gets, the program ends gcloud and what that started."""
    me = Person(google, name="alone")
    gcloud, helper = me.folder / "gcloud", me.folder / "helper"
    gcloud.write_text(f"#!/bin/sh\nsleep 300 &\necho $! >{helper}\nwait\n")
    gcloud.chmod(0o755)
    me.environment["PATH"] = f"{me.folder}:{os.environ['PATH']}"
    process = me.start("rollback", stdin=subprocess.DEVNULL)
    wait_until(lambda: helper.exists() and helper.read_text().endswith("\n"), 30, "gcloud's own helper runs")
    process.terminate()
    _, err = process.communicate(timeout=30)
    assert process.returncode == 1 and "interrupted; the same command goes on from here" in err, err
    wait_until(lambda: not is_alive(int(helper.read_text())), 10, "the helper has ended")


PASSES = {"turns": lambda google: mishaps(google, MISHAPS), **{str(kind): lambda google, kind=kind: mishaps(google, [kind]) for kind in WORDS},
          "cut": lambda google: mishaps(google, [CUT]), "lost": lambda google: mishaps(google, [LOST]),
          **{f"{word}-{when}": lambda google, blow=blow, mishap=mishap: blows(google, blow, mishap)
             for word, blow in (("int", signal.SIGINT), ("kill", signal.SIGKILL)) for when, mishap in (("cut", CUT), ("lost", LOST))}}

start = time.monotonic()
with fake_cloud() as google:
    google.run.program = None
    nothing_goes_on(google)
    for name in list(PASSES)[1:] if sys.argv[1:] == ["all"] else sys.argv[1:] or ["turns"]:
        PASSES[name](google)
        print(f"{name}: ok after {time.monotonic() - start:.0f} s", flush=True)
print(f"cloud_sweep: ok in {time.monotonic() - start:.0f} s")
