"""Hears what a client says to the node and what it is answered, and says it on standard output, one JSON object a line.

It listens where Python's own http.client writes to the socket and reads from it, on which requests and urllib3 stand, and so
all of the clients here: their retries are heard too, of which some of them tell nobody. The clients themselves stay as they
are. Rejected: a proxy between client and node, which would have to read HTTP, and which the node would see instead of the client.

A lane is what one client sends to one path in one encoding. On a lane one request is made after the other.
"""
import base64
import collections
import gzip
import http.client
import io
import json
import sys
import threading
import zlib

import brotli

_lock = threading.Condition()
_statuses = collections.defaultdict(list)


def say(**members):
    """One line, whole, whichever thread says it."""
    with _lock:
        sys.stdout.write(json.dumps(members) + "\n")
        sys.stdout.flush()


def statuses(lane):
    """All answers to a lane so far."""
    with _lock:
        return list(_statuses[lane])


def uncoded(body, encoding):
    """A body as it was before it was compressed, by what this end knows of it: the node and its worker have no part in this."""
    if encoding == "br":
        return brotli.decompress(body)
    if encoding == "gzip" and body[:2] == b"\x1f\x8b":
        return gzip.decompress(body)
    if encoding == "gzip":
        return zlib.decompress(body)  # as AppSignal's agents label it
    if encoding is None:
        return body
    raise ValueError(f"a body came labelled {encoding}")


def _heard(request, response, answer):
    head, body = bytes(request).split(b"\r\n\r\n", 1)
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    fields = {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in lines)}
    if len(body) != int(fields.get("content-length", 0)):
        raise ValueError(f"{method} with a body that isn't of its Content-Length")
    encoding = fields.get("content-encoding")
    # Without the query: a key may be in it.
    lane = f"{target.split('?')[0]} {encoding or 'plain'}"
    with _lock:
        _statuses[lane].append(response.status)
        say(
            kind="heard",
            lane=lane,
            status=response.status,
            retryAfter=response.getheader("retry-after"),
            contentType=response.getheader("content-type"),
            answer=base64.b64encode(answer).decode(),
            sent=base64.b64encode(uncoded(body, encoding)).decode(),
        )
        _lock.notify_all()


class _Response(http.client.HTTPResponse):
    """Reads the body at once, and hands it on from memory."""

    answer = b""

    def begin(self):
        super().begin()
        if self.fp is not None and self.length:
            self.answer = self.fp.read(self.length)
            self.fp.close()
            self.fp = io.BytesIO(self.answer)


def _listen():
    connection = http.client.HTTPConnection
    connection.response_class = _Response
    putrequest, send, getresponse = connection.putrequest, connection.send, connection.getresponse

    def listening_putrequest(self, *arguments, **options):
        self.said = bytearray()
        return putrequest(self, *arguments, **options)

    def listening_send(self, data):
        self.said += data
        return send(self, data)

    def listening_getresponse(self, *arguments, **options):
        response = getresponse(self, *arguments, **options)
        _heard(self.said, response, response.answer)
        return response

    connection.putrequest = listening_putrequest
    connection.send = listening_send
    connection.getresponse = listening_getresponse


_listen()
