"""confluent-kafka: the admin client: topics, configs, groups, records, offsets, cluster."""

from records import consumer, producer, read, send, take
from confluent_kafka import (
    ConsumerGroupState, ConsumerGroupTopicPartitions, KafkaException, TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (
    AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic, OffsetSpec,
    ResourceType,
)
from harness import HOUR_AGO, admin, case, contains, equal, eventually, topic, unique


def refused(future, *names):
    try:
        future.result(20)
    except KafkaException as e:
        equal(e.args[0].name() in names, True, f"error {e.args[0].name()} is one of {names}")
    else:
        raise AssertionError(f"not refused; wanted {names}")


def topics(client):
    return client.list_topics(timeout=10).topics


@case
def create_describe_delete_topics():
    client, name = admin(), unique("topic")
    client.create_topics([NewTopic(name, 3, 1)], validate_only=True)[name].result(20)
    equal(name in topics(client), False, "validate_only creates nothing")
    client.create_topics([NewTopic(name, 3, 1, config={"retention.ms": "1000000"})])[name].result(20)
    refused(client.create_topics([NewTopic(name, 3, 1)])[name], "TOPIC_ALREADY_EXISTS")
    found = client.describe_topics(TopicCollection([name]))[name].result(20)
    equal((found.name, len(found.partitions), found.is_internal), (name, 3, False))
    equal([p.id for p in found.partitions], [0, 1, 2])
    equal(all(p.leader.id == p.replicas[0].id == p.isr[0].id for p in found.partitions), True)
    client.delete_topics([name])[name].result(20)
    eventually(lambda: name in topics(client), False)
    refused(client.delete_topics([name])[name], "UNKNOWN_TOPIC_OR_PART")
    refused(client.describe_topics(TopicCollection([name]))[name], "UNKNOWN_TOPIC_OR_PART")


@case
def topic_again_is_a_new_topic():
    """The same name after deletion has another id and starts empty at offset 0."""
    client, name = admin(), topic()
    send(producer(), name, ["old"] * 5)

    def topic_id():
        return str(client.describe_topics(TopicCollection([name]))[name].result(20).topic_id)

    before = topic_id()
    client.delete_topics([name])[name].result(20)
    eventually(lambda: name in topics(client), False)
    client.create_topics([NewTopic(name, 1, 1)])[name].result(20)
    equal(topic_id() == before, False, "another topic id")
    equal(send(producer(), name, ["new"]), [0])
    equal(read(name), ["new"])


@case
def refused_topics():
    client = admin()

    def create(name, *words, **more):
        return client.create_topics([NewTopic(name, *words, **more)])[name]

    refused(create("not/a name", 1, 1), "TOPIC_EXCEPTION")
    refused(create(unique("none"), 0, 1), "INVALID_PARTITIONS")
    refused(create(unique("copies"), 1, 50), "INVALID_REPLICATION_FACTOR")
    refused(create(unique("key"), 1, 1, config={"no.such.key": "1"}), "INVALID_CONFIG")
    refused(create(unique("value"), 1, 1, config={"retention.ms": "soon"}), "INVALID_CONFIG")


@case
def create_partitions():
    client, name = admin(), topic(partitions=2)
    writer = producer(topic_metadata_refresh_interval_ms=500)
    send(writer, name, ["a"], 1)
    client.create_partitions([NewPartitions(name, 4)])[name].result(20)
    eventually(lambda: len(topics(client)[name].partitions), 4)
    send(producer(), name, ["b"], 3)
    equal(read(name, 4), ["a", "b"])
    refused(client.create_partitions([NewPartitions(name, 3)])[name], "INVALID_PARTITIONS")


def configs(client, kind, name):
    resource = ConfigResource(kind, name)
    return client.describe_configs([resource])[resource].result(20)


@case
def describe_and_alter_topic_configs():
    client, name = admin(), topic(retention_ms=1_000_000)
    found = configs(client, ResourceType.TOPIC, name)
    equal((found["retention.ms"].value, found["retention.ms"].is_default), ("1000000", False))
    equal((found["cleanup.policy"].value, found["cleanup.policy"].is_default), ("delete", True))

    def alter(operation, key, value):
        entry = ConfigEntry(key, value, incremental_operation=operation)
        resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=[entry])
        return client.incremental_alter_configs([resource])[resource]

    alter(AlterConfigOpType.SET, "retention.ms", "2000000").result(20)
    alter(AlterConfigOpType.APPEND, "cleanup.policy", "compact").result(20)

    def now():
        found = configs(client, ResourceType.TOPIC, name)
        return found["retention.ms"].value, sorted(found["cleanup.policy"].value.split(","))

    eventually(now, ("2000000", ["compact", "delete"]))
    alter(AlterConfigOpType.DELETE, "retention.ms", None).result(20)
    alter(AlterConfigOpType.SUBTRACT, "cleanup.policy", "delete").result(20)
    eventually(now, ("604800000", ["compact"]))
    refused(alter(AlterConfigOpType.SET, "retention.ms", "never"), "INVALID_CONFIG")
    eventually(now, ("604800000", ["compact"]))


@case
def describe_broker_configs():
    client = admin()
    broker = client.describe_cluster().result(20).nodes[0]
    found = configs(client, ResourceType.BROKER, str(broker.id))
    equal(int(found["message.max.bytes"].value) > 100_000, True)
    contains(" ".join(found), "num.partitions", "log.retention.")


@case
def describe_cluster():
    client = admin()
    found = client.describe_cluster().result(20)
    equal(len(found.nodes) >= 1, True)
    equal(found.controller.id in [n.id for n in found.nodes], True)
    equal(len(found.cluster_id) > 10, True, f"cluster id {found.cluster_id}")


@case
def groups_listed_described_deleted():
    client, name, group = admin(), topic(), unique("group")
    send(producer(), name, ["x"])
    reader = consumer(group, client_id="reader", partition_assignment_strategy="range")
    reader.subscribe([name])
    reader.commit(message=take(reader, 1)[0], asynchronous=False)

    def described():
        return client.describe_consumer_groups([group])[group].result(20)

    found = described()
    equal((found.group_id, found.state.name, found.type.name), (group, "STABLE", "CLASSIC"))
    equal(found.partition_assignor, "range")
    member = found.members[0]
    equal((len(found.members), member.client_id, member.host[-9:]), (1, "reader", "127.0.0.1"))
    equal([p.partition for p in member.assignment.topic_partitions], [0])

    def listed(**filters):
        found = client.list_consumer_groups(**filters).result(20)
        equal(found.errors, [])
        return [(g.group_id, g.state.name) for g in found.valid if g.group_id == group]

    equal(listed(), [(group, "STABLE")])
    equal(listed(states={ConsumerGroupState.EMPTY}), [])
    refused(client.delete_consumer_groups([group])[group], "NON_EMPTY_GROUP")
    reader.close()
    equal(listed(states={ConsumerGroupState.EMPTY}), [(group, "EMPTY")])
    client.delete_consumer_groups([group])[group].result(20)
    equal(listed(), [])
    refused(client.delete_consumer_groups([group])[group], "GROUP_ID_NOT_FOUND")
    equal(described().state.name, "DEAD")


@case
def group_offsets_listed_and_altered():
    client, name, group = admin(), topic(partitions=2), unique("group")
    send(producer(), name, [str(i) for i in range(5)])
    target = [TopicPartition(name, 0, 3), TopicPartition(name, 1, 0)]
    request = ConsumerGroupTopicPartitions(group, target)
    client.alter_consumer_group_offsets([request])[group].result(20)

    def offsets(partitions=None):
        request = ConsumerGroupTopicPartitions(group, partitions)
        found = client.list_consumer_group_offsets([request])[group].result(20)
        return sorted((p.partition, p.offset) for p in found.topic_partitions)

    equal(offsets(), [(0, 3), (1, 0)])
    equal(offsets([TopicPartition(name, 0)]), [(0, 3)])
    reader = consumer(group)
    reader.subscribe([name])
    equal([m.offset() for m in take(reader, 2)], [3, 4])
    again = client.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(group, target)])
    errors = [p.error.name() for p in again[group].result(20).topic_partitions]
    equal(errors, ["UNKNOWN_MEMBER_ID"] * 2, "offsets of a group in use")
    reader.close()


@case
def delete_records():
    client, name = admin(), topic()
    send(producer(), name, [str(i) for i in range(10)])

    def delete(offset):
        found = client.delete_records([TopicPartition(name, 0, offset)])
        return list(found.values())[0]

    equal(delete(4).result(20).low_watermark, 4)
    equal(read(name), ["4", "5", "6", "7", "8", "9"])
    refused(delete(11), "OFFSET_OUT_OF_RANGE")
    equal(delete(-1).result(20).low_watermark, 10)
    equal(read(name), [])
    equal(send(producer(), name, ["next"]), [10])


@case
def list_offsets():
    client, name = admin(), topic()
    writer = producer()
    for i, after in enumerate((5000, 9000, 7000)):
        writer.produce(name, str(i), timestamp=HOUR_AGO + after)
        writer.flush(20)

    def at(spec):
        found = client.list_offsets({TopicPartition(name, 0): spec})
        result = list(found.values())[0].result(20)
        return result.offset, result.timestamp

    equal(at(OffsetSpec.earliest())[0], 0)
    equal(at(OffsetSpec.latest())[0], 3)
    equal(at(OffsetSpec.for_timestamp(HOUR_AGO + 6000)), (1, HOUR_AGO + 9000))
    equal(at(OffsetSpec.for_timestamp(HOUR_AGO + 9001))[0], -1)
    equal(at(OffsetSpec.max_timestamp()), (1, HOUR_AGO + 9000))
