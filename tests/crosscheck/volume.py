#!/usr/bin/env python3
"""Recovers the vectors of volumes' journals again, from docs/format.md section 12.2 alone.

Shares no code with the product. Every vector must get the answer it expects, and bring the same bytes home.

    python3 tests/crosscheck/volume.py            checks all vectors
    python3 tests/crosscheck/volume.py --write    makes them anew, only for a new version of the format
"""

import struct
import sys
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VECTORS = ROOT / "tests" / "vectors" / "journal"
FORMAT = ROOT / "docs" / "format.md"
BLOCK, SECTOR, KEYRING_AREA = 4096, 512, 32768
LENGTH_MAX = 2 * (1 << 53)
CHANGE, REMOVE = 1, 2


class Refused(Exception):
    """`damaged`: something that was durable is missing; `old`: what is at home is newer than the journal."""


# --- Section 12.2: reading --------------------------------------------------------------------------


def parse_head(data, store):
    """(salt, home, home_checksum) of a segment, or None."""
    head = data[:SECTOR].ljust(SECTOR, b"\0")
    magic, form, zeros, volume, salt, home, home_checksum, checksum = struct.unpack("<8sH6s16s16sQ32s32s", head[:120])
    sound = magic == b"CDAMJRNL" and form == 1 and not any(zeros) and not any(head[120:]) and volume == store
    if len(data) < SECTOR or not sound or checksum != sha256(head[:88]).digest():
        return None
    return salt, home, home_checksum


def parse_entry(data, at):
    """One entry and where it ends."""
    kind, count, number, cut, length = struct.unpack_from("<IIQQQ", data, at)
    at += 32
    if kind == REMOVE:
        assert count == cut == length == 0 and number > 0
        return (number, None), at
    floor = KEYRING_AREA if number == 0 else 0
    assert kind == CHANGE and cut >= floor and floor <= length <= LENGTH_MAX
    extents, free = [], floor
    for _ in range(count):
        offset, size = struct.unpack_from("<QQ", data, at)
        at += 16
        assert offset >= free and size > 0 and offset + size <= length and at + size <= len(data)
        extents.append((offset, data[at : at + size]))
        at, free = at + size, offset + size
    return (number, (cut, length, extents)), at


def parse_group(data, at, store, salt):
    """(sequence, previous, checksum, entries, length) of the group at a place, or None."""
    head = data[at : at + 96]
    if len(head) < 96:
        return None
    magic, total, volume, its_salt, sequence, count, zeros, previous = struct.unpack("<8sQ16s16sQII32s", head)
    if magic != b"CDAMGRUP" or volume != store or its_salt != salt or zeros or not 128 <= total <= len(data) - at:
        return None
    body, checksum = data[at : at + total - 32], data[at + total - 32 : at + total]
    if sha256(body).digest() != checksum:
        return None
    entries, place = [], 96
    try:
        for _ in range(count):
            entry, place = parse_entry(body, place)
            assert not entries or entries[-1][0] < entry[0]
            entries.append(entry)
        assert place == len(body)
    except (AssertionError, struct.error):
        return None
    return sequence, previous, checksum, entries, total


def scan(data, store, salt):
    """The groups of a segment's life up to the first that is none, and the highest sequence behind."""
    groups, behind, at, whole = [], 0, BLOCK, True
    while at < len(data):
        group = parse_group(data, at, store, salt)
        follows = group and whole and (not groups or group[0] == groups[-1][0] + 1)
        if follows:
            groups.append(group)
            at += -(-group[4] // BLOCK) * BLOCK
        else:
            whole = False
            behind = max(behind, group[0] if group else 0)
            at += BLOCK
    return groups, behind


def recover(store, segments, files, accept_damage):
    """The files after recovery, by number."""
    home, home_checksum, missing, groups, last_seen = 0, bytes(32), False, [], 0
    for data in segments:
        head = parse_head(data, store) if data is not None else None
        if head is None:
            missing = True
            continue
        salt, its_home, its_checksum = head
        if its_home >= home:
            home, home_checksum = its_home, its_checksum
        found, behind = scan(data, store, salt)
        groups += found
        last_seen = max(last_seen, behind)
    chain, previous = [], home_checksum
    above = sorted((group for group in groups if group[0] > home), key=lambda group: group[0])
    for group in above:
        if group[0] != home + 1 + len(chain) or group[1] != previous:
            break
        chain.append(group)
        previous = group[2]
    last_seen = max([last_seen] + [group[0] for group in above[len(chain) :]])
    if (missing or last_seen > home + len(chain)) and not accept_damage:
        raise Refused("damaged")
    after = bring_home(chain, files)
    if not missing and last_seen <= home + len(chain):
        refuse_old(chain, files, after)
    return after


def claim(number, data):
    """(file_id, sequence) of the newer copy of a file's record, as it claims without keys."""
    area = KEYRING_AREA if number == 0 else 0
    copies = [data[at : at + SECTOR].ljust(SECTOR, b"\0") for at in (area, area + BLOCK)]
    claims = [struct.unpack_from("<16sQ", copy, 32) for copy in copies if copy[:8] == b"CDAMFILE"]
    return max(claims, key=lambda one: one[1], default=None)


def refuse_old(chain, before, after):
    changes = [(number, change) for group in chain for number, change in group[3] if change is not None]
    for number in {number for number, _ in changes} & set(before) & set(after):
        now, then = claim(number, before[number]), claim(number, after[number])
        emptied = any(cut == 0 for its_number, (cut, _, _) in changes if its_number == number)
        if now and then and (now[1] > then[1] if now[0] == then[0] else not emptied):
            raise Refused("old")


def bring_home(chain, files):
    files = dict(files)
    removed = {number for group in chain for number, change in group[3] if change is None}
    for group in chain:
        for number, change in group[3]:
            if number in removed:
                continue
            cut, length, extents = change
            data = bytearray(files.get(number, b"")[:cut])
            for offset, piece in extents:
                data.extend(bytes(max(0, offset + len(piece) - len(data))))
                data[offset : offset + len(piece)] = piece
            files[number] = bytes(data[:length]) + bytes(max(0, length - len(data)))
    return {number: data for number, data in files.items() if number not in removed}


# --- Vector files -----------------------------------------------------------------------------------


def sparse(data):
    """The length, and what is not zero of each block, with its place."""
    words = [str(len(data))]
    for start in range(0, len(data), BLOCK):
        piece = data[start : start + BLOCK].rstrip(b"\0")
        if piece:
            skip = len(piece) - len(piece.lstrip(b"\0"))
            words.append(f"{start + skip}:{piece[skip:].hex()}")
    return " ".join(words)


def dense(text):
    length, *pieces = text.split()
    data = bytearray(int(length))
    for piece in pieces:
        at, digits = piece.split(":")
        data[int(at) : int(at) + len(digits) // 2] = bytes.fromhex(digits)
    return bytes(data)


def check(path):
    fields = dict(line.split(": ", 1) for line in path.read_text().splitlines())
    segments = [dense(fields[name]) if name in fields else None for name in ("journal-0", "journal-1")]
    numbered = lambda prefix: {int(k[len(prefix) :]): dense(v) for k, v in fields.items() if k.startswith(prefix)}
    try:
        after = recover(bytes.fromhex(fields["store"]), segments, numbered("before."), fields["accept-damage"] == "yes")
    except Refused as refused:
        assert fields["expect"] == "rejected" and fields["reason"] == str(refused), path
        return False
    assert fields["expect"] == "accepted", path
    assert after == numbered("after."), path
    return True


def main():
    if sys.argv[1:] == ["--write"]:
        write_all()
    paths = sorted(VECTORS.glob("*.txt"))
    accepted = sum(check(path) for path in paths)
    assert 0 < accepted < len(paths)
    assert FORMAT.read_text().endswith(worked_example()), "docs/format.md ends with another worked example"
    print(f"{accepted} recovered, {len(paths) - accepted} refused")
    print(f"volume: {len(paths)} vectors")


# --- Making vectors: a sound journal, and one thing wrong -------------------------------------------


def fixed(name, length):
    return sha256(name.encode()).digest()[:length]


STORE, SALTS = fixed("store", 16), [fixed("salt 0", 16), fixed("salt 1", 16)]


def build_head(salt, home=0, home_checksum=bytes(32), form=1, magic=b"CDAMJRNL", zeros=bytes(6), store=STORE, tail=b""):
    body = struct.pack("<8sH6s16s16sQ32s", magic, form, zeros, store, salt, home, home_checksum)
    return (body + sha256(body).digest() + tail).ljust(BLOCK, b"\0")


def write(number, offset, data, cut=(1 << 64) - 1, length=None, kind=CHANGE):
    return change(number, [(offset, data)], cut, offset + len(data) if length is None else length, kind)


def change(number, extents, cut=(1 << 64) - 1, length=0, kind=CHANGE, count=None):
    head = struct.pack("<IIQQQ", kind, len(extents) if count is None else count, number, cut, length)
    return head + b"".join(struct.pack("<QQ", offset, len(data)) + data for offset, data in extents)


def remove(number, cut=0, length=0, count=0):
    return struct.pack("<IIQQQ", REMOVE, count, number, cut, length)


def build_group(sequence, previous, entries, salt=SALTS[0], store=STORE, magic=b"CDAMGRUP", zeros=0, count=None, total=None):
    body = b"".join(entries)
    total = 96 + len(body) + 32 if total is None else total
    count = len(entries) if count is None else count
    head = struct.pack("<8sQ16s16sQII32s", magic, total, store, salt, sequence, count, zeros, previous)
    return head + body + sha256(head + body).digest()


def pad(group):
    return group.ljust(-(-len(group) // BLOCK) * BLOCK, b"\0")


def chain(*steps, first=1, previous=bytes(32), salt=SALTS[0]):
    """Groups with these entries, one after the other."""
    groups = []
    for index, entries in enumerate(steps):
        groups.append(build_group(first + index, previous, entries, salt))
        previous = groups[-1][-32:]
    return groups


def segment(salt, groups, **head):
    return build_head(salt, **head) + b"".join(map(pad, groups))


def vectors():
    """Yields (name, comment, segments, files before)."""
    empty = [build_head(SALTS[0]), build_head(SALTS[1])]
    one = chain([write(1, 0, b"first")])
    three = chain([write(1, 0, b"first")], [write(1, 2, b"SECOND"), write(2, 10, b"other")], [write(1, 0, b"3")])
    yield "empty", "a journal that was never used", empty, {}
    yield "empty-segment-longer", "nothing but zeros behind a head", [empty[0] + bytes(3 * BLOCK), empty[1]], {1: b"home"}
    yield "one", "one group makes a file", [segment(SALTS[0], one), empty[1]], {}
    yield "three", "three groups over what is there", [segment(SALTS[0], three), empty[1]], {1: b"what was there before"}
    later = chain([write(1, 1, b"L")], [remove(2)], first=4, previous=three[2][-32:], salt=SALTS[1])
    yield "both-segments", "groups 4 and 5 in the other segment", [segment(SALTS[0], three), segment(SALTS[1], later)], {}
    yield "both-segments-crossed", "the same the other way round", \
        [segment(SALTS[1], later), segment(SALTS[0], three)], {}
    yield "long-group", "a group of several blocks, and one behind", [
        segment(SALTS[0], chain([write(7, 3, bytes(range(1, 256)) * 40)], [write(7, 0, b"abc")])), empty[1]], {}
    yield "set-length", "cut, grown, cut and written, in the orders that there are", [segment(SALTS[0], chain(
        [change(1, [], cut=4, length=4), change(2, [], length=12), change(3, [], cut=2, length=9)],
        [change(1, [], length=8), change(2, [(1, b"x")], cut=3, length=3), change(3, [(4, b"yz")], cut=3, length=6)],
    )), empty[1]], {1: b"123456789", 2: b"abcdef", 3: b"ABCDEFGHIJKL"}
    yield "removed", "removed, never there, and removed after a change", [segment(SALTS[0], chain(
        [write(3, 0, b"gone"), write(4, 0, b"stays")], [remove(1), remove(2), remove(3)])), empty[1]], {1: b"home"}
    yield "keyring", "the catalogue changes, the keyring's own slots do not", [segment(SALTS[0], chain(
        [write(0, KEYRING_AREA, b"record", cut=KEYRING_AREA)])), empty[1]], {0: b"slots".ljust(KEYRING_AREA + 20, b"s")}
    yield "home-between", "groups up to home are not replayed", [
        segment(SALTS[0], three), segment(SALTS[1], [], home=2, home_checksum=three[1][-32:])], {1: b"at home as of group 2"}
    yield "all-home", "nothing above home", [
        segment(SALTS[0], three), segment(SALTS[1], [], home=3, home_checksum=three[2][-32:])], {1: b"home"}
    torn = bytearray(pad(three[2]))
    torn[200:] = bytes(len(torn) - 200)
    sound = segment(SALTS[0], three[:2])
    yield "tail-torn", "the last group is torn: nobody was told that it is durable", [sound + bytes(torn[:512]), empty[1]], {}
    yield "tail-cut", "the last group's end is not there", [sound + three[2][:-1], empty[1]], {}
    yield "tail-zero-block", "a block without a group", [sound + bytes(BLOCK), empty[1]], {}
    yield "tail-other-life", "behind it a group of a former life", [
        sound + pad(build_group(3, three[1][-32:], [write(1, 0, b"old")], salt=fixed("former", 16))), empty[1]], {}
    yield "tail-other-store", "behind it a group of another store", [
        sound + pad(build_group(3, three[1][-32:], [write(1, 0, b"old")], store=fixed("another", 16))), empty[1]], {}

    for name, comment, entry in [
        ("kind", "an unknown kind", write(1, 0, b"x", kind=3)),
        ("remove-cut", "a removal with a cut", remove(1, cut=1)),
        ("remove-length", "a removal with a length", remove(1, length=1)),
        ("remove-extents", "a removal with an extent", remove(1, count=1)),
        ("remove-keyring", "the keyring removed", remove(0)),
        ("keyring-cut", "the keyring's slots cut off", change(0, [], cut=KEYRING_AREA - 1, length=KEYRING_AREA)),
        ("keyring-length", "the keyring shorter than its slots", change(0, [], length=KEYRING_AREA - 1)),
        ("keyring-slots", "a write into the keyring's slots", write(0, 100, b"x", length=KEYRING_AREA)),
        ("extent-empty", "an extent of no bytes", change(1, [(0, b"")], length=4)),
        ("extent-overlap", "extents that overlap", change(1, [(0, b"abc"), (2, b"d")], length=9)),
        ("extent-order", "extents out of order", change(1, [(4, b"abc"), (0, b"d")], length=9)),
        ("extent-beyond", "an extent beyond the end", write(1, 4, b"abc", length=6)),
        ("extent-wraps", "an extent whose end overflows", change(1, [((1 << 64) - 2, b"abc")], length=9)),
        ("length", "a length beyond what a file can have", change(1, [], length=LENGTH_MAX + 1)),
        ("extent-count", "more extents than there are", change(1, [(0, b"abc")], length=9, count=2)),
        ("extent-left", "fewer extents than there are", change(1, [(0, b"abc")], length=9, count=0)),
    ]:
        yield from around(name, comment, build_group(2, one[0][-32:], [entry]))
    two = [write(1, 0, b"a"), write(2, 0, b"b")]
    for name, comment, options in [
        ("group-magic", "another magic", {"magic": b"CDAMGRUQ"}), ("group-reserved", "reserved bytes", {"zeros": 1}),
        ("group-count-more", "more entries than there are", {"count": 3}), ("group-count-less", "fewer", {"count": 1}),
        ("group-total-less", "another total_len", {"total": 200}), ("group-total-more", "beyond the end", {"total": 1 << 40}),
        ("group-store", "another store_id", {"store": fixed("another", 16)}),
        ("group-salt", "another salt", {"salt": fixed("former", 16)}),
    ]:
        yield from around(name, comment, build_group(2, one[0][-32:], two, **options))
    yield from around("group-order", "files out of order", build_group(2, one[0][-32:], two[::-1]))
    yield from around("group-twice", "one file twice", build_group(2, one[0][-32:], [two[0], two[0]]))
    flipped = bytearray(build_group(2, one[0][-32:], two))
    flipped[150] ^= 1
    yield from around("group-flipped", "a changed byte", bytes(flipped))
    yield from around("group-previous", "chained to another group", build_group(2, fixed("another", 32), two))
    yield from around("group-sequence-gap", "a sequence left out", build_group(3, one[0][-32:], two))
    yield from around("group-sequence-same", "a sequence twice", build_group(1, one[0][-32:], two))

    sound = segment(SALTS[0], three)
    for name, comment, second in [
        ("segment-missing", "the other segment is missing", None), ("segment-empty", "the other segment has no bytes", b""),
        ("head-short", "a head cut short", build_head(SALTS[1])[: SECTOR - 1]),
        ("head-magic", "another magic", build_head(SALTS[1], magic=b"CDAMJRNM")),
        ("head-format", "format 2", build_head(SALTS[1], form=2)),
        ("head-reserved", "reserved bytes", build_head(SALTS[1], zeros=b"\0\0\0\0\0\1")),
        ("head-tail", "reserved bytes behind the checksum", build_head(SALTS[1], tail=b"\1")),
        ("head-store", "another store", build_head(SALTS[1], store=fixed("another", 16))),
        ("head-checksum", "a broken checksum", b"CDAMJRNL\1" + b"\1" + build_head(SALTS[1])[10:]),
    ]:
        yield name, comment, [sound, second], {1: b"home"}
    yield "first-missing", "group 1 is not there", [segment(SALTS[0], three[1:]), empty[1]], {}
    yield "home-other", "home is of another history", [
        sound, segment(SALTS[1], [], home=2, home_checksum=fixed("another", 32))], {}
    yield from record_vectors()
    yield "border-lost", "the last group of the full segment is lost, those of the other are there", [
        segment(SALTS[0], three[:2]), segment(SALTS[1], later)], {}


def build_record(sequence, file_id=fixed("file", 16)):
    """What a record claims; nobody looks at the rest without keys."""
    return b"CDAMFILE" + struct.pack("<24s16sQ", b"", file_id, sequence)


def record_vectors():
    """A journal that would take a file back is one of another day."""
    def journal(*writes):
        return [segment(SALTS[0], chain([change(1, list(writes), length=9000)])), build_head(SALTS[1])]

    for name, comment, at, written, home in [
        ("record-newer", "a newer record goes home", 0, 7, (6, 5)),
        ("record-same", "the record that is at home", 0, 6, (6, 5)),
        ("record-other-copy", "the older copy is replaced", 4096, 7, (6, 5)),
        ("record-older", "the newer copy at home is replaced by an older one", 0, 4, (6, 5)),
        ("record-older-both", "a record of long ago over the older copy", 4096, 3, (6, 5)),
    ]:
        files = {1: (build_record(home[0]).ljust(4096, b"\0") + build_record(home[1])).ljust(9000, b"x")}
        yield name, comment, journal((at, build_record(written))), files
    files = {1: build_record(6).ljust(9000, b"x")}
    yield "record-untouched", "only frames go home", journal((8192, b"frames")), files
    another = change(1, [(0, build_record(1, fixed("another file", 16)))], length=9000)
    yield "record-other-life", "a record of another life of the file, which the journal does not begin", \
        [segment(SALTS[0], chain([another])), build_head(SALTS[1])], files
    another = change(1, [(0, build_record(1, fixed("another file", 16)))], cut=0, length=9000)
    yield "record-other-file", "a file that was cut to nothing is another one", \
        [segment(SALTS[0], chain([another])), build_head(SALTS[1])], files
    yield "record-none", "no record at home", journal((0, build_record(1))), {1: b"x" * 9000}


def around(name, comment, group):
    """A group that is none between two that are."""
    first = chain([write(1, 0, b"first")])
    behind = build_group(3, group[-32:], [write(1, 0, b"behind")])
    yield name, f"{comment}, and a group behind it", [segment(SALTS[0], first + [group, behind]), build_head(SALTS[1])], {1: b"homehome"}


def worked_example():
    """The last section of the format."""
    head = build_head(SALTS[0])[:SECTOR].rstrip(b"\0")
    group = build_group(1, bytes(32), [write(1, 0, b"sealed bytes"), remove(2)])
    rows = lambda data: "\n".join("  " + data[at : at + 32].hex() for at in range(0, len(data), 32))
    return f"""
### 12.3 Worked example

`journal-0` of a volume whose file 1 got twelve bytes and whose file 2 was removed. What is not shown of the head's block is zero.
`tests/crosscheck/volume.py` makes this section; more journals, most of them to refuse, are in `tests/vectors/journal`.

```text
at 0:
{rows(head)}
at 4096:
{rows(group)}
```
"""


def write_all():
    before = FORMAT.read_text().split("\n### 12.3 ")[0].rstrip("\n")
    FORMAT.write_text(before + "\n" + worked_example())
    VECTORS.mkdir(parents=True, exist_ok=True)
    for path in VECTORS.glob("*.txt"):
        path.unlink()
    for name, comment, segments, files in vectors():
        given = [f"journal-{index}: {sparse(data)}" for index, data in enumerate(segments) if data is not None]
        given += [f"before.{number}: {sparse(data)}" for number, data in files.items()]
        for accept in ("no", "yes"):
            lines = ["section: 12.2", f"comment: {comment}", f"accept-damage: {accept}", f"store: {STORE.hex()}"] + given
            try:
                after = recover(STORE, segments, files, accept == "yes")
                found = [f"after.{number}: {sparse(data)}" for number, data in sorted(after.items())]
                answer, prefix = ["expect: accepted"], ""
            except Refused as refused:
                answer, prefix, found = ["expect: rejected"], "refuse-", [f"reason: {refused}"]
            prefix = "consent-" if accept == "yes" else prefix
            path = VECTORS / f"{prefix}{name}.txt"
            path.write_text("\n".join(answer + lines + found) + "\n")
            # Consent changes nothing where nothing is wrong.
            if not prefix:
                break


if __name__ == "__main__":
    main()
