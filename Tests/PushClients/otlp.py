"""Traces, metrics and logs by OpenTelemetry's exporters for OTLP/HTTP, each without compression and by gzip.

Metrics' and logs' records are made of the SDK's own types, as its readers and processors hand them to the exporters: these run without
the processors' timers, so that a payload is sent when the story wants one.
"""
import time

import story
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

given = story.arguments()
story.reports_of("opentelemetry.exporter")
resource = Resource({"service.name": "checkout"})


def exporter(kind, signal, compression):
    return kind(
        endpoint=f"http://{given.node}/v1/{signal}",
        headers={"authorization": f"Bearer {given.key}"},
        compression=compression,
        # For all tries of one export. By default it is 10 s, and a wait of 5 s that the node asks for could use it up.
        timeout=30,
    )


def traces(compression):
    export = exporter(OTLPSpanExporter, "traces", compression)
    tracer = TracerProvider(resource=resource).get_tracer("sluice")

    def send(number):
        span = tracer.start_span(f"span {number}", attributes={"number": number})
        span.end()
        return [f"span {number}"], export.export([span])

    return send


def metrics(compression):
    export = exporter(OTLPMetricExporter, "metrics", compression)

    def send(number):
        reader = InMemoryMetricReader()
        provider = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
        provider.get_meter("sluice").create_counter(f"metric {number}".replace(" ", "_")).add(number)
        return [f"metric_{number} = {number}"], export.export(reader.get_metrics_data())

    return send


def logs(compression):
    export = exporter(OTLPLogExporter, "logs", compression)
    memory = InMemoryLogRecordExporter()
    provider = LoggerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(memory))
    logger = provider.get_logger("sluice")

    def send(number):
        logger.emit(
            LogRecord(timestamp=time.time_ns(), body=f"log {number}", severity_number=SeverityNumber.INFO)
        )
        records = memory.get_finished_logs()
        memory.clear()
        return [f"log {number}"], export.export(records)

    return send


def lane(signal, compression):
    name = f"/v1/{signal.__name__} {'gzip' if compression is Compression.Gzip else 'plain'}"
    send = signal(compression)

    def send_and_say(number):
        said, result = send(number)
        story.outcome(name, said, result.name)

    return name, send_and_say


story.tell(
    [
        lane(signal, compression)
        for signal in (traces, metrics, logs)
        for compression in (Compression.NoCompression, Compression.Gzip)
    ],
    given,
)
