#!/usr/bin/env python3
"""Runs SQLite's own test files, each in a process and a directory of its own, and judges the outcome.

Usage: run.py --fixture TESTFIXTURE --source DIR --work DIR [--exclusions FILE] [--extra PATTERN]...
              [--only GLOB]... [--jobs N] [--results FILE] [--run-excluded] [--expect-vfs NAME]

Everything the tests touch is copied under WORK first. When root runs this, the tests run as nobody:
a part of the suite is about files one may not write, and root may write them all.

A test that fails is forgiven only when the list of exclusions names it, with a reason. The last line
is `sqlite-suite: N tests passed, M files, K exclusions`; the exit code is 1 when anything else failed.
"""

import argparse
import concurrent.futures
import fnmatch
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

FILE_TIMEOUT_SECONDS = 300
NOT_RUN = "-"
BROKEN = "(broken)"
NOBODY = 65534
AS_NOBODY = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}


@dataclass
class Exclusion:
    """One line of the list: a file that is not run (`-`), tests of it that may fail, or `(broken)` for a
    file that may end before it has counted its tests."""

    file: str
    pattern: str
    reason: str
    used: bool = False


@dataclass
class Outcome:
    """What one test file did."""

    file: str
    seconds: float
    tests: int = 0
    errors: int = 0
    failed: list = field(default_factory=list)
    broken: str = ""


def read_exclusions(path):
    """Reads `FILE PATTERN REASON` lines; PATTERN is `-` for a file that is not run."""
    exclusions = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        parts = line.split(None, 2)
        if len(parts) != 3:
            sys.exit(f"{path}:{number}: want `file pattern reason`")
        exclusions.append(Exclusion(*parts))
    return exclusions


def stage(options):
    """Copies program, tests and extension where nobody may read them; returns program and test directory."""
    shutil.rmtree(options.work, ignore_errors=True)
    options.work.mkdir(parents=True)
    tree = options.work / "tree"
    for part in ("test", "ext"):
        shutil.copytree(options.source / part, tree / part)
    fixture = Path(shutil.copy2(options.fixture, options.work))
    extension = os.environ.get("COFFERDAM_EXTENSION")
    if extension:
        os.environ["COFFERDAM_EXTENSION"] = str(shutil.copy2(extension, options.work))
    if AS_NOBODY:
        for directory, _, files in os.walk(options.work):
            for name in ("", *files):
                os.chown(os.path.join(directory, name), NOBODY, NOBODY, follow_symlinks=False)
    return fixture, tree / "test"


def say(command, directory):
    """Runs one of our scripts in the test program and returns what it printed."""
    return subprocess.run(
        command, cwd=directory, capture_output=True, text=True, errors="replace", check=False, **AS_NOBODY)


def list_files(fixture, tests, extra, directory):
    """Asks SQLite's own permutations for the file names."""
    script = Path(__file__).with_name("files.tcl")
    script = shutil.copy(script, directory)
    answer = say([fixture, script, tests, *extra], directory)
    files = [line[6:] for line in answer.stdout.splitlines() if line.startswith("file: ")]
    if answer.returncode != 0 or not files:
        sys.exit(f"cannot list the test files:\n{answer.stdout}{answer.stderr}")
    return files


def probe(fixture, directory, expected):
    """Fails unless a plain open really goes through the VFS called `expected`, before and after a shutdown."""
    script = Path(__file__).with_name("probe.tcl")
    answer = say([fixture, shutil.copy(script, directory)], directory)
    said = dict(line.split(": ", 1) for line in answer.stdout.splitlines() if ": " in line)
    print(answer.stdout.strip())
    named = all(said.get(f"vfs {when}", "").split("/")[0] == expected for when in ("first", "again"))
    plain = bytes.fromhex(said.get("head", "")).startswith(b"SQLite format 3")
    right = named and plain == (expected == "unix")
    if answer.returncode != 0 or not right:
        sys.exit(f"the VFS under test is not {expected}, or it does not do what it should:\n{answer.stdout}{answer.stderr}")


def run_file(fixture, tests, file, directory):
    """Runs one file as SQLite's `permutations.test veryquick FILE` and reads what it printed."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    if AS_NOBODY:
        os.chown(directory, NOBODY, NOBODY)
    log = directory.with_name(directory.name + ".log")
    started = time.monotonic()
    with log.open("wb") as out:
        process = subprocess.Popen(
            [fixture, Path(tests) / "permutations.test", "veryquick", file],
            cwd=directory, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
            **AS_NOBODY)
        try:
            process.wait(FILE_TIMEOUT_SECONDS)
            late = False
        except subprocess.TimeoutExpired:
            late = True
        finally:
            end_group(process)
    outcome = Outcome(file, time.monotonic() - started)
    read_log(outcome, log.read_bytes().decode("utf-8", "replace"))
    if late:
        outcome.broken = f"did not end within {FILE_TIMEOUT_SECONDS} s"
    elif process.returncode < 0:
        outcome.broken = f"killed by {signal.Signals(-process.returncode).name}"
    elif not outcome.tests and not outcome.broken:
        outcome.broken = f"ended with {process.returncode} before it counted its tests"
    elif process.returncode != 0 and not outcome.failed:
        outcome.broken = f"ended with {process.returncode} though no test failed"
    shutil.rmtree(directory, ignore_errors=True)
    return outcome


def end_group(process):
    """Ends whatever the file left running; it has a process group of its own."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def read_log(outcome, text):
    """Takes the counts and the names of failed tests out of a log."""
    counted = re.findall(r"^(\d+) errors out of (\d+) tests", text, re.M)
    if counted:
        outcome.errors, outcome.tests = map(int, counted[-1])
    names = re.findall(r"^!Failures on these tests: (.*)$", text, re.M)
    outcome.failed = names[-1].split() if names else []
    leak = re.search(r"^Unfreed memory: .*$", text, re.M)
    if leak:
        outcome.failed.append("leak")


def settle(outcome, exclusions, work):
    """Says whether a file did what it must, marks the exclusions it used and keeps the log of a bad one."""
    mine = [e for e in exclusions if e.file == outcome.file]
    unforgiven = []
    for name in outcome.failed + ([BROKEN] if outcome.broken else []):
        matching = [e for e in mine if e.pattern == NOT_RUN or fnmatch.fnmatchcase(name, e.pattern)]
        for exclusion in matching:
            exclusion.used = True
        if not matching:
            unforgiven.append(name)
    log = work / (outcome.file + ".log")
    if unforgiven:
        shown = " ".join(unforgiven[:12]) + (" ..." if len(unforgiven) > 12 else "")
        print(f"FAILED {outcome.file}: {len(unforgiven)} tests: {shown} {outcome.broken} (log: {log})")
    elif not outcome.failed and not outcome.broken:
        log.unlink(missing_ok=True)
    return not unforgiven


def report_stale(exclusions, files, outcomes):
    """Names the exclusions that excluded nothing."""
    ran = {o.file for o in outcomes}
    for e in exclusions:
        if e.file not in files:
            print(f"stale exclusion: {e.file} is not a test file of this run")
        elif e.file in ran and not e.used:
            print(f"stale exclusion: {e.file} {e.pattern} does not fail")


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fixture", required=True, type=Path)
    parser.add_argument("--source", required=True, type=Path)
    parser.add_argument("--work", required=True, type=Path)
    parser.add_argument("--exclusions", type=Path)
    parser.add_argument("--extra", action="append", default=[])
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--results", type=Path)
    parser.add_argument("--run-excluded", action="store_true")
    parser.add_argument("--expect-vfs", default="unix")
    return parser.parse_args()


def main():
    """Runs everything and prints the verdict."""
    options = arguments()
    options.work = options.work.resolve()
    exclusions = read_exclusions(options.exclusions) if options.exclusions else []
    fixture, tests = stage(options)
    files = list_files(fixture, tests, options.extra, options.work)
    probe(fixture, options.work, options.expect_vfs)
    chosen = [f for f in files if not options.only or any(fnmatch.fnmatchcase(f, g) for g in options.only)]
    # The extra files are the long ones; begun first, they leave no process waiting at the end.
    chosen.sort(key=lambda f: (not any(fnmatch.fnmatchcase(f, g) for g in options.extra), f))
    skipped = {e.file for e in exclusions if e.pattern == NOT_RUN} if not options.run_excluded else set()
    print(f"{len(chosen)} files, {len(skipped & set(chosen))} of them not run, {options.jobs} at a time", flush=True)

    outcomes = []
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        jobs = [pool.submit(run_file, fixture, tests, f, options.work / f) for f in chosen if f not in skipped]
        for job in concurrent.futures.as_completed(jobs):
            outcomes.append(job.result())
            if len(outcomes) % 100 == 0:
                print(f"  {len(outcomes)} of {len(jobs)} files", flush=True)
    outcomes.sort(key=lambda o: o.file)
    if options.results:
        lines = [f"{o.file}\t{o.tests}\t{o.errors}\t{o.seconds:.1f}\t{o.broken}\t{' '.join(o.failed)}\n" for o in outcomes]
        options.results.write_text("file\ttests\terrors\tseconds\tbroken\tfailed\n" + "".join(lines))

    bad_files = sum(not settle(outcome, exclusions, options.work) for outcome in outcomes)
    if not options.only:
        report_stale(exclusions, set(files), outcomes)
    passed = sum(o.tests - o.errors for o in outcomes)
    forgiven = len({(e.file, e.pattern) for e in exclusions if e.file in chosen})
    if bad_files:
        print(f"{bad_files} files failed")
    print(f"sqlite-suite: {passed} tests passed, {len(outcomes)} files, {forgiven} exclusions")
    return 1 if bad_files else 0


if __name__ == "__main__":
    sys.exit(main())
