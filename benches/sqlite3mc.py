"""SQLite3MultipleCiphers as a contender of benches/src/bin/sqlite: the protocol is described in its server.rs.

The argument is `plain`, for any apsw without a key, or the name of a cipher: aegis256x4, aegis256, chacha20. Which
apsw that is, with the ciphers or without, is up to PYTHONPATH.
"""

import sys
import time

import apsw

AEGIS = {"aegis256": 4, "aegis256x4": 6}


def opened(path, cipher):
    if cipher == "plain":
        return apsw.Connection(path)
    algorithm = AEGIS.get(cipher)
    parameters = f"cipher=aegis&algorithm={algorithm}" if algorithm else f"cipher={cipher}"
    # A raw key: no time goes into deriving it from a passphrase.
    uri = f"file:{path}?{parameters}&key=raw:" + "2b" * 32
    flags = apsw.SQLITE_OPEN_URI | apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
    connection = apsw.Connection(uri, flags=flags)
    if algorithm:
        # A misspelt parameter is ignored without a word, so ask what was understood.
        (set_to,), = connection.execute("SELECT sqlite3mc_config('aegis', 'algorithm')")
        assert set_to == algorithm, set_to
    return connection


def run(connection, statements):
    last = "-"
    wall = time.perf_counter_ns()
    cpu = time.process_time_ns()
    cursor = connection.cursor()
    for statement in statements:
        for row in cursor.execute(statement):
            last = row[0]
    cpu = time.process_time_ns() - cpu
    wall = time.perf_counter_ns() - wall
    return f"ok {cpu} {wall} {last}"


def main():
    connection = None
    for line in sys.stdin:
        word, _, rest = line.rstrip("\n").partition(" ")
        if word == "open":
            if connection is not None:
                connection.close()
            connection = opened(rest, sys.argv[1])
            answer = f"ok {apsw.sqlite_lib_version()}"
        elif word == "run":
            answer = run(connection, [sys.stdin.readline().rstrip("\n") for _ in range(int(rest))])
        else:
            raise ValueError(line)
        print(answer, flush=True)


main()
