#!/usr/bin/env python3
"""Opens and seals the vectors of pages and values again, from docs/format.md alone.

Shares no code with the product: AES-GCM, ChaCha20-Poly1305 and HKDF come from the Python package
`cryptography`, AEGIS-256X2 and CRC-32C are written out below. Every vector must get the answer it
expects, and everything that opens must seal to the same bytes.

    python3 tests/crosscheck/frames.py
"""

import re
import struct
import sys
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

ROOT = Path(__file__).resolve().parents[2]
SUITES = {1: {1: 1}, 2: {1: 1, 2: 2}, 3: {1: 1, 2: 3}}
SLOT = 64


class Refused(Exception):
    """The reader must refuse."""


def require(condition, what):
    if not condition:
        raise Refused(what)


# --- AES round and AEGIS-256X2 (draft-irtf-cfrg-aegis-aead) ---------------------------------------


def _sbox():
    box, p, q = [0] * 256, 1, 1
    while True:
        p = (p ^ (p << 1) ^ (0x11B if p & 0x80 else 0)) & 0xFF
        q ^= q << 1
        q ^= q << 2
        q ^= q << 4
        q &= 0xFF
        if q & 0x80:
            q ^= 0x09
        rotated = q
        value = q
        for _ in range(4):
            rotated = ((rotated << 1) | (rotated >> 7)) & 0xFF
            value ^= rotated
        box[p] = value ^ 0x63
        if p == 1:
            break
    box[0] = 0x63
    return box


SBOX = _sbox()


def _double(x):
    return ((x << 1) ^ (0x1B if x & 0x80 else 0)) & 0xFF


def _table():
    """For each input byte of a column, what it adds to the four bytes of the output column."""
    rows = []
    for row in range(4):
        entries = []
        for x in range(256):
            s = SBOX[x]
            column = [0] * 4
            for out, factor in enumerate(((2, 3, 1, 1), (1, 2, 3, 1), (1, 1, 2, 3), (3, 1, 1, 2))):
                f = factor[row]
                column[out] = s if f == 1 else _double(s) if f == 2 else _double(s) ^ s
            entries.append(int.from_bytes(bytes(column), "big"))
        rows.append(entries)
    return rows


TABLE = _table()


def aes_round(block, key):
    """One AES round on 16 bytes, as integers with the first byte most significant."""
    b = block.to_bytes(16, "big")
    out = 0
    for column in range(4):
        word = 0
        for row in range(4):
            word ^= TABLE[row][b[4 * ((column + row) % 4) + row]]
        out = (out << 32) | word
    return out ^ key


C0 = int.from_bytes(bytes.fromhex("000101020305080d1522375990e97962"), "big")
C1 = int.from_bytes(bytes.fromhex("db3d18556dc22ff12011314273b528dd"), "big")


class Aegis256X2:
    """Two lanes of AEGIS-256; the state is a list of lanes of six blocks."""

    DEGREE = 2
    RATE = 32

    def __init__(self, key, nonce):
        k0, k1 = (int.from_bytes(key[i : i + 16], "big") for i in (0, 16))
        n0, n1 = (int.from_bytes(nonce[i : i + 16], "big") for i in (0, 16))
        lane = [k0 ^ n0, k1 ^ n1, C1, C0, k0 ^ C0, k1 ^ C1]
        self.lanes = [list(lane) for _ in range(self.DEGREE)]
        context = [(i << 120) | ((self.DEGREE - 1) << 112) for i in range(self.DEGREE)]
        for _ in range(4):
            for message in (k0, k1, k0 ^ n0, k1 ^ n1):
                for lane, extra in zip(self.lanes, context):
                    lane[3] ^= extra
                    lane[5] ^= extra
                self._update([message] * self.DEGREE)

    def _update(self, messages):
        for lane, message in zip(self.lanes, messages):
            s = list(lane)
            lane[0] = aes_round(s[5], s[0] ^ message)
            for i in range(1, 6):
                lane[i] = aes_round(s[i - 1], s[i])

    def _stream(self):
        out = b""
        for s in self.lanes:
            out += (s[1] ^ s[4] ^ s[5] ^ (s[2] & s[3])).to_bytes(16, "big")
        return out

    def _absorb(self, chunk):
        self._update([int.from_bytes(chunk[i : i + 16], "big") for i in range(0, self.RATE, 16)])

    def _pad(self, chunk):
        return chunk + bytes(self.RATE - len(chunk))

    def _tag(self, aad_len, message_len):
        lengths = int.from_bytes(struct.pack("<QQ", aad_len * 8, message_len * 8), "big")
        mixed = [lane[3] ^ lengths for lane in self.lanes]
        for _ in range(7):
            self._update(mixed)
        tag = 0
        for lane in self.lanes:
            for word in lane:
                tag ^= word
        return tag.to_bytes(16, "big")

    def _run(self, data, aad, sealing):
        for i in range(0, len(aad), self.RATE):
            self._absorb(self._pad(aad[i : i + self.RATE]))
        out = b""
        for i in range(0, len(data), self.RATE):
            chunk = data[i : i + self.RATE]
            result = bytes(a ^ b for a, b in zip(chunk, self._stream()))
            self._absorb(self._pad(chunk if sealing else result))
            out += result
        return out, self._tag(len(aad), len(data))


def aegis_seal(key, nonce, message, aad):
    return Aegis256X2(key, nonce)._run(message, aad, True)


def aegis_open(key, nonce, sealed, tag, aad):
    message, expected = Aegis256X2(key, nonce)._run(sealed, aad, False)
    if expected != tag:
        raise InvalidTag
    return message


def aegis_self_test():
    """Vectors of the draft: the AES round, and test vector 2 of AEGIS-256X2."""
    block = int("000102030405060708090a0b0c0d0e0f", 16)
    key = int("101112131415161718191a1b1c1d1e1f", 16)
    assert aes_round(block, key) == int("7a7b4e5638782546a8c0477a3b813f43", 16)
    key, nonce = bytes(range(32)), bytes(range(16, 48))
    message, aad = bytes.fromhex("04050607" * 30)[:120], bytes.fromhex("0102030401020304")
    sealed, tag = aegis_seal(key, nonce, message, aad)
    assert sealed.hex().startswith("72120c2ea8236180d67859001f4729077b7064c414384fe3a7b52f1571f4f8a7")
    assert tag.hex() == "635d391828520bf1512763f0c8f5cdbd"
    assert aegis_open(key, nonce, sealed, tag, aad) == message


# --- CRC-32C ---------------------------------------------------------------------------------------


def _crc_table():
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


CRC_TABLE = _crc_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = (crc >> 8) ^ CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


# --- keys ------------------------------------------------------------------------------------------


def expand(key, info):
    return HKDFExpand(algorithm=SHA256(), length=32, info=info).derive(key)


def label(text):
    return text.encode().ljust(16, b"\0")


def seal(algorithm, key, iv, aad, message):
    """Ciphertext and tag."""
    if algorithm == 3:
        return aegis_seal(key, iv + bytes(20), message, aad)
    aead = {1: AESGCM, 2: ChaCha20Poly1305}[algorithm](key)
    sealed = aead.encrypt(iv, message, aad)
    return sealed[:-16], sealed[-16:]


def unseal(algorithm, key, iv, aad, sealed, tag):
    try:
        if algorithm == 3:
            return aegis_open(key, iv + bytes(20), sealed, tag, aad)
        aead = {1: AESGCM, 2: ChaCha20Poly1305}[algorithm](key)
        return aead.decrypt(iv, sealed + tag, aad)
    except InvalidTag:
        raise Refused("tag") from None


def dek_of(vector, layer, dek_id):
    key = vector.get(f"dek.{layer}.{dek_id}")
    require(key is not None, "unknown DEK")
    return bytes.fromhex(key)


# --- pages (format section 3) ----------------------------------------------------------------------


class Page:
    def __init__(self, vector):
        self.vector = vector
        self.algorithms = SUITES[int(vector["suite"])]
        self.size = int(vector["page_size"])
        self.slot_count = int(vector["slot_count"])
        self.store = bytes.fromhex(vector["store_id"])
        self.file = bytes.fromhex(vector["file_id"])
        self.number = int(vector["page"])
        self.version = int(vector["version"])

    def key(self, layer, dek_id, salt):
        algorithm = self.algorithms[layer]
        info = label("cofferdam page") + bytes([layer, algorithm]) + self.store + self.file
        info += struct.pack("<I", dek_id) + salt
        return expand(dek_of(self.vector, layer, dek_id), info)

    def aad(self, layer, dek_id, version):
        head = bytes([layer, self.algorithms[layer], self.size.bit_length() - 1, 1])
        place = struct.pack("<QQ", self.number, version)
        return b"CDP1" + head + self.store + self.file + place + struct.pack("<IHH", dek_id, 0, 0)

    def head(self, slot, layer):
        """The DEK id and version of a slot, after everything else in its head was checked."""
        format_, algorithm, flags, dek_id, version = struct.unpack_from("<BBHIQ", slot)
        require(format_ == 1, "format")
        require(algorithm == self.algorithms[layer], "algorithm")
        require(flags == 0, "flags")
        require(dek_id != 0, "DEK id 0")
        return dek_id, version

    def open(self, frame):
        require(len(frame) == self.size + SLOT * self.slot_count, "length")
        body = frame[: self.size]
        slots = [frame[i : i + SLOT] for i in range(self.size, len(frame), SLOT)]
        layers = sorted(self.algorithms)
        for slot in slots[len(layers) :]:
            require(slot == bytes(SLOT), "a slot without a layer")
        heads = [self.head(slot, layer) for slot, layer in zip(slots, layers)]
        claimed = heads[0][1]
        require(claimed == 0 if self.version == 0 else True, "version of a page with one home")
        for slot, (_, version) in zip(slots, heads):
            require(version == claimed, "versions differ")
        inner = slots[0][16:60]
        if len(layers) == 2:
            require(slots[0][60:] == bytes(4), "checksum in the inner slot")
            message = self.open_layer(2, heads[1], body + inner, slots[1][16:60])
            body, inner = message[: self.size], message[self.size :]
        page = self.open_layer(1, heads[0], body, inner)
        return page, inner, heads

    def open_layer(self, layer, head, sealed, secrets):
        dek_id, version = head
        salt, iv, tag = secrets[:16], secrets[16:28], secrets[28:]
        key = self.key(layer, dek_id, salt)
        aad = self.aad(layer, dek_id, version)
        return unseal(self.algorithms[layer], key, iv, aad, sealed, tag)

    def seal_again(self, page, inner, heads, frame):
        """The frame of a page with the salts and IVs that a frame has."""
        body, outer = page, frame[self.size + SLOT : self.size + 2 * SLOT]
        slots = b""
        for layer, secrets in ((1, inner), (2, outer[16:60])):
            if layer not in self.algorithms:
                break
            dek_id, version = heads[layer - 1]
            salt, iv = secrets[:16], secrets[16:28]
            key, aad = self.key(layer, dek_id, salt), self.aad(layer, dek_id, version)
            algorithm = self.algorithms[layer]
            hidden = slots[16:60]
            sealed, tag = seal(algorithm, key, iv, aad, body + hidden)
            body = sealed[: self.size]
            if hidden:
                slots = slots[:16] + sealed[self.size :] + bytes(4)
            slots += struct.pack("<BBHIQ", 1, algorithm, 0, dek_id, version)
            slots += salt + iv + tag + bytes(4)
        end = self.size + len(slots)
        whole = (body + slots).ljust(len(frame), b"\0")
        crc = struct.pack("<I", crc32c(whole))
        return whole[: end - 4] + crc + whole[end:]


def check_page(vector):
    page = Page(vector)
    frame = bytes.fromhex(vector["frame"])
    try:
        plaintext, inner, heads = page.open(frame)
    except Refused:
        return "rejected"
    assert plaintext.hex() == vector["plaintext"], "another plaintext"
    assert page.version == heads[0][1], "another version"
    assert page.seal_again(plaintext, inner, heads, frame) == frame, "seals to another frame"
    return "opened"


# --- values (format section 7) ---------------------------------------------------------------------


def value_parameters(vector, layer, dek_id, salt):
    algorithm = SUITES[int(vector["suite"])][layer]
    store, scope = bytes.fromhex(vector["store_id"]), bytes.fromhex(vector["scope_id"])
    context = bytes.fromhex(vector["context"])
    info = label("cofferdam value") + bytes([layer, algorithm]) + store + scope
    info += struct.pack("<I", dek_id) + salt
    aad = b"CDV1" + bytes([layer, algorithm, 0, 1]) + store + scope
    aad += struct.pack("<II", dek_id, len(context)) + context
    return algorithm, expand(dek_of(vector, layer, dek_id), info), aad


def check_value(vector):
    record = bytes.fromhex(vector["sealed"])
    layers, opened = sorted(SUITES[int(vector["suite"])]), []
    try:
        for layer in reversed(layers):
            require(len(record) >= 52, "too short")
            format_, algorithm, flags, dek_id = struct.unpack_from("<BBHI", record)
            require((format_, flags) == (1, 0), "format or flags")
            require(algorithm == SUITES[int(vector["suite"])][layer], "algorithm")
            require(dek_id != 0, "DEK id 0")
            salt, iv = record[8:24], record[24:36]
            algorithm, key, aad = value_parameters(vector, layer, dek_id, salt)
            opened.append((layer, record))
            record = unseal(algorithm, key, iv, aad, record[36:-16], record[-16:])
    except Refused:
        return "rejected"
    assert record.hex() == vector["plaintext"], "another plaintext"
    for layer, whole in reversed(opened):
        dek_id = struct.unpack_from("<I", whole, 4)[0]
        algorithm, key, aad = value_parameters(vector, layer, dek_id, whole[8:24])
        sealed, tag = seal(algorithm, key, whole[24:36], aad, record)
        record = whole[:36] + sealed + tag
        assert record == whole, "seals to another value"
    return "opened"


# --- files -----------------------------------------------------------------------------------------


def parse(text):
    """`name: value` lines; indented lines continue the value above them."""
    vector, name = {}, None
    for line in text.splitlines():
        if line.startswith("  "):
            vector[name] += line.strip()
        else:
            name, _, value = line.partition(":")
            assert name not in vector, f"{name} is there twice"
            vector[name] = value.strip()
    return vector


def check_example():
    """The worked example of the format, from its own text."""
    document = (ROOT / "docs/format.md").read_text()
    section = document[document.index("## 11 Worked example") :]
    example = parse(re.search(r"```text\n(.*?)```", section, re.S).group(1))
    vector = {
        "suite": "2",
        "page_size": "512",
        "slot_count": "2",
        "store_id": example["store_id"],
        "file_id": example["file_id"],
        "page": "7",
        "version": "0",
        "dek.1.1": example["DEK_1,1"],
        "dek.2.1": example["DEK_1,2"],
        "plaintext": example["page"],
        "frame": "".join(example[f"frame {part}"] for part in ("page", "slot 1", "slot 2")),
    }
    page = Page(vector)
    for layer in (1, 2):
        salt = bytes.fromhex(example[f"salt_{layer}"])
        info = bytes.fromhex(example[f"info_{layer}"])
        key = bytes.fromhex(example[f"PAGE_{layer}"])
        assert expand(bytes.fromhex(example[f"DEK_1,{layer}"]), info) == key == page.key(layer, 1, salt)
        assert page.aad(layer, 1, 0).hex() == example[f"AAD_{layer}"]
    iv = bytes.fromhex(example["IV_1"])
    sealed, tag = seal(1, page.key(1, 1, bytes.fromhex(example["salt_1"])), iv, page.aad(1, 1, 0), bytes.fromhex(example["page"]))
    assert (sealed.hex(), tag.hex()) == (example["ct"], example["tag_1"])
    assert check_page(vector) == "opened"


def main():
    aegis_self_test()
    check_example()
    counts, failed = {"opened": 0, "rejected": 0}, 0
    for folder, check in (("page", check_page), ("value", check_value)):
        for path in sorted((ROOT / "tests/vectors" / folder).glob("*.txt")):
            vector = parse(path.read_text())
            try:
                answer = check(vector)
            except (AssertionError, KeyError, ValueError) as error:
                answer = f"error: {error}"
            if answer == vector["expect"]:
                counts[answer] += 1
            else:
                failed += 1
                print(f"{folder}/{path.name}: {answer}, expected {vector['expect']}: {vector['comment']}")
    passed = counts["opened"] + counts["rejected"]
    print(f"worked example agrees; {counts['opened']} opened, {counts['rejected']} rejected")
    print(f"frames: {passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
