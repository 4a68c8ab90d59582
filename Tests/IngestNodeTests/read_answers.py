"""Reads what came back on connections with h11, a parser that has nothing to do with ours.

Standard input: one JSON object a line, {"methods": [...], "stream": base64}: the methods of the requests that a client
sent on one connection, and all that came back. Standard output: one JSON object a line with the answers that h11 saw,
and what it had to object to, bytes behind the last answer among that.
"""
import base64
import json
import sys

import h11


def one(client, method):
    """The answer to one request; None if the connection ended before it."""
    client.send(h11.Request(method=method, target="/", headers=[("Host", "h")]))
    client.send(h11.EndOfMessage())
    invitations = 0
    body = b""
    while True:
        event = client.next_event()
        if isinstance(event, h11.InformationalResponse):
            invitations += 1
        elif isinstance(event, h11.Response):
            response = event
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            break
        elif isinstance(event, h11.ConnectionClosed):
            return None
        else:
            raise RuntimeError(f"h11 said {event!r}")
    headers = {}
    for name, value in response.headers:
        if name in headers:
            raise RuntimeError(f"{name!r} came twice")
        headers[name] = value.decode()
    return {
        "status": response.status_code,
        "connection": headers.get(b"connection", ""),
        "type": headers[b"content-type"],
        "length": int(headers[b"content-length"]),
        "body": base64.b64encode(body).decode(),
        "invitations": invitations,
    }


def read(methods, stream):
    client = h11.Connection(our_role=h11.CLIENT)
    client.receive_data(stream)
    client.receive_data(b"")
    answers = []
    for method in methods:
        answer = one(client, method)
        if answer is None:
            break
        answers.append(answer)
        if client.their_state is not h11.DONE:
            break
        client.start_next_cycle()
    # What h11 still has is more than the answers to these requests.
    if client.trailing_data[0]:
        raise RuntimeError(f"behind the last answer came {client.trailing_data[0][:80]!r}")
    return answers


for line in sys.stdin:
    conversation = json.loads(line)
    result = {"answers": [], "objection": None}
    try:
        result["answers"] = read(conversation["methods"], base64.b64decode(conversation["stream"]))
    except Exception as objection:
        result["objection"] = f"{type(objection).__name__}: {objection}"
    print(json.dumps(result))
