"""confluent-kafka: consumer groups, classic and new (KIP-848), static members, commits."""

import time

from records import consumer, producer, send, take, values
from confluent_kafka import OFFSET_INVALID, KafkaException, TopicPartition
from harness import admin, case, equal, topic, unique

CLASSIC = {"partition_assignment_strategy": "range", "session_timeout_ms": 6000,
           "heartbeat_interval_ms": 300}
COOPERATIVE = CLASSIC | {"partition_assignment_strategy": "cooperative-sticky"}
NEW = {"group_protocol": "consumer"}


class Member:
    """A consumer in a group that notes what is assigned, revoked and read."""

    def __init__(self, group, name, **config):
        self.log, self.seen = [], []
        self.client = consumer(group, **config)
        self.client.subscribe([name], on_assign=self.note("+"), on_revoke=self.note("-"),
                              on_lost=self.note("!"))

    def note(self, sign):
        def noted(_, partitions):
            self.log.append((sign, sorted(p.partition for p in partitions)))
        return noted

    def poll(self):
        message = self.client.poll(0.05)
        if message is not None:
            assert not message.error(), message.error()
            self.seen.append(message.value().decode())

    def partitions(self):
        return sorted(p.partition for p in self.client.assignment())


def settle(members, want, seconds=30):
    """Polls all members until their assignments are `want`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for m in members:
            m.poll()
        if [m.partitions() for m in members] == want or \
                sorted(m.partitions() for m in members) == sorted(want):
            return
    equal([m.partitions() for m in members], want, f"assignments; {[m.log for m in members]}")


def two_members(config):
    name, group = topic(partitions=4), unique("group")
    one = Member(group, name, **config)
    settle([one], [[0, 1, 2, 3]])
    two = Member(group, name, **config)
    # Which member gets which half is the assignor's choice, but the halves are even.
    end = time.monotonic() + 30
    while time.monotonic() < end and [len(one.partitions()), len(two.partitions())] != [2, 2]:
        one.poll()
        two.poll()
    equal(sorted(one.partitions() + two.partitions()), [0, 1, 2, 3], f"{one.log} {two.log}")
    for p in range(4):
        send(producer(), name, [f"{p}-{i}" for i in range(50)], partition=p)
    end = time.monotonic() + 20
    while len(one.seen) + len(two.seen) < 200 and time.monotonic() < end:
        one.poll()
        two.poll()
    equal(sorted(one.seen + two.seen), sorted(f"{p}-{i}" for p in range(4) for i in range(50)))
    equal({int(v[0]) for v in one.seen}, set(one.partitions()))
    two.client.commit(asynchronous=False)
    mine, log = one.partitions(), list(one.log)
    two.client.close()
    settle([one], [[0, 1, 2, 3]])
    one.client.close()
    return one, mine, log


@case
def classic_range():
    _, _, log = two_members(CLASSIC)
    equal(log[:2], [("+", [0, 1, 2, 3]), ("-", [0, 1, 2, 3])], "an eager member gives all back")


@case
def classic_roundrobin():
    two_members(CLASSIC | {"partition_assignment_strategy": "roundrobin"})


@case
def classic_cooperative_sticky():
    one, mine, log = two_members(COOPERATIVE)
    others = [p for p in range(4) if p not in mine]
    revoked = sorted(sum((ps for sign, ps in log if sign == "-"), []))
    equal(revoked, others, f"only what moves is given back: {one.log}")
    equal([p for p in one.log[len(log):] if p[0] == "+" and p[1]], [("+", others)])


@case
def new_protocol():
    one, mine, log = two_members(NEW)
    revoked = sorted(sum((ps for sign, ps in log if sign == "-"), []))
    equal(revoked, [p for p in range(4) if p not in mine], f"{one.log}")


def described(group):
    client = admin()
    return client.describe_consumer_groups([group], request_timeout=10)[group].result(15)


@case
def new_protocol_described():
    name, group = topic(partitions=2), unique("group")
    member = Member(group, name, **NEW, client_id="reader")
    settle([member], [[0, 1]])
    found = described(group)
    equal((found.state.name, found.type.name), ("STABLE", "CONSUMER"))
    equal(len(found.members), 1)
    equal(found.members[0].client_id, "reader")
    equal(sorted(p.partition for p in found.members[0].assignment.topic_partitions), [0, 1])
    member.client.close()
    equal(described(group).state.name, "EMPTY")


@case
def new_protocol_by_pattern():
    """A subscription by pattern, which the broker evaluates with the new protocol."""
    prefix = unique("pattern")
    from confluent_kafka.admin import NewTopic

    client = admin()
    for part in ("one", "two"):
        client.create_topics([NewTopic(f"{prefix}-{part}", 1, 1)])[f"{prefix}-{part}"].result(20)
        send(producer(), f"{prefix}-{part}", [part])
    reader = consumer(**NEW)
    reader.subscribe([f"^{prefix}-.*"])
    equal(sorted(values(take(reader, 2))), ["one", "two"])
    reader.close()


@case
def crashed_member_is_replaced():
    """A member that stops without leaving loses its partitions after the session timeout."""
    import os
    import signal

    name, group = topic(partitions=2), unique("group")
    send(producer(), name, ["0"])
    pid = os.fork()
    if pid == 0:
        member = Member(group, name, **CLASSIC)
        while True:
            member.poll()
    other = Member(group, name, **CLASSIC)
    settle([other], [[0]] if other.partitions() == [0] else [[1]]) if wait_for_one(other) else None
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    start = time.monotonic()
    settle([other], [[0, 1]])
    equal(time.monotonic() - start < 20, True, "within the session timeout and a rebalance")
    other.client.close()


def wait_for_one(member):
    """Polls until the member shares the topic with another one."""
    end = time.monotonic() + 20
    while len(member.partitions()) != 1:
        assert time.monotonic() < end, member.log
        member.poll()
    return True


def static(config):
    name, group = topic(partitions=4), unique("group")
    one = Member(group, name, group_instance_id="one", **config)
    settle([one], [[0, 1, 2, 3]])
    two = Member(group, name, group_instance_id="two", **config)
    end = time.monotonic() + 30
    while [len(one.partitions()), len(two.partitions())] != [2, 2]:
        assert time.monotonic() < end, f"{one.log} {two.log}"
        one.poll()
        two.poll()
    mine, its, noted = one.partitions(), two.partitions(), len(one.log)
    two.client.close()
    for _ in range(20):
        one.poll()
    two = Member(group, name, group_instance_id="two", **config)
    end = time.monotonic() + 20
    while two.partitions() != its:
        assert time.monotonic() < end, f"{one.log} {two.log}"
        one.poll()
        two.poll()
    equal(one.partitions(), mine)
    equal(one.log[noted:], [], "a static member that returns in time moves nothing")
    one.client.close()
    two.client.close()


@case
def static_members_classic():
    static(CLASSIC | {"session_timeout_ms": 20_000})


@case
def static_members_new_protocol():
    static(NEW)


@case
def static_member_fences():
    """A second member with the same group.instance.id takes over; the first one is fenced."""
    name, group = topic(), unique("group")
    old = Member(group, name, group_instance_id="same", **CLASSIC)
    settle([old], [[0]])
    new = Member(group, name, group_instance_id="same", **CLASSIC)
    settle([new], [[0]])
    error, end = None, time.monotonic() + 15
    while error is None and time.monotonic() < end:
        message = old.client.poll(0.1)
        error = message.error() if message is not None else None
        new.poll()
    equal(error and error.name(), "_FATAL", str(error))
    equal(new.partitions(), [0])
    new.client.close()


@case
def commits():
    name, group = topic(partitions=2), unique("group")
    send(producer(), name, [str(i) for i in range(10)])
    first = TopicPartition(name, 0)
    reader = consumer(group)
    equal(reader.committed([first], 10)[0].offset, OFFSET_INVALID)
    reader.subscribe([name])
    got = take(reader, 5)
    reader.commit(message=got[3], asynchronous=False)
    equal(reader.committed([first], 10)[0].offset, 4)
    reader.commit(offsets=[TopicPartition(name, 0, 2, metadata="a note")], asynchronous=False)
    back = reader.committed([first, TopicPartition(name, 1)], 10)
    equal([(p.offset, p.metadata) for p in back], [(2, "a note"), (OFFSET_INVALID, None)])
    reader.close()
    reader = consumer(group)
    reader.subscribe([name])
    equal(values(take(reader, 8)), [str(i) for i in range(2, 10)])
    reader.close()


@case
def auto_commit():
    name, group = topic(), unique("group")
    send(producer(), name, [str(i) for i in range(10)])
    for want in (range(0, 4), range(4, 10)):
        reader = consumer(group, enable_auto_commit=True, auto_commit_interval_ms=100)
        reader.subscribe([name])
        equal(values(take(reader, len(want))), [str(i) for i in want])
        reader.close()


@case
def stranger_may_not_commit():
    """Committing with the generation of a group that went on without one is refused."""
    name, group = topic(), unique("group")
    reader = consumer(group, **CLASSIC)
    reader.subscribe([name])
    end = time.monotonic() + 20
    while not reader.assignment():
        assert time.monotonic() < end
        reader.poll(0.1)
    outsider = consumer(group)
    outsider.assign([TopicPartition(name, 0)])
    try:
        outsider.commit(offsets=[TopicPartition(name, 0, 1)], asynchronous=False)
    except KafkaException as e:
        equal(e.args[0].name(), "UNKNOWN_MEMBER_ID")
    else:
        raise AssertionError("an outsider committed into an active group")
    outsider.close()
    reader.close()
