#!/usr/bin/env python3
"""Takes redb's integration tests out of its published crate and rewrites them to use files of a volume.

Usage: prepare.py DIRECTORY. Leaves DIRECTORY/tests/*.rs and a package beside them that runs them. The crate is the
one that cargo fetched for the product, checked against the checksum in Cargo.lock. Prints `SKIP: reason` when cargo
cannot fetch what the tests need.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]

# What redb's tests say, and what is said instead. `on_volume` is the package's library.
REWRITES = [
    (r"\bstd::fs\b", "on_volume::fs"),
    (r"\btempfile::", "on_volume::"),
    (r"\bredb::backends\b", "on_volume::backends"),
    # Ways to open a path are methods of traits there; those of a file are its own.
    (r"(?<=\.)(create|open|open_read_only)\(", r"volume_\1("),
    (r"(?<=Database::)(create|open)\b", r"volume_\1"),
]
# A module sees the traits by a line of its own.
PRELUDE = "use on_volume::prelude::*;"
# What opens something outside of the volume, were it left.
FORBIDDEN = re.compile(r"\bstd::fs\b|(?<!:)\btempfile::|redb::backends|Database::(create|open)\b|\.(create|open)\(|create_file\(")


def cargo(*command):
    """Runs cargo on the package's manifest; answers its standard output, or None."""
    done = subprocess.run(["cargo", *command], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    return done.stdout if done.returncode == 0 else None


def locked_redb(lock):
    """The newest redb in a lock file with its checksum: the product's and the tests' must be the same."""
    found = re.findall(r'name = "redb"\nversion = "([^"]+)"\nsource = [^\n]*\nchecksum = "([0-9a-f]+)"', lock.read_text())
    return max(found, key=lambda it: [int(part) for part in it[0].split(".")])


def fetched_sources(manifest, version):
    """Where cargo has unpacked redb."""
    path = ["--locked", "--manifest-path", str(manifest)]
    if cargo("fetch", "-q", "--offline", *path) is None:
        if os.environ.get("COFFERDAM_INSTALL") == "no":
            sys.exit(print("SKIP: the crates of tests/redb-suite/package are not here, and may not be fetched"))
        if cargo("fetch", "-q", *path) is None:
            sys.exit(print("SKIP: cargo could not fetch the crates of tests/redb-suite/package"))
    metadata = json.loads(cargo("metadata", "--format-version", "1", "--offline", *path))
    packages = [it for it in metadata["packages"] if (it["name"], it["version"]) == ("redb", version)]
    return Path(packages[0]["manifest_path"]).parent


def rewritten(text):
    """A test file that uses the volume."""
    for pattern, instead in REWRITES:
        text = re.sub(pattern, instead, text)
    text = re.sub(r"^( *(?:pub )?mod \w+ \{)$", rf"\1 {PRELUDE}", text, flags=re.M)
    return f"{text}\n{PRELUDE}\n"


def write(path, text):
    """Writes what is new, so that nothing is built again for nothing."""
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def main():
    """Fetches, rewrites and writes the package."""
    directory = Path(sys.argv[1]).resolve()
    package = HERE / "package"
    ours, theirs = locked_redb(ROOT / "Cargo.lock"), locked_redb(package / "Cargo.lock")
    if ours != theirs:
        sys.exit(f"the product has redb {ours}, tests/redb-suite/package/Cargo.lock has {theirs}; run cargo update there")
    # The package is copied, since its tests are not in the repository; its paths are made absolute.
    tests = directory / "tests"
    tests.mkdir(parents=True, exist_ok=True)
    if not (directory / "src").is_symlink():
        (directory / "src").symlink_to(package / "src")
    manifest = (package / "Cargo.toml").read_text().replace('"../../../', f'"{ROOT}/').replace("autotests = false\n", "")
    write(directory / "Cargo.toml", manifest)
    write(directory / "Cargo.lock", (package / "Cargo.lock").read_text())
    source = fetched_sources(directory / "Cargo.toml", ours[0])
    write(tests / "on_volume.rs", (HERE / "on_volume.rs").read_text())
    wanted = {"on_volume.rs"}
    for file in sorted((source / "tests").glob("*.rs")):
        text = rewritten(file.read_text())
        left = [line.strip() for line in text.splitlines() if FORBIDDEN.search(line)]
        if left:
            sys.exit(f"{file.name} opens files in a way that is not rewritten: {left}")
        write(tests / file.name, text)
        wanted.add(file.name)
    for file in tests.glob("*.rs"):
        if file.name not in wanted:
            file.unlink()
    print(f"redb {ours[0]}: {len(wanted) - 1} test files")


if __name__ == "__main__":
    main()
