#!/usr/bin/env python3
"""A log that asks a witness over HTTP, as C2SP tlog-witness has it, and checks each of its answers.

    witness_client.py key ORIGIN SEED_HEX                          the log's verifier key
    witness_client.py first URL ORIGIN SEED_HEX WITNESS_VKEY       a log that begins; every refusal; up to 12 leaves
    witness_client.py again URL ORIGIN SEED_HEX WITNESS_VKEY       goes on from 12 leaves with a witness that was killed
"""

import base64
import http.client
import sys
import time
import urllib.parse

import tlog


def leaves(count, salt=b""):
    return [tlog.leaf_hash(b"entry %d" % i + (salt if i >= 4 else b"")) for i in range(count)]


class Log:
    def __init__(self, url, origin, seed, witness):
        self.url, self.origin, self.seed, self.witness = urllib.parse.urlsplit(url), origin, seed, witness
        self.connection = http.client.HTTPConnection(self.url.netloc, timeout=20)

    def post(self, body, path="/add-checkpoint", method="POST"):
        self.connection.request(method, self.url.path + path, body if isinstance(body, bytes) else body.encode())
        answer = self.connection.getresponse()
        text = answer.read().decode()
        if answer.getheader("connection") == "close":
            self.connection.close()
        return answer.status, answer.getheader("content-type"), text

    def note(self, size, salt=b"", seed=None, origin=None):
        return tlog.checkpoint(origin or self.origin, size, tlog.root(leaves(size, salt)), seed or self.seed)

    def body(self, old, size, salt=b"", proof=None, **more):
        hashes = tlog.consistency(old, leaves(size, salt)) if proof is None else proof
        lines = "".join(base64.b64encode(h).decode() + "\n" for h in hashes)
        return f"old {old}\n{lines}\n" + self.note(size, salt, **more)

    def accepted(self, body):
        status, _, answer = self.post(body)
        assert status == 200, (status, answer)
        text, _ = tlog.split_note(body.split("\n\n", 1)[1])
        lines = answer.splitlines()
        assert answer.endswith("\n") and len(lines) == 1, answer
        at = tlog.check_line(self.witness, text, lines[0])
        assert at and abs(at - time.time()) < 300, at

    def conflict(self, size, body):
        assert self.post(body) == (409, "text/x.tlog.size", f"{size}\n"), self.post(body)

    def refused(self, status, body, **more):
        found = self.post(body, **more)
        assert found[0] == status, (status, found)


def first(log):
    log.accepted(log.body(0, 5))
    log.accepted(log.body(5, 5))
    log.conflict(5, log.body(0, 7))
    log.conflict(5, log.body(0, 3))
    log.conflict(5, log.body(5, 5, salt=b"another history"))
    log.refused(422, log.body(5, 8, salt=b"another history"))
    log.refused(422, log.body(5, 8, proof=[]))
    log.refused(422, log.body(5, 8, proof=tlog.consistency(5, leaves(8)) + [bytes(32)]))
    log.refused(403, log.body(5, 8, seed=bytes([9] * 32)))
    log.refused(404, log.body(5, 8, origin="log.example/unknown"))
    log.refused(400, "old 9\n\n" + log.note(8))
    log.refused(400, log.body(5, 8).replace("old 5", "old 05"))
    log.refused(400, log.body(5, 8).replace("old 5\n", "old 5\r\n"))
    log.refused(400, log.body(5, 8, proof=[bytes(32)] * 64))
    log.refused(400, b"")
    log.refused(400, b"\xff" * 100)
    log.refused(413, b"x" * (80 * 1024 + 1))
    log.refused(404, log.body(5, 8), path="/")
    log.refused(405, b"", method="GET")
    # None of it moved the witness. Signatures of keys that it does not know are passed over.
    body = log.body(5, 12)
    stranger = tlog.line("stranger.example", tlog.ED25519, tlog.public_key(bytes([7] * 32)), bytes(64))
    log.accepted(body + stranger)
    log.conflict(12, log.body(5, 12))


def again(log):
    log.conflict(12, log.body(0, 12))
    log.conflict(12, log.body(12, 12, salt=b"another history"))
    log.refused(422, log.body(12, 20, salt=b"another history"))
    log.accepted(log.body(12, 20))
    # More at once than is taken; the witness goes on after a pause.
    request = log.body(20, 20)
    statuses = [log.post(request)[0] for _ in range(400)]
    assert 429 in statuses and set(statuses) <= {200, 429}, set(statuses)
    time.sleep(2)
    log.accepted(log.body(20, 21))


def main(command, *arguments):
    if command == "key":
        origin, seed = arguments
        print(tlog.vkey(origin, tlog.ED25519, tlog.public_key(bytes.fromhex(seed))))
        return
    url, origin, seed, witness = arguments
    log = Log(url, origin, bytes.fromhex(seed), witness)
    {"first": first, "again": again}[command](log)
    print("ok")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(*sys.argv[1:])
