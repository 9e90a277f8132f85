"""Kafka's tools that move records: console, performance, verifiable, transactional copier."""

import json

from harness import BOOTSTRAP, KT, case, command, contains, equal, topic, unique
from records import producer, read, send


def kt(tool, *words, **more):
    return command(KT, tool, "--bootstrap-server", BOOTSTRAP, *words, **more)


def console_read(name, count, *words):
    text = kt("consumer.ConsoleConsumer", "--topic", name, "--from-beginning", "--max-messages",
              count, "--timeout-ms", 30_000, *words)
    return [line for line in text.splitlines() if not line.startswith("Processed")]


@case
def console():
    name = topic()
    lines = ["color:blue\tk1\tv1", "color:red\tk2\tv2"]
    kt("ConsoleProducer", "--topic", name, "--reader-property", "parse.key=true",
       "--reader-property", "parse.headers=true", stdin="\n".join(lines) + "\n")
    shown = console_read(name, 2, *sum((["--formatter-property", f"print.{p}=true"] for p in
                                        ("key", "headers", "offset", "partition")), []))
    equal(shown, ["Partition:0\tOffset:0\tcolor:blue\tk1\tv1",
                  "Partition:0\tOffset:1\tcolor:red\tk2\tv2"])
    equal(console_read(name, 1, "--group", unique("group")), ["v1"])
    part = kt("consumer.ConsoleConsumer", "--topic", name, "--partition", 0, "--offset", 1,
              "--max-messages", 1)
    equal(part.split(), ["v2"])


@case
def console_new_protocol():
    name, group = topic(partitions=2), unique("group")
    for p in range(2):
        send(producer(), name, [f"{p}-{i}" for i in range(5)], p)
    words = ["--group", group, "--command-property", "group.protocol=consumer"]
    equal(sorted(console_read(name, 10, *words)), sorted(f"{p}-{i}" for p in range(2) for i in range(5)))
    send(producer(), name, ["next"], 1)
    equal(console_read(name, 1, *words), ["next"], "after the commit")


@case(seconds=120)
def console_compression():
    """What Java compresses, librdkafka reads, and the other way round."""
    for codec in ("gzip", "snappy", "lz4", "zstd"):
        name = topic(codec)
        lines = [f"{codec} {'z' * 300} {i}" for i in range(500)]
        kt("ConsoleProducer", "--topic", name, "--compression-codec", codec,
           stdin="\n".join(lines) + "\n")
        equal(read(name, check_crcs=True), lines, codec)
        more = [f"more {'z' * 300} {i}" for i in range(500)]
        send(producer(compression_type=codec, linger_ms=50), name, more)
        equal(console_read(name, 1000), lines + more, codec)


@case(seconds=90)
def performance():
    name = topic(partitions=4)
    text = kt("ProducerPerformance", "--topic", name, "--num-records", 50_000, "--record-size", 200,
              "--throughput", -1, "--command-property", "acks=all", "linger.ms=5")
    contains(text, "50000 records sent")
    ends = kt("GetOffsetShell", "--topic", name).split()
    equal(sum(int(line.split(":")[2]) for line in ends), 50_000)
    for protocol in ("classic", "consumer"):
        text = kt("ConsumerPerformance", "--topic", name, "--num-records", 50_000, "--hide-header",
                  "--timeout", 20_000, "--group", unique(protocol),
                  "--command-property", f"group.protocol={protocol}")
        row = text.strip().splitlines()[-1].split(", ")
        equal(int(row[4]), 50_000, f"records of {row}")


@case
def performance_transactional():
    name = topic(partitions=2)
    text = kt("ProducerPerformance", "--topic", name, "--num-records", 3000, "--payload-monotonic",
              "--throughput", 2000, "--transactional-id", unique("txn"),
              "--transaction-duration-ms", 50)
    contains(text, "3000 records sent")
    got = read(name, 2)
    equal(sorted(map(int, got)), list(range(3000)))


@case
def end_to_end_latency():
    name = topic()
    text = kt("EndToEndLatency", "--topic", name, "--num-records", 200, "--producer-acks", "all",
              "--record-size", 20)
    contains(text, "Avg latency", "Percentiles")


def events(text, kind):
    return [e for e in map(json.loads, text.splitlines()) if e["name"] == kind]


@case(seconds=90)
def verifiable():
    name = topic(partitions=2)
    text = kt("VerifiableProducer", "--topic", name, "--max-messages", 2000, "--value-prefix", 7,
              "--repeating-keys", 10)
    sent = events(text, "producer_send_success")
    equal(sorted(e["value"] for e in sent), sorted(f"7.{i}" for i in range(2000)))
    equal(events(text, "tool_data")[0]["acked"], 2000)
    places = {(e["partition"], e["offset"]): (e["key"], e["value"]) for e in sent}
    equal(len(places), 2000, "acknowledged places")
    for protocol in ("classic", "consumer"):
        text = kt("VerifiableConsumer", "--topic", name, "--group-id", unique(protocol),
                  "--group-protocol", protocol, "--max-messages", 2000, "--verbose",
                  "--reset-policy", "earliest")
        got = events(text, "record_data")
        equal({(e["partition"], e["offset"]): (e["key"], e["value"]) for e in got}, places)
        equal(len(got), 2000)
        committed = events(text, "offsets_committed")
        equal(all(e["success"] for e in committed) and len(committed) > 0, True)


@case(seconds=120)
def transactional_copier():
    """Consume-transform-produce in Java, with aborts on purpose: copied exactly once, in order."""
    source, target = topic("source"), topic("target")
    lines = [str(i) for i in range(1000)]
    send(producer(), source, lines)
    text = command(
        KT, "TransactionalMessageCopier", "--broker-list", BOOTSTRAP, "--input-topic", source,
        "--input-partition", 0, "--output-topic", target, "--transactional-id", unique("txn"),
        "--consumer-group", unique("group"), "--transaction-size", 50, "--enable-random-aborts",
        "--group-mode", "--use-group-metadata",
    )
    equal(json.loads(text.splitlines()[-1])["remaining"], 0)
    equal(read(target), lines)
