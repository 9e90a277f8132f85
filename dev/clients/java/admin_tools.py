"""Kafka's tools that administrate: topics, configs, groups, transactions, records, cluster."""

import json
import tempfile

from data import kt
from harness import BOOTSTRAP, HOUR_AGO, KT, case, command, contains, equal, eventually, topic, unique
from records import consumer, producer, read, send, take


def group_tool(*words, **more):
    return kt("consumer.group.ConsumerGroupCommand", *words, **more)


def config_tool(*words, **more):
    return kt("kafka.admin.ConfigCommand", *words, **more)


def lines_with(text, part):
    return [line for line in text.splitlines() if part in line]


@case(seconds=90)
def topics():
    name = unique("topic")
    kt("TopicCommand", "--create", "--topic", name, "--partitions", 3, "--config", "retention.ms=5000")
    contains(kt("TopicCommand", "--create", "--topic", name, fails=True), "already exists")
    equal(name in kt("TopicCommand", "--list").split(), True)
    text = kt("TopicCommand", "--describe", "--topic", name)
    contains(text, "PartitionCount: 3", "ReplicationFactor: 1", "retention.ms=5000", "TopicId: ")
    equal(len(lines_with(text, "Isr: ")), 3)
    kt("TopicCommand", "--alter", "--topic", name, "--partitions", 5)
    contains(kt("TopicCommand", "--describe", "--topic", name), "PartitionCount: 5")
    contains(kt("TopicCommand", "--alter", "--topic", name, "--partitions", 2, fails=True), "5")
    kt("TopicCommand", "--delete", "--topic", name)
    equal(name in kt("TopicCommand", "--list").split(), False)
    contains(kt("TopicCommand", "--describe", "--topic", name, fails=True), "does not exist")


@case(seconds=90)
def topic_configs():
    name = topic()
    entity = ["--entity-type", "topics", "--entity-name", name]
    config_tool(*entity, "--alter", "--add-config", "retention.ms=86400000,cleanup.policy=[compact,delete]")
    contains(config_tool(*entity, "--describe"), "retention.ms=86400000", "cleanup.policy=compact,delete")
    config_tool(*entity, "--alter", "--delete-config", "retention.ms")
    text = config_tool(*entity, "--describe")
    equal("retention.ms=86400000" in text, False)
    contains(text, "cleanup.policy=compact,delete")
    contains(config_tool(*entity, "--describe", "--all"), "retention.ms=604800000", "segment.bytes=")
    refused = config_tool(*entity, "--alter", "--add-config", "no.such.key=1", fails=True)
    contains(refused, "no.such.key")


@case
def broker_configs():
    broker = kt("TopicCommand", "--describe", "--topic", topic()).split("Leader: ")[1].split()[0]
    text = config_tool("--entity-type", "brokers", "--entity-name", broker, "--describe", "--all")
    contains(text, f"All configs for broker {broker} are", "message.max.bytes=", "num.partitions=")


def committed(group, *words):
    """{partition: (current offset, end offset, lag)} as the tool shows them."""
    rows = [r.split() for r in group_tool("--describe", "--group", group, *words).splitlines()]
    return {int(r[2]): tuple(r[3:6]) for r in rows if r and r[0] == group}


@case(seconds=150)
def groups():
    name, group = topic(partitions=2), unique("group")
    for p in range(2):
        send(producer(), name, [str(i) for i in range(10)], p)
    reader = consumer(group, client_id="reader", partition_assignment_strategy="range")
    reader.subscribe([name])
    take(reader, 20)
    reader.commit(asynchronous=False)
    text = group_tool("--describe", "--group", group, "--members", "--verbose")
    contains(text, "reader", f"{name}:0,1")
    contains(group_tool("--describe", "--group", group, "--state"), "Stable", "range")
    reset = ["--reset-offsets", "--group", group, "--topic", name, "--to-earliest", "--execute"]
    group_tool(*reset)
    equal(committed(group), {0: ("10", "10", "0"), 1: ("10", "10", "0")}, "a group in use stays")
    reader.close()
    contains(group_tool("--list", "--state", "Empty"), group)
    send(producer(), name, ["more"], 0)
    equal(committed(group), {0: ("10", "11", "1"), 1: ("10", "10", "0")})
    group_tool("--reset-offsets", "--group", group, "--topic", f"{name}:1", "--to-offset", 4, "--dry-run")
    equal(committed(group)[1], ("10", "10", "0"), "a dry run changes nothing")
    group_tool("--reset-offsets", "--group", group, "--topic", f"{name}:1", "--to-offset", 4, "--execute")
    group_tool("--reset-offsets", "--group", group, "--topic", f"{name}:0", "--shift-by", -3, "--execute")
    equal(committed(group), {0: ("7", "11", "4"), 1: ("4", "10", "6")})
    group_tool("--delete-offsets", "--group", group, "--topic", name)
    equal(committed(group), {})
    group_tool("--delete", "--group", group)
    equal(group in group_tool("--list").split(), False)


@case(seconds=90)
def groups_new_protocol():
    name, group = topic(partitions=2), unique("group")
    send(producer(), name, ["x"])
    reader = consumer(group, group_protocol="consumer", client_id="reader")
    reader.subscribe([name])
    take(reader, 1)
    reader.commit(asynchronous=False)
    contains(group_tool("--list", "--type", "consumer"), group)
    equal(lines_with(group_tool("--list", "--type", "classic"), group), [])
    contains(group_tool("--describe", "--group", group, "--state"), "Stable", "uniform")
    contains(group_tool("--describe", "--group", group, "--members", "--verbose"), "reader", name)
    found = lines_with(kt("GroupsCommand", "--list"), group)
    equal([line.split()[:3] for line in found], [[group, "Consumer", "consumer"]])
    reader.close()
    group_tool("--reset-offsets", "--group", group, "--topic", name, "--to-earliest", "--execute")
    equal(committed(group)[0], ("0", "1", "1"))


def transactions_tool(*words):
    return kt("TransactionsCommand", *words)


@case(seconds=120)
def transactions():
    name, txn = topic(), unique("txn")
    client = producer(transactional_id=txn)
    client.init_transactions(20)
    client.begin_transaction()
    send(client, name, ["open"])

    def listed():
        return [line.split() for line in lines_with(transactions_tool("list"), txn)]

    equal([row[3] for row in listed()], ["Ongoing"])
    header, row = transactions_tool("describe", "--transactional-id", txn).strip().splitlines()
    contains(row, txn, "Ongoing", f"{name}-0")
    producer_id = row.split()[2]
    text = transactions_tool("describe-producers", "--topic", name, "--partition", "0")
    found = lines_with(text, producer_id)[0].split()
    equal((found[0], found[3], found[5]), (producer_id, "0", "0"), "id, last sequence, start offset")
    client.commit_transaction(20)
    eventually(lambda: [row[3] for row in listed()], ["CompleteCommit"])
    text = transactions_tool("describe-producers", "--topic", name, "--partition", "0")
    equal(lines_with(text, producer_id)[0].split()[5], "None")


@case(seconds=120)
def transactions_terminated():
    """An operator ends what a producer left open: by partition, then by transactional id."""
    name, txn = topic(), unique("txn")
    client = producer(transactional_id=txn)
    client.init_transactions(20)
    client.begin_transaction()
    send(client, name, ["one"])
    transactions_tool("abort", "--topic", name, "--partition", "0", "--start-offset", "0")
    send(producer(), name, ["two"])
    equal(read(name), ["two"], "the marker an operator wrote")
    name, txn = topic("other"), unique("other")
    other = producer(transactional_id=txn)
    other.init_transactions(20)
    other.begin_transaction()
    send(other, name, ["three"])
    transactions_tool("forceTerminateTransaction", "--transactionalId", txn)
    equal(read(name, isolation="read_uncommitted"), ["three"])
    send(producer(), name, ["four"])
    equal(read(name), ["four"])


@case
def delete_records():
    name = topic()
    send(producer(), name, [str(i) for i in range(10)])
    wanted = {"partitions": [{"topic": name, "partition": 0, "offset": 6}], "version": 1}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(wanted, file)
        file.flush()
        text = kt("DeleteRecordsCommand", "--offset-json-file", file.name)
    contains(text, f"partition: {name}-0", "low_watermark: 6")
    equal(read(name), ["6", "7", "8", "9"])


@case(seconds=90)
def offsets():
    name = topic(partitions=2)
    writer = producer()
    for i in range(5):
        writer.produce(name, str(i), partition=1, timestamp=HOUR_AGO + i * 1000)
    writer.flush(20)

    def at(time):
        text = kt("GetOffsetShell", "--topic", name, "--time", time)
        return [line.split(":", 1)[1] for line in text.split()]

    equal(at("latest"), ["0:0", "1:5"])
    equal(at("earliest"), ["0:0", "1:0"])
    equal(at("max-timestamp"), ["1:4"])
    equal(at(HOUR_AGO + 2500), ["1:3"])


@case(seconds=90)
def cluster():
    text = command(KT, "ClusterTool", "cluster-id", "--bootstrap-server", BOOTSTRAP)
    contains(text, "Cluster ID: ")
    text = kt("BrokerApiVersionsCommand")
    contains(text, "Produce(0): ", "Fetch(1): ", "ConsumerGroupHeartbeat(68): ")
    name = topic()
    send(producer(), name, ["x" * 1000])
    text = kt("LogDirsCommand", "--describe", "--topic-list", name)
    found = json.loads(lines_with(text, "logDirs")[0])
    parts = found["brokers"][0]["logDirs"][0]["partitions"]
    equal([p["partition"] for p in parts], [f"{name}-0"])
    equal(1000 < parts[0]["size"] < 1200, True, f"size {parts[0]['size']}")
