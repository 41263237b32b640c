#!/usr/bin/env python3
"""Opens the vectors of keyrings and key files again, from docs/format.md sections 2, 4, 6 and 8 alone.

Shares no code with the product: HKDF, HMAC, AES key wrap and Argon2id come from the Python package
`cryptography`. Every vector must get the answer it expects, and give the same keys.

    python3 tests/crosscheck/keyring.py            checks all vectors
    python3 tests/crosscheck/keyring.py --write    makes them anew, only for a new version of the format
"""

import hmac
import re
import struct
import sys
from hashlib import sha256, sha384
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

VECTORS = Path(__file__).resolve().parents[1] / "vectors"
SLOT_LEN = 16384
SUITES = {1: {1: 1}, 2: {1: 1, 2: 2}, 3: {1: 1, 2: 3}}
ACTIVE, RETIRING, DESTROYED = 1, 2, 3
URI = re.compile(
    r"file:/(?!/).*[^/]|https://[a-z0-9.-]+(:[1-9][0-9]{0,4})?/keys/[^/?#%\s]+"
    r"|vault\+https://[a-z0-9.-]+(:[1-9][0-9]{0,4})?/[^/?#%\s]+(/[^/?#%\s]+)*/keys/[^/?#%\s]+"
    r"|awskms:///arn:[!-~]+|pkcs11:[!-~]*=[!-~]*|kmip://[a-z0-9.-]+(:[1-9][0-9]{0,4})?/[^/?#%\s]+"
)


class Refused(Exception):
    """The reader must refuse, for the reason given."""


def require(condition, reason):
    if not condition:
        raise Refused(reason)


# --- Section 2: keys ------------------------------------------------------------------------------


def label(text):
    assert len(text) <= 16
    return text.encode().ljust(16, b"\0")


def expand(key, text, *info):
    return HKDFExpand(SHA256(), 32, label(text) + b"".join(info)).derive(key)


def mac(key, text, body):
    return hmac.digest(key, label(text) + body, "sha256")


def one(number):
    return bytes([number])


def u32(number):
    return struct.pack("<I", number)


def wrapping_key(root, layer, store):
    return expand(root, "cofferdam kwk", one(layer), store)


def mac_key(root, layer, store):
    return expand(root, "cofferdam hmk", one(layer), store)


def commitment(root, layer, store):
    return expand(root, "cofferdam commit", one(layer), store)


def dek_commitment(dek, layer, store, dek_id):
    return expand(dek, "cofferdam dekcmt", one(layer), store, u32(dek_id))


def binding(layer, store):
    return sha384(label("cofferdam root") + one(layer) + store).digest()


# --- Section 6: keyring ---------------------------------------------------------------------------


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, length):
        require(self.at + length <= len(self.data), "structure")
        self.at += length
        return self.data[self.at - length : self.at]

    def read(self, form):
        return struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))


def text(data, length_max):
    require(1 <= len(data) <= length_max, "structure")
    try:
        decoded = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refused("structure") from error
    require(not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in decoded), "structure")
    return decoded


def parse_keyring(slot):
    """What the keyring says, with its MACs and the bytes they are made over."""
    assert len(slot) == SLOT_LEN
    reader = Reader(slot)
    magic, form, suite, layer_count, total_len, store = reader.read("8sHBBI16s")
    require(magic == b"CDAMKEYS" and form == 1 and suite in SUITES, "structure")
    layers = sorted(SUITES[suite])
    require(layer_count == len(layers), "structure")
    sequence, incarnation, created, wrap_count, dek_count, active = reader.read("QQQHHI")
    require(sequence >= 1 and incarnation >= 1, "structure")
    require(1 <= wrap_count <= 16 and 1 <= dek_count <= 64, "structure")
    wraps = []
    for _ in range(wrap_count):
        layer, kind, algorithm, zero, uri_len, version_len, blob_len, zeros, _, cmt = reader.read("BBBBHHHHQ32s")
        require(layer in layers and kind == 1 and algorithm == 1 and zero == zeros == 0, "structure")
        uri, version = text(reader.take(uri_len), 1024), text(reader.take(version_len), 256)
        require(URI.fullmatch(uri), "structure")
        require(1 <= blob_len <= 1024, "structure")
        wraps.append((layer, uri, version, reader.take(blob_len), cmt))
    require([w[0] for w in wraps] == sorted(w[0] for w in wraps), "structure")
    for layer in layers:
        require(len({w[4] for w in wraps if w[0] == layer}) == 1, "structure")
    deks = []
    for _ in range(dek_count):
        dek_id, state, count, zeros, _, retired, destroyed = reader.read("IBBHQQQ")
        require(dek_id >= 1 and state in (1, 2, 3) and count == layer_count and zeros == 0, "structure")
        require(state != ACTIVE or retired == 0, "structure")
        require(state == DESTROYED or destroyed == 0, "structure")
        wrapped = [reader.read("40s32s") for _ in layers]
        require(all((w == bytes(40)) == (state == DESTROYED) for w, _ in wrapped), "structure")
        deks.append((dek_id, state, wrapped))
    ids = [d[0] for d in deks]
    require(ids == sorted(set(ids)), "structure")
    require([d[0] for d in deks if d[1] == ACTIVE] == [active], "structure")
    body = slot[: reader.at]
    macs = [reader.take(32) for _ in layers]
    require(reader.at == total_len and not any(slot[total_len:]), "structure")
    return suite, layers, store, active, wraps, deks, body, macs


def open_keyring(slot, keks):
    """The keys of a keyring, as the fields that a vector has."""
    suite, layers, store, active, wraps, deks, body, macs = parse_keyring(slot)
    roots = []
    for layer in layers:
        _, uri, version, blob, cmt = next(w for w in wraps if w[0] == layer)
        require((uri, version) in keks, "refused")
        try:
            bound = aes_key_unwrap(keks[uri, version], blob)
        except (InvalidUnwrap, ValueError) as error:
            raise Refused("refused") from error
        require(len(bound) == 80, "refused")
        root = bound[:32]
        require(bound[32:] == binding(layer, store), "not-authentic")
        require(cmt == commitment(root, layer, store), "not-authentic")
        roots.append(root)
    for layer, root, found in zip(layers, roots, macs):
        require(found == mac(mac_key(root, layer, store), "cofferdam keys", body), "not-authentic")
    fields = {"suite": str(suite), "active-dek": str(active)}
    page = b"\6" * 16 + u32(active) + b"\x08" * 16
    for layer_index, (layer, root) in enumerate(zip(layers, roots)):
        for dek_id, state, wrapped in deks:
            if state == DESTROYED:
                continue
            blob, found = wrapped[layer_index]
            try:
                dek = aes_key_unwrap(wrapping_key(root, layer, store), blob)
            except InvalidUnwrap as error:
                raise Refused("not-authentic") from error
            require(found == dek_commitment(dek, layer, store, dek_id), "not-authentic")
            if dek_id == active:
                head = one(layer) + one(SUITES[suite][layer]) + store
                fields[f"page-key-{layer}"] = expand(dek, "cofferdam page", head + page).hex()
                fields[f"value-key-{layer}"] = expand(dek, "cofferdam value", head + page).hex()
    fields["audit-seed"] = expand(roots[0], "cofferdam audit", one(1), store).hex()
    record = [mac(mac_key(r, l, store), "cofferdam record", b"\3" * 448) for l, r in zip(layers, roots)]
    fields["record-macs"] = b"".join(record).ljust(64, b"\0").hex()
    fields["usable-deks"] = " ".join(str(d[0]) for d in deks if d[1] != DESTROYED)
    return fields


# --- Section 8: key file --------------------------------------------------------------------------


def parse_key_file(data):
    require(112 + 64 + 32 <= len(data) <= 112 + 64 * 256 + 32, "corrupt")
    magic, form, protection, state, count, zeros, key_id, sequence = struct.unpack_from("<8sHBBHH16sQ", data)
    memory, passes, lanes, zeros_2, salt, pcmt = struct.unpack_from("<IIII24s32s", data, 40)
    require(magic == b"CDAMKEYF" and form == 1 and protection in (0, 1) and state in (1, 2), "corrupt")
    require(zeros == zeros_2 == 0 and sequence >= 1 and 1 <= count <= 256, "corrupt")
    require(len(data) == 112 + 64 * count + 32, "corrupt")
    if protection:
        require(65536 <= memory <= 1048576 and 3 <= passes <= 16 and 1 <= lanes <= 4, "corrupt")
    else:
        require(not any(data[40:112]), "corrupt")
    versions = []
    for index in range(count):
        number, version_state, zeros, _, reserved, kek = struct.unpack_from("<IB3sQQ40s", data, 112 + 64 * index)
        require(number == index + 1 and version_state in (1, 2), "corrupt")
        require(not any(zeros) and reserved == 0 and (protection or not any(kek[32:])), "corrupt")
        versions.append((version_state, kek))
    return protection, state, key_id, (memory, passes, lanes, salt), pcmt, versions


def passphrase_key(passphrase, parameters):
    memory, passes, lanes, salt = parameters
    derive = Argon2id(salt=salt, length=32, iterations=passes, lanes=lanes, memory_cost=memory)
    return derive.derive(passphrase.encode())


def open_key_file(data, passphrase, version, blob):
    protection, state, key_id, parameters, pcmt, versions = parse_key_file(data)
    if protection:
        require(passphrase is not None, "auth")
        secret = passphrase_key(passphrase, parameters)
        require(pcmt == expand(secret, "cofferdam pwcmt", key_id), "auth")
        file_key = expand(secret, "cofferdam pwmac", key_id)
    else:
        file_key = expand(versions[0][1][:32], "cofferdam plmac", key_id)
    require(data[-32:] == mac(file_key, "cofferdam kfile", data[:-32]), "corrupt")
    if protection:
        wrap = expand(secret, "cofferdam pwwrap", key_id)
        keks = [aes_key_unwrap(wrap, kek) for _, kek in versions]
    else:
        keks = [kek[:32] for _, kek in versions]
    require(state == 1, "disabled")
    require(re.fullmatch("[1-9][0-9]*", version) and int(version) <= len(versions), "version")
    require(versions[int(version) - 1][0] == 1, "version")
    try:
        root = aes_key_unwrap(keks[int(version) - 1], blob)
    except (InvalidUnwrap, ValueError) as error:
        raise Refused("corrupt") from error
    require(len(root) == 80, "corrupt")
    return {"root": root.hex()}


# --- Vectors --------------------------------------------------------------------------------------


def read_vector(path):
    fields = {}
    for line in path.read_text().splitlines():
        name, _, value = line.partition(": ")
        fields.setdefault(name, []).append(value)
    return fields


def answer(fields):
    """What this implementation says to a vector."""
    if "slot" in fields:
        slot = bytes.fromhex(fields["slot"][0])
        keks = {}
        for line in fields["kek"]:
            uri, version, kek = line.split(" ")
            keks[uri, version] = bytes.fromhex(kek)
        return open_keyring(slot.ljust(SLOT_LEN, b"\0"), keks)
    passphrase = fields.get("passphrase", [None])[0]
    file, blob = (bytes.fromhex(fields[name][0]) for name in ("file", "blob"))
    return open_key_file(file, passphrase, fields["version"][0], blob)


def check(path):
    fields = read_vector(path)
    try:
        given = answer(fields)
    except Refused as refused:
        assert fields["expect"] == ["rejected"], f"{path.name}: refused: {refused}"
        assert fields["reason"] == [str(refused)], f"{path.name}: {refused}, not {fields['reason'][0]}"
        return False
    assert fields["expect"] == ["accepted"], f"{path.name}: accepted"
    for name, value in given.items():
        assert fields[name] == [value], f"{path.name}: {name}"
    return True


def main():
    if sys.argv[1:] == ["--write"]:
        write_all()
    counts, total = [], 0
    for kind in ("keyring", "keyfile"):
        paths = sorted((VECTORS / kind).glob("*.txt"))
        accepted = sum(check(path) for path in paths)
        assert paths and accepted, kind
        total += len(paths)
        counts.append(f"{len(paths)} for {kind} ({accepted} accepted, {len(paths) - accepted} rejected)")
    print("; ".join(counts))
    print(f"keyring: {total} vectors")


# --- Making vectors: fixed keys, valid MACs, and one thing wrong ----------------------------------


def fixed(name, length=32):
    return sha256(name.encode()).digest()[:length]


def build_wrap(layer, uri, version, blob, cmt, kind=1, algorithm=1, zero=0, zeros=0, lens=None):
    uri = uri if isinstance(uri, bytes) else uri.encode()
    uri_len, version_len, blob_len = lens or (len(uri), len(version), len(blob))
    head = struct.pack("<BBBBHHHHQ", layer, kind, algorithm, zero, uri_len, version_len, blob_len, zeros, 1800000000)
    return head + cmt + uri + version.encode() + blob


def build_dek(dek_id, state, layers, retired=0, destroyed=0, zeros=0, layer_count=None):
    count = len(layers) if layer_count is None else layer_count
    head = struct.pack("<IBBHQQQ", dek_id, state, count, zeros, 1800000000, retired, destroyed)
    return head + b"".join(wrapped + cmt for wrapped, cmt in layers)


class Store:
    """A keyring of fixed keys; every part can be put in by hand before it is put together."""

    def __init__(self, suite=2, name="store"):
        self.suite, self.store = suite, fixed(name, 16)
        self.layers = sorted(SUITES[suite])
        self.roots = {layer: fixed(f"{name} root {layer}") for layer in (1, 2)}
        self.keks = {(self.uri(layer), "1"): fixed(f"kek {layer}") for layer in self.layers}
        self.wraps = [self.wrap(layer) for layer in self.layers]
        self.deks = [self.dek(1, ACTIVE)]
        self.head = {"magic": b"CDAMKEYS", "format": 1, "suite": suite, "layer_count": len(self.layers)}
        self.head |= {"sequence": 7, "incarnation": 2, "active": 1, "excess": 0}

    @staticmethod
    def uri(layer):
        return {1: "file:/keys/customer.key", 2: "kmip://kmip.internal:5696/infrastructure"}[layer]

    def wrap(self, layer, root=None, bound=None, **changes):
        root = root or self.roots[layer]
        blob = aes_key_wrap(fixed(f"kek {layer}"), root + (bound or binding(layer, self.store)))
        parts = {"uri": self.uri(layer), "version": "1", "blob": blob, "cmt": commitment(root, layer, self.store)}
        return build_wrap(layer, **(parts | changes))

    def wrapped_dek(self, dek_id, layer):
        dek = fixed(f"dek {dek_id} {layer}")
        wrapped = aes_key_wrap(wrapping_key(self.roots[layer], layer, self.store), dek)
        return wrapped, dek_commitment(dek, layer, self.store, dek_id)

    def dek(self, dek_id, state, **changes):
        layers = [self.wrapped_dek(dek_id, layer) for layer in self.layers]
        if state == DESTROYED:
            layers = [(bytes(40), cmt) for _, cmt in layers]
        return build_dek(dek_id, state, **({"layers": layers} | changes))

    def slot(self, mac_roots=None):
        h = self.head
        parts = b"".join(self.wraps) + b"".join(self.deks)
        total_len = 64 + len(parts) + 32 * len(self.layers)
        body = struct.pack(
            "<8sHBBI16sQQQHHI", h["magic"], h["format"], h["suite"], h["layer_count"], total_len + h["excess"],
            self.store, h["sequence"], h["incarnation"], 1800000000,
            h.get("wrap_count", len(self.wraps)), h.get("dek_count", len(self.deks)), h["active"],
        ) + parts
        roots = mac_roots or self.roots
        macs = [mac(mac_key(roots[l], l, self.store), "cofferdam keys", body) for l in self.layers]
        return body + b"".join(macs)


def keyring_vectors():
    """Yields (name, comment, reason or None, store, slot)."""
    for suite in SUITES:
        store = Store(suite)
        yield f"suite-{suite}", f"suite {suite}, one data key", None, store, store.slot()

    store = Store()
    store.deks = [store.dek(2, DESTROYED, retired=1800000001, destroyed=1800000002)]
    store.deks += [store.dek(5, RETIRING, retired=1800000003), store.dek(9, ACTIVE)]
    store.head["active"] = 9
    yield "three-deks", "a destroyed, a retiring and an active data key; ids with gaps", None, store, store.slot()

    store = Store()
    second = build_wrap(1, "https://a.example/keys/second", "9f", bytes(range(200)),
                        commitment(store.roots[1], 1, store.store))
    store.wraps.insert(1, second)
    yield "two-wraps-for-one-layer", "a second place for the customer's root", None, store, store.slot()

    store = Store()
    store.deks = [store.dek(i, RETIRING, retired=1) for i in range(1, 64)] + [store.dek(64, ACTIVE)]
    store.head["active"] = 64
    yield "sixty-four-deks", "as many data keys as there can be", None, store, store.slot()

    def head(**changes):
        store = Store()
        store.head |= changes
        return store, store.slot()

    for name, comment, changes in [
        ("magic", "another magic", {"magic": b"CDAMKEYX"}),
        ("format-0", "format 0", {"format": 0}),
        ("format-2", "format 2", {"format": 2}),
        ("suite-0", "suite 0", {"suite": 0}),
        ("suite-4", "the suite reserved for FIPS", {"suite": 4}),
        ("suite-5", "a suite that does not exist", {"suite": 5}),
        ("layer-count", "a layer_count that is not the suite's", {"layer_count": 1}),
        ("total-len-long", "a total_len one too long", {"excess": 1}),
        ("total-len-short", "a total_len one too short", {"excess": -1}),
        ("sequence-0", "sequence 0", {"sequence": 0}),
        ("incarnation-0", "incarnation 0", {"incarnation": 0}),
        ("no-wraps", "wrap_count 0", {"wrap_count": 0}),
        ("wrap-count-17", "wrap_count 17", {"wrap_count": 17}),
        ("no-deks", "dek_count 0", {"dek_count": 0}),
        ("dek-count-65", "dek_count 65", {"dek_count": 65}),
        ("dek-count-2", "a dek_count one too high", {"dek_count": 2}),
        ("active-0", "active DEK id 0", {"active": 0}),
        ("active-unknown", "an active DEK that is not there", {"active": 2}),
    ]:
        yield f"refuse-{name}", comment, "structure", *head(**changes)

    def wraps(change):
        store = Store()
        change(store)
        return store, store.slot()

    def replace(index, **changes):
        def change(store):
            store.wraps[index] = store.wrap(index + 1, **changes)
        return change

    blob = fixed("blob") * 3
    for name, comment, change in [
        ("wraps-unsorted", "layer 2 before layer 1", lambda s: s.wraps.reverse()),
        ("layer-without-wrap", "no wrap for layer 2", lambda s: s.wraps.pop()),
        ("wrap-kind", "a share instead of the whole root", replace(0, kind=2)),
        ("wrap-algorithm-rsa", "the wrap algorithm reserved for remote vaults", replace(0, algorithm=2)),
        ("wrap-algorithm-0", "wrap algorithm 0", replace(0, algorithm=0)),
        ("wrap-reserved-byte", "a reserved byte of a wrap", replace(0, zero=1)),
        ("wrap-reserved-bytes", "reserved bytes of a wrap", replace(0, zeros=256)),
        ("uri-empty", "an empty uri", replace(0, uri="")),
        ("uri-relative", "a key file with a relative path", replace(0, uri="file:customer.key")),
        ("uri-not-canonical", "the long spelling of a key file's name", replace(0, uri="file:///keys/customer.key")),
        ("uri-not-utf8", "a uri that is not UTF-8", replace(0, uri=b"file:/keys/\xff")),
        ("uri-control", "a line break in a uri", replace(0, uri="file:/keys/a\nb")),
        ("uri-scheme", "a scheme that no vault has", replace(0, uri="ftp://host/keys/customer")),
        ("uri-upper-case-host", "a host in upper case", replace(0, uri="kmip://KMIP/1")),
        ("uri-too-long", "a uri of 1025 bytes", replace(0, uri="file:/" + "k" * 1019)),
        ("version-empty", "an empty version", replace(0, version="")),
        ("version-too-long", "a version of 257 bytes", replace(0, version="v" * 257)),
        ("blob-empty", "an empty blob", replace(0, blob=b"")),
        ("blob-too-long", "a blob of 1025 bytes", replace(0, blob=bytes(1025))),
        ("two-commitments", "two wraps of one layer with different commitments",
         lambda s: s.wraps.insert(1, s.wrap(1, cmt=bytes(32), blob=blob))),
        ("seventeen-wraps", "more wraps than there can be",
         lambda s: s.wraps.__setitem__(slice(1, 1), [s.wraps[0]] * 15)),
    ]:
        yield f"refuse-{name}", comment, "structure", *wraps(change)

    store = Store(1)
    store.wraps.append(Store(2).wraps[1])
    yield "refuse-wrap-of-other-layer", "a wrap of layer 2 under suite 1", "structure", store, store.slot()

    for name, comment, change in [
        ("dek-id-0", "DEK id 0", lambda s: s.deks.insert(0, s.dek(0, RETIRING))),
        ("dek-state-0", "DEK state 0", lambda s: s.deks.append(s.dek(2, 0))),
        ("dek-state-4", "DEK state 4", lambda s: s.deks.append(s.dek(2, 4))),
        ("dek-layer-count", "a DEK's layer_count that is not the suite's",
         lambda s: s.deks.append(s.dek(2, RETIRING, layer_count=1))),
        ("dek-reserved", "reserved bytes of a DEK", lambda s: s.deks.append(s.dek(2, RETIRING, zeros=1))),
        ("deks-unsorted", "DEKs out of order", lambda s: s.deks.__setitem__(slice(0, 1), [
            s.dek(3, RETIRING), s.dek(1, ACTIVE)])),
        ("dek-twice", "one DEK id twice", lambda s: s.deks.append(s.dek(1, RETIRING))),
        ("no-active-dek", "no active DEK", lambda s: s.deks.__setitem__(0, s.dek(1, RETIRING))),
        ("two-active-deks", "two active DEKs", lambda s: s.deks.append(s.dek(2, ACTIVE))),
        ("destroyed-with-key", "a destroyed DEK that is still there",
         lambda s: s.deks.append(s.dek(2, DESTROYED, layers=[s.wrapped_dek(2, 1), s.wrapped_dek(2, 2)]))),
        ("live-without-key", "a retiring DEK without a key", lambda s: s.deks.append(
            s.dek(2, RETIRING, layers=[(bytes(40), bytes(32)), s.wrapped_dek(2, 2)]))),
        ("active-retired", "an active DEK that was retired", lambda s: s.deks.__setitem__(0, s.dek(1, ACTIVE, retired=1))),
        ("retiring-destroyed-at", "a retiring DEK with a time of destruction",
         lambda s: s.deks.append(s.dek(2, RETIRING, destroyed=1))),
    ]:
        yield f"refuse-{name}", comment, "structure", *wraps(change)

    store = Store()
    yield "refuse-trailing-byte", "a byte after the keyring", "structure", store, store.slot() + b"\0" * 40 + b"\1"
    yield "refuse-truncated", "cut within the last MAC", "not-authentic", store, store.slot()[:-1]
    yield "refuse-truncated-dek", "cut within a DEK", "structure", store, store.slot()[:-160]

    slot = store.slot()
    for layer, at in ((1, -64), (2, -1)):
        changed = bytearray(slot)
        changed[at] ^= 1
        yield f"refuse-mac-{layer}", f"layer {layer}'s MAC alone is broken", "not-authentic", store, bytes(changed)
    swapped = slot[:-64] + slot[-32:] + slot[-64:-32]
    yield "refuse-macs-swapped", "the two MACs exchanged", "not-authentic", store, swapped
    for layer in (1, 2):
        store = Store()
        store.head["sequence"] = 8
        forged = {layer: store.roots[layer], 3 - layer: bytes(32)}
        comment = f"the sequence changed by whoever holds layer {layer}'s root alone"
        yield f"refuse-forged-by-{layer}", comment, "not-authentic", store, store.slot(forged)

    store, other = Store(), Store(name="other store")
    store.wraps[0] = store.wrap(1, bound=binding(1, other.store))
    yield "refuse-root-of-other-store", "a root bound to another store", "not-authentic", store, store.slot()
    store = Store()
    store.wraps[0] = store.wrap(1, bound=binding(2, store.store))
    yield "refuse-root-of-other-layer", "a root bound to another layer", "not-authentic", store, store.slot()
    store = Store()
    store.wraps[1] = store.wrap(2, cmt=fixed("false commitment"))
    yield "refuse-root-commitment", "a false commitment to a root", "not-authentic", store, store.slot()
    store = Store()
    store.wraps[0] = store.wrap(1, root=fixed("another root"))
    yield "refuse-another-root", "another root of this store, committed to, under the old MACs", "not-authentic", store, \
        store.slot()

    one_dek, two_dek = Store().wrapped_dek(1, 1), Store().wrapped_dek(2, 1)
    outer = Store().wrapped_dek(1, 2)
    for name, comment, layers in [
        ("dek-commitment", "a false commitment to a data key", [(one_dek[0], two_dek[1]), outer]),
        ("dek-of-other-id", "another data key with its commitment", [two_dek, outer]),
        ("deks-of-layers-swapped", "the data keys of the two layers exchanged", [outer, one_dek]),
        ("dek-altered", "an altered wrapped data key", [(fixed("noise") + bytes(8), one_dek[1]), outer]),
    ]:
        store = Store()
        store.deks = [build_dek(1, ACTIVE, layers)]
        yield f"refuse-{name}", comment, "not-authentic", store, store.slot()

    store = Store()
    store.wraps[0] = store.wrap(1, blob=fixed("noise") * 2 + bytes(24))
    yield "refuse-blob", "a blob that the key did not make", "refused", store, store.slot()
    store = Store()
    store.wraps[0] = store.wrap(1, version="2")
    yield "refuse-version", "a version that the vault does not have", "refused", store, store.slot()
    store = Store()
    store.wraps[1] = store.wrap(2, blob=aes_key_wrap(fixed("kek 2"), store.roots[2]))
    yield "refuse-unbound-root", "a root of 32 bytes, bound to nothing", "refused", store, store.slot()


ROOT_80 = fixed("a") + fixed("b") + fixed("c", 16)
PARAMETERS = (65536, 3, 1, fixed("salt", 24))


def build_key_file(count=2, passphrase=None, state=1, states=None, parameters=PARAMETERS, **head):
    """A key file; `head` overrides what its first bytes say, under a valid MAC."""
    key_id = fixed("key id", 16)
    keks = [fixed(f"version {n}") for n in range(1, count + 1)]
    if passphrase is None:
        protection, tail = 0, bytes(72)
        file_key, stored = expand(keks[0], "cofferdam plmac", key_id), [kek + bytes(8) for kek in keks]
    else:
        secret = passphrase_key(passphrase, parameters)
        protection = 1
        tail = struct.pack("<IIII24s", *parameters[:3], 0, parameters[3]) + expand(secret, "cofferdam pwcmt", key_id)
        file_key, wrap = expand(secret, "cofferdam pwmac", key_id), expand(secret, "cofferdam pwwrap", key_id)
        stored = [aes_key_wrap(wrap, kek) for kek in keks]
    fields = {"magic": b"CDAMKEYF", "form": 1, "protection": protection, "count": count, "zeros": 0, "sequence": 3}
    f = fields | {name: value for name, value in head.items() if name in fields}
    f["count"] = head.get("stated_count", count)
    body = struct.pack("<8sHBBHH16sQ", f["magic"], f["form"], f["protection"], state, f["count"], f["zeros"], key_id,
                       f["sequence"]) + head.get("tail", tail)
    for index, kek in enumerate(stored):
        number, reserved = head.get("numbers", range(1, 300))[index], head.get("reserved", (0, 0))
        body += struct.pack("<IBBBBQQ", number, (states or [1] * count)[index], reserved[0], 0, 0, 1800000000, reserved[1])
        body += kek if "padding" not in head else kek[:-1] + b"\1"
    return body + mac(file_key, "cofferdam kfile", body)


def key_file_vectors():
    """Yields (name, comment, reason or None, file, passphrase, version, blob)."""
    blob = aes_key_wrap(fixed("version 1"), ROOT_80)
    blob_2 = aes_key_wrap(fixed("version 2"), ROOT_80)
    word = "correct horse battery staple"
    plain, locked = build_key_file(), build_key_file(passphrase=word)
    yield "plain", "no passphrase, the older of two versions", None, plain, None, "1", blob
    yield "plain-newest", "no passphrase, the newest version", None, plain, None, "2", blob_2
    yield "plain-256", "as many versions as there can be", None, build_key_file(256), None, "1", blob
    yield "passphrase", "with a passphrase", None, locked, word, "2", blob_2
    lanes = (65537, 4, 4, fixed("salt", 24))
    yield "passphrase-parameters", "other Argon2id parameters, and a passphrase that is not ASCII", None, \
        build_key_file(passphrase="Pfad–größer 🐘", parameters=lanes), "Pfad–größer 🐘", "1", blob
    yield "other-version-disabled", "the other version is disabled", None, build_key_file(states=[1, 2]), None, "1", blob

    for name, comment, changes in [
        ("magic", "another magic", {"magic": b"CDAMKEYS"}),
        ("format", "format 2", {"form": 2}),
        ("protection", "protection 2", {"protection": 2}),
        ("protection-missing", "protection 1 without its fields", {"protection": 1}),
        ("key-state", "key state 0", {"state": 0}),
        ("count-0", "version_count 0", {"stated_count": 0}),
        ("count-3", "a version_count one too high", {"stated_count": 3}),
        ("count-1", "a version_count one too low", {"stated_count": 1}),
        ("reserved", "reserved bytes", {"zeros": 1}),
        ("sequence-0", "sequence 0", {"sequence": 0}),
        ("version-state", "state 3 of a version", {"states": [1, 3]}),
        ("version-reserved-1", "a reserved byte of a version", {"reserved": (1, 0)}),
        ("version-reserved-2", "reserved bytes of a version", {"reserved": (0, 1)}),
        ("numbers-gap", "a gap in the numbers", {"numbers": [1, 3]}),
        ("numbers-twice", "one number twice", {"numbers": [1, 1]}),
        ("numbers-0", "numbers from 0", {"numbers": [0, 1]}),
        ("padding", "a key with padding that is not zero", {"padding": True}),
        ("plain-with-salt", "a salt without a passphrase", {"tail": bytes(16) + b"\1" + bytes(55)}),
    ]:
        yield f"refuse-{name}", comment, "corrupt", build_key_file(**changes), None, "1", blob
    yield "refuse-257", "more versions than there can be", "corrupt", build_key_file(257), None, "1", blob
    yield "refuse-empty", "no bytes", "corrupt", b"", None, "1", blob
    yield "refuse-truncated", "cut by one byte", "corrupt", plain[:-1], None, "1", blob
    yield "refuse-trailing", "one byte too many", "corrupt", plain + b"\0", None, "1", blob
    for name, comment, at, bit in [
        ("mac", "a broken MAC", -1, 1), ("kek-2", "a damaged key that is not the one asked for", 112 + 64 + 24, 1),
        ("kek-1", "a damaged first key", 112 + 24, 1), ("created", "a changed time", 112 + 8, 1),
        ("flip-state", "a state flipped without a new MAC", 11, 3), ("key-id", "another key_id", 16, 1),
    ]:
        changed = bytearray(plain)
        changed[at] ^= bit
        yield f"refuse-plain-{name}", comment, "corrupt", bytes(changed), None, "1", blob
    disabled = bytearray(build_key_file(passphrase=word, states=[1, 2]))
    disabled[112 + 64 + 4] = 1
    yield "refuse-enabled-by-hand", "a disabled version, enabled without the passphrase", "corrupt", bytes(disabled), \
        word, "2", blob_2
    for name, comment, at, bit, reason in [
        ("mac", "a broken MAC", -1, 1, "corrupt"), ("key-state", "the key's state flipped", 11, 3, "corrupt"),
        ("salt", "another salt", 56, 1, "auth"), ("memory", "more memory than was asked for", 40, 4, "auth"),
        ("passes", "more passes than were asked for", 44, 4, "auth"), ("pcmt", "a damaged PCMT", 80, 1, "auth"),
        ("kek", "a damaged wrapped key", 112 + 24, 1, "corrupt"), ("sequence", "another sequence", 32, 1, "corrupt"),
    ]:
        changed = bytearray(locked)
        changed[at] ^= bit
        yield f"refuse-passphrase-{name}", comment, reason, bytes(changed), word, "1", blob
    yield "refuse-wrong-passphrase", "another passphrase", "auth", locked, word + " ", "1", blob
    yield "refuse-no-passphrase", "no passphrase given", "auth", locked, None, "1", blob
    for name, at, value in [
        ("memory-floor", 40, 65535), ("memory-ceiling", 40, 1048577), ("memory-huge", 40, 0xFFFFFFFF),
        ("passes-floor", 44, 2), ("passes-ceiling", 44, 17), ("lanes-floor", 48, 0), ("lanes-ceiling", 48, 5),
    ]:
        changed = bytearray(locked)
        changed[at : at + 4] = u32(value)
        yield f"refuse-{name}", f"Argon2id parameters out of range: {value}", "corrupt", bytes(changed), word, "1", blob

    yield "refuse-disabled", "the key is disabled", "disabled", build_key_file(state=2), None, "1", blob
    yield "refuse-version-disabled", "the version is disabled", "version", build_key_file(states=[1, 2]), None, "2", blob_2
    for version in ("0", "3", "01", "+1", "latest"):
        yield f"refuse-version-{version}", "a version that is not there", "version", plain, None, version, blob
    yield "refuse-crossed", "what version 1 wrapped, under version 2", "corrupt", plain, None, "2", blob
    yield "refuse-blob-short", "80 bytes", "corrupt", plain, None, "1", blob[:80]
    short = aes_key_wrap(fixed("version 1"), ROOT_80[:72])
    yield "refuse-blob-of-72", "72 wrapped bytes", "corrupt", plain, None, "1", short


def write_vector(kind, name, lines, reason, given):
    lines = [f"expect: {'rejected' if reason else 'accepted'}"] + lines
    lines += [f"reason: {reason}"] if reason else [f"{field}: {value}" for field, value in given().items()]
    path = VECTORS / kind / f"{name}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def write_all():
    for name, comment, reason, store, slot in keyring_vectors():
        assert len(slot) <= SLOT_LEN
        lines = ["section: 6", f"comment: {comment}"]
        lines += [f"kek: {uri} {version} {kek.hex()}" for (uri, version), kek in store.keks.items()]
        lines.append(f"slot: {slot.rstrip(bytes(1)).hex()}")
        write_vector("keyring", name, lines, reason, lambda: open_keyring(slot.ljust(SLOT_LEN, b"\0"), store.keks))
    for name, comment, reason, file, passphrase, version, blob in key_file_vectors():
        lines = ["section: 8", f"comment: {comment}"]
        lines += [f"passphrase: {passphrase}"] if passphrase is not None else []
        lines += [f"file: {file.hex()}", f"version: {version}", f"blob: {blob.hex()}"]
        write_vector("keyfile", name, lines, reason, lambda: open_key_file(file, passphrase, version, blob))


if __name__ == "__main__":
    main()
