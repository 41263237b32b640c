#!/usr/bin/env python3
"""Verifies an audit log from docs/format.md section 9 alone; shares no code with the crate.

usage: audit.py LOG [VKEY_FILE]     prints the number of events, or says what is wrong and exits with 1
"""

import base64
import hashlib
import json
import re
import struct
import sys
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


class Refused(Exception):
    pass


def need(condition, what):
    if not condition:
        raise Refused(what)


def sha256(data):
    return hashlib.sha256(data).digest()


def open_note(note, name, public):
    """The text of a note that carries a good signature of the key."""
    text, signatures = note.decode("utf-8").rsplit("\n\n", 1)
    text += "\n"
    key_id = sha256(name.encode() + b"\n\x01" + public)[:4]
    signed = False
    for line in signatures.splitlines():
        dash, signer, blob = line.split(" ")
        blob = base64.b64decode(blob, validate=True)
        need(dash == "\N{EM DASH}", "signature line")
        if signer == name and blob[:4] == key_id:
            try:
                Ed25519PublicKey.from_public_bytes(public).verify(blob[4:], text.encode())
            except InvalidSignature:
                raise Refused("signature") from None
            signed = True
    need(signed, "not signed by the key")
    return text


def parse_vkey(text):
    name, key_id, blob = text.rstrip("\n").split("+", 2)
    blob = base64.b64decode(blob, validate=True)
    need(len(blob) == 33 and blob[0] == 1, "not an Ed25519 key")
    need(sha256(name.encode() + b"\n" + blob)[:4].hex() == key_id, "key id")
    return name, blob[1:]


def root_of(hashes):
    """MTH of RFC 6962 over leaf hashes."""
    if not hashes:
        return sha256(b"")
    if len(hashes) == 1:
        return hashes[0]
    split = 1 << ((len(hashes) - 1).bit_length() - 1)
    return sha256(b"\x01" + root_of(hashes[:split]) + root_of(hashes[split:]))


def tile_path(log, kind, index, width):
    groups = [f"{index % 1000:03}"]
    while index >= 1000:
        index //= 1000
        groups.insert(0, f"x{index % 1000:03}")
    suffix = "" if width == 256 else f".p/{width}"
    return log / "tile" / kind / ("/".join(groups) + suffix)


def check_event(entry, number):
    need(len(entry) <= 16384, f"entry {number} is too long")
    event = json.loads(entry)
    again = json.dumps(event, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    need(again == entry, f"entry {number} is not canonical")
    need(event["seq"] == number and event["schema_version"] == 1, f"entry {number} has another number")
    need(event["category"] == event["action"].split(".")[0], f"category of entry {number}")
    need(event["outcome"] in ("success", "denied", "error"), f"outcome of entry {number}")
    need(re.fullmatch(r"[0-7][0-9A-HJKMNP-TV-Z]{25}", event["id"]), f"id of entry {number}")
    need(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", event["time"]), f"time of entry {number}")
    return event


def read_entries(log, size):
    for first in range(0, size, 256):
        width = min(256, size - first)
        data, at = tile_path(log, "entries", first // 256, width).read_bytes(), 0
        for number in range(first, first + width):
            (length,) = struct.unpack_from(">H", data, at)
            entry = data[at + 2 : at + 2 + length]
            need(len(entry) == length, f"entry {number} ends early")
            at += 2 + length
            yield number, entry
        need(at == len(data), f"bytes after entry {first + width - 1}")


def check_tiles(log, leaves):
    level, hashes = 0, leaves
    while hashes:
        for first in range(0, len(hashes), 256):
            part = hashes[first : first + 256]
            stored = tile_path(log, str(level), first // 256, len(part)).read_bytes()
            need(stored == b"".join(part), f"tile {first // 256} of level {level}")
        whole = len(hashes) // 256
        hashes = [root_of(hashes[256 * n : 256 * n + 256]) for n in range(whole)]
        level += 1


def check_anchors(log, name, public, sequences, size):
    for path in sorted((log / "anchor").glob("*")) if (log / "anchor").is_dir() else []:
        if path.suffix == ".tmp":
            continue
        head, origin, store, sequence, upto, end = open_note(path.read_bytes(), name, public).split("\n")
        need((head, origin, store, end) == ("cofferdam anchor 1", name, path.name, ""), f"anchor {path.name}")
        need(int(upto) <= size, f"anchor {path.name} is of a longer log")
        known = [known for number, known in sequences.get(store, []) if number < int(upto)]
        need(known and max(known) == int(sequence), f"anchor {path.name} says another sequence")


def verify(log, vkey):
    name, public = parse_vkey(vkey)
    need((log / "log.vkey").read_text() == vkey.rstrip("\n") + "\n", "log.vkey is another key")
    origin, size, root, end = open_note((log / "checkpoint").read_bytes(), name, public).split("\n")
    need(origin == name and end == "" and str(int(size)) == size, "checkpoint")
    size, leaves, sequences = int(size), [], {}
    for number, entry in read_entries(log, size):
        event = check_event(entry, number)
        leaves.append(sha256(b"\x00" + entry))
        thing = event.get("object", {})
        if event["outcome"] == "success" and "keyring_sequence" in thing:
            sequences.setdefault(thing["id"], []).append((number, thing["keyring_sequence"]))
    check_tiles(log, leaves)
    need(base64.b64encode(root_of(leaves)).decode() == root, "the entries do not lead to the signed root")
    check_anchors(log, name, public, sequences, size)
    return size


def main():
    log = Path(sys.argv[1])
    vkey = Path(sys.argv[2]) if len(sys.argv) > 2 else log / "log.vkey"
    try:
        print(verify(log, vkey.read_text()))
    except (Refused, OSError, ValueError, KeyError, struct.error) as error:
        sys.exit(f"refused: {error}")


if __name__ == "__main__":
    main()
