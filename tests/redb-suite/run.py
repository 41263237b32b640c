#!/usr/bin/env python3
"""Runs redb's own integration tests on a volume and judges the outcome.

Usage: run.py --package DIR --work DIR --exclusions FILE [--only FILE]...

DIR is what prepare.py left. A test that fails is forgiven only when the list of exclusions names it and its output has
the word that is named there, too; a line that excludes nothing is reported. The last line is `redb-suite: N tests passed,
M exclusions`; the exit code is 1 when anything else failed.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

FILE_TIMEOUT_SECONDS = 300
NOT_RUN = "-"
# Not redb's: that the others run on a volume.
OURS = "on_volume"


@dataclass
class Outcome:
    """What one program of tests did, each test by its name."""

    file: str
    passed: set = field(default_factory=set)
    # With what each said.
    failed: dict = field(default_factory=dict)


def read_exclusions(path):
    """Reads `FILE TEST WORD REASON` lines; WORD is `-` for a test that is not run."""
    exclusions = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        parts = line.split(None, 3)
        if len(parts) != 4:
            sys.exit(f"{path}:{number}: want `file test word reason`")
        exclusions[parts[0], parts[1]] = parts[2]
    return exclusions


def build(package):
    """Builds the tests; answers a program for each file."""
    command = ["cargo", "test", "-q", "--no-run", "--locked", "--message-format=json-render-diagnostics"]
    built = subprocess.run([*command, "--manifest-path", package / "Cargo.toml"], stdout=subprocess.PIPE, text=True, check=False)
    if built.returncode != 0:
        sys.exit("redb's tests do not build on the volume")
    programs = {}
    for line in built.stdout.splitlines():
        message = json.loads(line)
        if message.get("executable") and message["target"]["kind"] == ["test"]:
            programs[message["target"]["name"]] = message["executable"]
    return programs


def run_file(file, program, package, work, skipped):
    """Runs one program. Tests that it was not done with when it ended, or was ended, have failed."""
    listed = subprocess.run([program, "--list", "--format=terse"], stdout=subprocess.PIPE, text=True, check=True)
    names = set(re.findall(r"^(\S+): test$", listed.stdout, re.M))
    log = work / f"{file}.log"
    environment = {**os.environ, "COFFERDAM_TEMP": str(work), "CARGO_MANIFEST_DIR": str(package), "RUST_BACKTRACE": "0"}
    with log.open("wb") as out:
        process = subprocess.Popen(
            [program, "--format=pretty", "--exact", *(f"--skip={name}" for name in skipped)], cwd=package, env=environment, stdin=subprocess.DEVNULL, stdout=out,
            stderr=subprocess.STDOUT, start_new_session=True)
        try:
            process.wait(FILE_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            print(f"{file}: did not end within {FILE_TIMEOUT_SECONDS} s")
        finally:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()
    text = log.read_text(errors="replace")
    outcome = Outcome(file)
    outcome.passed = set(re.findall(r"^test (\S+)(?: - should panic)? \.\.\. ok$", text, re.M)) & names
    said = dict(re.findall(r"^---- (\S+) stdout ----\n(.*?)(?=^---- |^failures:$)", text, re.M | re.S))
    outcome.failed = {name: said.get(name, "") for name in names - outcome.passed}
    return outcome


def judge(outcomes, exclusions, complete):
    """Prints what is wrong; answers whether anything is."""
    wrong = False
    for outcome in outcomes:
        for name, said in sorted(outcome.failed.items()):
            word = exclusions.get((outcome.file, name))
            if word is None or word != NOT_RUN and word not in said:
                print(f"FAILED {outcome.file} {name}\n{said}")
                wrong = True
    seen = {(it.file, name): name in it.failed for it in outcomes for name in it.passed.union(it.failed)}
    for key in exclusions:
        if key in seen and not seen[key]:
            print(f"stale exclusion: {' '.join(key)} does not fail")
        elif complete and key not in seen:
            print(f"stale exclusion: {' '.join(key)} is no test of this run")
    return wrong


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--package", required=True, type=Path)
    parser.add_argument("--work", required=True, type=Path)
    parser.add_argument("--exclusions", required=True, type=Path)
    parser.add_argument("--only", action="append", default=[])
    return parser.parse_args()


def main():
    """Runs everything and prints the verdict."""
    options = arguments()
    package, work = options.package.resolve(), options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    exclusions = read_exclusions(options.exclusions)
    programs = {file: it for file, it in build(package).items() if not options.only or file in options.only}
    outcomes = []
    for file, program in sorted(programs.items()):
        skipped = [name for (of, name), word in exclusions.items() if (of, word) == (file, NOT_RUN)]
        outcomes.append(run_file(file, program, package, work, skipped))
    for outcome in outcomes:
        print(f"{outcome.file}: {len(outcome.passed)} passed, {len(outcome.failed)} failed")
    wrong = judge(outcomes, exclusions, not options.only)
    passed = sum(len(it.passed) for it in outcomes if it.file != OURS)
    excluded = sum((it.file, name) in exclusions for it in outcomes for name in it.failed)
    print(f"redb-suite: {passed} tests passed, {excluded} exclusions")
    return 1 if wrong or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
