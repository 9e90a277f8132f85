"""Clients that survive a broker which is killed again and again, and settle their accounts.

    killloop.py BOOTSTRAP --seconds N --seed S [--partitions P] [--producers I] [--transactional T]

Idempotent and transactional producers write numbered records, a read_committed consumer reads
along; each is a process of its own. Somebody else kills and restarts the broker meanwhile. After N
seconds the producers stop, the consumer reads to the end, and the accounts are compared:

- each acknowledged record of an idempotent producer is there exactly once;
- each record of a committed transaction is there exactly once, none of an aborted one;
- the records of a producer stand in order within each partition;
- a read from the start at the end shows the same as what was read along.

A commit whose answer was lost (the producer is replaced then) may have either outcome, but one for
the whole transaction. Exit code 1 when something is wrong. Read next: README.md.
"""

import argparse
import collections
import json
import multiprocessing
import random
import sys
import time

from confluent_kafka import Consumer, IsolationLevel, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

QUIET = {"log_level": 0, "reconnect.backoff.max.ms": 500, "socket.timeout.ms": 10_000}


def say(*words):
    print(time.strftime("%H:%M:%S"), *words, flush=True)


def idempotent(config, name, partitions, seed, stop, account):
    """Counts on one number a partition; the account holds how far it was acknowledged."""
    rng, who = random.Random(seed), f"i{seed}"
    sent, acked, failed = [0] * partitions, [], []
    # Never give a record up: the broker comes back.
    client = Producer(config | {"enable.idempotence": True, "linger.ms": rng.choice([0, 5, 20]),
                                "message.timeout.ms": 0, "queue.buffering.max.messages": 2000})

    def delivered(error, message):
        p, n = map(int, message.value().split()[1:])
        (failed if error else acked).append((p, n))

    while not stop.is_set():
        p = rng.randrange(partitions)
        try:
            client.produce(name, f"{who} {p} {sent[p]}", partition=p, on_delivery=delivered)
            sent[p] += 1
        except BufferError:
            client.poll(0.1)
        client.poll(0)
        if rng.random() < 0.05:
            time.sleep(0.01)
    left = client.flush(120)
    account.put({"kind": "idempotent", "who": who, "sent": sent, "acked": acked,
                 "failed": failed, "left": left})


def transactional(config, name, partitions, seed, stop, account):
    """Transactions of 1 to 40 records; a quarter is aborted on purpose. Notes each outcome."""
    rng, who = random.Random(seed), f"t{seed}"
    outcome, sizes, replaced, number, client = {}, {}, 0, 0, None
    while not stop.is_set() or client is None:
        try:
            if client is None:
                client = Producer(config | {"transactional.id": f"{name}-{who}",
                                            "transaction.timeout.ms": 60_000, "linger.ms": 2})
                client.init_transactions(60)
                continue
            number += 1
            # Until a commit is asked for, nothing of it may be seen.
            outcome[number], sizes[number] = "aborted", 0
            client.begin_transaction()
            for i in range(rng.randint(1, 40)):
                p = rng.randrange(partitions)
                client.produce(name, f"{who} {number} {i}", partition=p)
                sizes[number] += 1
                client.poll(0)
            if rng.random() < 0.3:
                time.sleep(rng.random() * 0.05)
            client.flush(60)
            if rng.random() < 0.25:
                client.abort_transaction(60)
            else:
                outcome[number] = "unknown"
                outcome[number] = commit(client)
        except KafkaException as e:
            say(who, "transaction", number, "producer replaced:", e.args[0].name())
            # The next producer with this id aborts what this one left open.
            client, replaced = None, replaced + 1
    account.put({"kind": "transactional", "who": who, "outcome": outcome, "sizes": sizes,
                 "replaced": replaced})


def commit(client):
    """Tries until there is an answer; a transaction that can only be aborted is."""
    while True:
        try:
            client.commit_transaction(60)
            return "committed"
        except KafkaException as e:
            if e.args[0].retriable():
                continue
            if not e.args[0].txn_requires_abort():
                raise
            client.abort_transaction(60)
            return "aborted"


def along(config, name, partitions, count, done, account):
    """Reads along with the producers until told that it has read what there is."""
    client, rows = start(config, name, partitions), [[] for _ in range(partitions)]
    while not done.is_set():
        take(client, rows)
        count.value = sum(map(len, rows))
    account.put({"kind": "along", "rows": rows})


def whole(config, name, partitions):
    """Everything a read_committed consumer sees from the start to the end."""
    client, rows, ended = start(config, name, partitions), [[] for _ in range(partitions)], set()
    while len(ended) < partitions:
        ended.add(take(client, rows))
        ended.discard(None)
    client.close()
    return rows


def start(config, name, partitions):
    client = Consumer(config | {"group.id": f"{name}-reader", "enable.auto.commit": False,
                                "isolation.level": "read_committed", "auto.offset.reset": "error",
                                "enable.partition.eof": True})
    client.assign([TopicPartition(name, p, 0) for p in range(partitions)])
    return client


def take(client, rows):
    """Notes the next record; answers the partition whose end is reached."""
    message = client.poll(0.2)
    error = message.error() if message is not None else None
    if error and error.name() == "_PARTITION_EOF":
        return message.partition()
    if error and (error.fatal() or error.name() == "_AUTO_OFFSET_RESET"):
        raise KafkaException(error)
    if message is not None and not error:
        rows[message.partition()].append((message.offset(), message.value().decode()))
    return None


def settled(config, name, partitions):
    """Waits until no transaction is open: markers may follow the answer to a commit."""
    client, ends, limit = AdminClient(config), None, time.monotonic() + 90
    while time.monotonic() < limit:
        try:
            ends = []
            for level in (IsolationLevel.READ_COMMITTED, IsolationLevel.READ_UNCOMMITTED):
                asked = {TopicPartition(name, p): OffsetSpec.latest() for p in range(partitions)}
                found = client.list_offsets(asked, isolation_level=level, request_timeout=5)
                ends.append({(t.partition, f.result(10).offset) for t, f in found.items()})
            if ends[0] == ends[1]:
                return []
        except KafkaException as e:
            say("list offsets:", e.args[0].name())
        time.sleep(0.5)
    return [f"a transaction stays open: {ends}"]


def check(accounts, rows, read_along):
    """The list of what is wrong."""
    faults = [] if rows == read_along else ["what was read along differs from what is there"]
    for p, log in enumerate(rows):
        offsets = [o for o, _ in log]
        if offsets != sorted(set(offsets)):
            faults.append(f"offsets of partition {p} do not rise")
    places = collections.defaultdict(list)
    for p, log in enumerate(rows):
        for offset, value in log:
            who, rest = value.split(" ", 1)
            places[who].append((p, offset, *map(int, rest.split())))
    for a in accounts:
        mine = places.pop(a["who"], [])
        for p in range(len(rows)):
            order = [(x, y) for q, _, x, y in mine if q == p]
            if order != sorted(order):
                faults.append(f"{a['who']}: order within partition {p}")
        seen = collections.Counter((x, y) for _, _, x, y in mine)
        twice = [k for k, n in seen.items() if n > 1]
        if twice:
            faults.append(f"{a['who']}: {len(twice)} records doubled, as {sorted(twice)[:5]}")
        faults += idempotent_faults(a, seen) if a["kind"] == "idempotent" else \
            transactional_faults(a, seen)
    if places:
        faults.append(f"records of nobody: {list(places)}")
    return faults


def idempotent_faults(a, seen):
    lost = set(a["acked"]) - set(seen)
    faults = [f"{a['who']}: {len(lost)} records lost, as {sorted(lost)[:5]}"] if lost else []
    if a["failed"] or a["left"]:
        faults.append(f"{a['who']}: {len(a['failed'])} failed, {a['left']} never answered")
    return faults


def transactional_faults(a, seen):
    faults, found = [], collections.defaultdict(set)
    for number, i in seen:
        found[number].add(i)
    for number, outcome in a["outcome"].items():
        want, got = a["sizes"][number], len(found.pop(number, ()))
        allowed = {"committed": {want}, "aborted": {0}, "unknown": {0, want}}[outcome]
        if got not in allowed:
            faults.append(f"{a['who']}: transaction {number} {outcome}, {got} of {want} records seen")
    return faults + ([f"{a['who']}: transactions of nobody {list(found)}"] if found else [])


def main():
    words = argparse.ArgumentParser()
    words.add_argument("bootstrap")
    words.add_argument("--seconds", type=float, default=60)
    words.add_argument("--seed", type=int, default=time.time_ns() % 10_000)
    words.add_argument("--partitions", type=int, default=4)
    words.add_argument("--producers", type=int, default=2)
    words.add_argument("--transactional", type=int, default=3)
    args = words.parse_args()
    config = {"bootstrap.servers": args.bootstrap} | QUIET
    name = f"killloop-{args.seed}-{time.time_ns() // 1_000_000}"
    say(f"seed {args.seed}, topic {name}")
    # Forked before any client lives here.
    fork = multiprocessing.get_context("fork")
    stop, done, account, count = fork.Event(), fork.Event(), fork.Queue(), fork.Value("q", 0)

    def process(function, *more):
        p = fork.Process(target=function, args=(config, name, args.partitions, *more), daemon=True)
        p.start()
        return p

    made = process(create)
    made.join()
    if made.exitcode:
        sys.exit("the topic could not be created")
    kinds = [idempotent] * args.producers + [transactional] * args.transactional
    for i, kind in enumerate(kinds):
        process(kind, args.seed * 100 + i, stop, account)
    process(along, count, done, account)
    time.sleep(args.seconds)
    stop.set()
    say("stopping the producers")
    accounts = [account.get(timeout=300) for _ in kinds]
    faults = settled(config, name, args.partitions)
    rows = whole(config, name, args.partitions)
    limit = time.monotonic() + 60
    while count.value < sum(map(len, rows)) and time.monotonic() < limit:
        time.sleep(0.1)
    done.set()
    faults += check(accounts, rows, account.get(timeout=60)["rows"])
    print(json.dumps(summary(accounts, rows), indent=2))
    for fault in faults:
        print("WRONG", fault)
    print("FAILED" if faults else "ok", f"killloop seed {args.seed}")
    sys.exit(1 if faults else 0)


def create(config, name, partitions):
    client = AdminClient(config)
    client.create_topics([NewTopic(name, partitions, 1)])[name].result(60)


def summary(accounts, rows):
    counts = collections.Counter()
    for a in accounts:
        if a["kind"] == "idempotent":
            counts["idempotent records acknowledged"] += len(a["acked"])
        else:
            counts["producers replaced"] += a["replaced"]
            for outcome in a["outcome"].values():
                counts[f"transactions {outcome}"] += 1
    return dict(counts) | {"records read": sum(map(len, rows))}


if __name__ == "__main__":
    main()
