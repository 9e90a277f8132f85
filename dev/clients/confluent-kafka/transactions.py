"""confluent-kafka: transactions (KIP-98, KIP-447): commit, abort, fencing, offsets within."""

from records import consumer, producer, read, send, take, values
from confluent_kafka import KafkaException, TopicPartition
from harness import case, equal, settled, topic, unique


def transactional(part="txn", **config):
    client = producer(transactional_id=unique(part), **config)
    client.init_transactions(20)
    return client


def transact(client, name, lines, commit=True, partition=0):
    client.begin_transaction()
    send(client, name, lines, partition)
    client.commit_transaction(20) if commit else client.abort_transaction(20)


@case
def commit_and_abort():
    name = topic(partitions=2)
    client = transactional()
    transact(client, name, ["a1", "a2"])
    transact(client, name, ["b1", "b2"], commit=False)
    transact(client, name, ["c1"], partition=1)
    transact(client, name, ["d1"])
    equal(read(name, 2), ["a1", "a2", "d1", "c1"])
    equal(read(name, 2, "read_uncommitted"), ["a1", "a2", "b1", "b2", "d1", "c1"])


@case
def abort_drops_what_is_queued():
    name = topic()
    client = transactional(linger_ms=5000)
    client.begin_transaction()
    for i in range(100):
        client.produce(name, f"queued {i}")
    client.abort_transaction(20)
    transact(client, name, ["kept"])
    equal(read(name), ["kept"])


@case
def open_transaction_hides_what_follows():
    name = topic()
    client = transactional()
    send(producer(), name, ["before"])
    client.begin_transaction()
    send(client, name, ["open"])
    send(producer(), name, ["after"])
    equal(read(name, wait=False), ["before"], "up to the last stable offset")
    every = read(name, isolation="read_uncommitted", wait=False)
    equal(every, ["before", "open", "after"])
    reader = consumer(isolation_level="read_committed")
    reader.assign([TopicPartition(name, 0, 0)])
    equal(values(take(reader, 1)), ["before"])
    client.commit_transaction(20)
    equal(values(take(reader, 2)), ["open", "after"])
    reader.close()


@case
def many_transactions_side_by_side():
    name = topic(partitions=3)
    clients = [transactional(f"txn{i}") for i in range(5)]
    want = {0: [], 1: [], 2: []}
    for turn in range(10):
        for i, client in enumerate(clients):
            client.begin_transaction()
            for p in range(3):
                client.produce(name, f"{turn}-{i}-{p}", partition=p)
        for i, client in enumerate(clients):
            # Without it, librdkafka may end a transaction the broker has not heard of.
            equal(client.flush(20), 0)
            if (turn + i) % 3 == 0:
                client.abort_transaction(20)
            else:
                client.commit_transaction(20)
                for p in range(3):
                    want[p].append(f"{turn}-{i}-{p}")
    equal(sorted(read(name, 3)), sorted(sum(want.values(), [])))


@case
def fencing_of_an_older_instance():
    name = topic()
    old = transactional()
    old.begin_transaction()
    send(old, name, ["of the old one"])
    new = transactional()
    transact(new, name, ["of the new one"])
    try:
        old.produce(name, "late")
        old.commit_transaction(20)
    except KafkaException as e:
        equal(e.args[0].name() in ("_FENCED", "INVALID_PRODUCER_EPOCH"), True, str(e))
        equal(e.args[0].fatal(), True, "fatal")
    else:
        raise AssertionError("the old instance was not fenced")
    equal(read(name), ["of the new one"])
    transact(new, name, ["still here"])
    equal(read(name), ["of the new one", "still here"])


@case
def timeout_aborts():
    """The coordinator aborts an abandoned transaction after transaction.timeout.ms."""
    name = topic()
    client = transactional(transaction_timeout_ms=2000)
    client.begin_transaction()
    send(client, name, ["abandoned"])
    send(producer(), name, ["after"])
    equal(read(name, wait=False), [], "while it is open")
    settled(name, seconds=40)
    equal(read(name), ["after"])
    try:
        client.commit_transaction(20)
    except KafkaException as e:
        print("as it should:", e)
    else:
        raise AssertionError("committed what was aborted")


@case
def too_long_timeout():
    client = producer(transactional_id=unique("txn"), transaction_timeout_ms=2_000_000_000)
    try:
        client.init_transactions(20)
    except KafkaException as e:
        equal(e.args[0].name(), "INVALID_TRANSACTION_TIMEOUT")
    else:
        raise AssertionError("transaction.max.timeout.ms is not held")


@case
def consume_transform_produce():
    """Offsets go into the transaction; an abort takes them back with the records."""
    source, target, group = topic("source"), topic("target"), unique("group")
    send(producer(), source, [str(i) for i in range(30)])
    client = transactional()

    def turn(commit):
        reader = consumer(group, isolation_level="read_committed")
        reader.subscribe([source])
        batch = take(reader, 10)
        client.begin_transaction()
        for m in batch:
            client.produce(target, f"{int(m.value()) * 2}")
        offsets = reader.position(reader.assignment())
        # librdkafka prefetches: the position is what poll() gave out.
        equal(offsets[0].offset, batch[-1].offset() + 1)
        client.send_offsets_to_transaction(offsets, reader.consumer_group_metadata(), 20)
        client.commit_transaction(20) if commit else client.abort_transaction(20)
        reader.close()

    for commit in (True, False, True, False, True):
        turn(commit)
    equal(read(target), [str(i * 2) for i in range(30)])
    reader = consumer(group)
    equal(reader.committed([TopicPartition(source, 0)], 10)[0].offset, 30)
    reader.close()


@case
def offsets_of_a_stranger_are_refused():
    """A member that left the group may not commit offsets through a transaction (KIP-447)."""
    source, group = topic("source"), unique("group")
    send(producer(), source, ["x"])
    reader = consumer(group)
    reader.subscribe([source])
    take(reader, 1)
    stale = reader.consumer_group_metadata()
    reader.close()
    other = consumer(group)
    other.subscribe([source])
    take(other, 1)
    client = transactional()
    client.begin_transaction()
    try:
        client.send_offsets_to_transaction([TopicPartition(source, 0, 1)], stale, 10)
    except KafkaException as e:
        print("as it should:", e)
        equal(e.args[0].txn_requires_abort(), True)
    else:
        raise AssertionError("a member that left committed offsets")
    client.abort_transaction(20)
    equal(other.committed([TopicPartition(source, 0)], 10)[0].offset, -1001)
    other.close()
