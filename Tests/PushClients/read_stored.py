"""Reads what a worker has stored, and decodes each body as the service would whose clients sent it: OTLP's by the protobuf messages of
its authors, the others by their own formats.

One argument: the SQLite file. Standard output: one JSON object a line, with what the body says in `said`.
"""
import json
import sqlite3
import sys

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


def service(resource):
    names = [each.value.string_value for each in resource.attributes if each.key == "service.name"]
    if names != ["checkout"]:
        raise ValueError(f"the service is {names}")


def traces(body):
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        service(resource.resource)
        for scope in resource.scope_spans:
            yield from (span.name for span in scope.spans)


def metrics(body):
    for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
        service(resource.resource)
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                yield from (f"{metric.name} = {point.as_int}" for point in metric.sum.data_points)


def logs(body):
    for resource in ExportLogsServiceRequest.FromString(body).resource_logs:
        service(resource.resource)
        for scope in resource.scope_logs:
            yield from (record.body.string_value for record in scope.log_records)


def batch(body):
    return [event["data"]["text"] for event in json.loads(body)]


def envelope(body):
    header, *rest = body.split(b"\n")
    json.loads(header)
    while rest and rest[0]:
        item = json.loads(rest.pop(0))
        content = json.loads(rest.pop(0))
        if item["type"] == "event":
            yield content["message"]


def entries(body):
    return [entry["log_entry"]["action"] for entry in json.loads(body)]


def marker(body):
    return [json.loads(body)["revision"]]


def reading(path):
    readers = {
        "/v1/traces": traces,
        "/v1/metrics": metrics,
        "/v1/logs": logs,
        "/1/log_entries": entries,
        "/1/markers": marker,
    }
    if path.startswith("/1/batch/"):
        return batch
    if path.startswith("/api/"):
        return envelope
    return readers[path]


database = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True)
rows = database.execute("SELECT path, account, content_type, content_encoding, undone, body FROM payloads")
for path, account, content_type, content_encoding, undone, body in rows:
    row = {
        "lane": f"{path} {content_encoding or 'plain'}",
        "account": account,
        "contentType": content_type,
        "undone": undone,
        "said": list(reading(path)(body)),
    }
    print(json.dumps(row))
