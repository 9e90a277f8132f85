// The Java client of the 3.x line, which Spark and many applications still carry. One case a call:
// `java -cp … Cases BOOTSTRAP RUN CASE`; a failed check throws.

import java.time.Duration;
import java.util.*;
import java.util.concurrent.ExecutionException;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.IsolationLevel;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.*;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.*;

public class Cases {
    static String bootstrap, run, current;
    static final long HOUR_AGO = System.currentTimeMillis() - 3_600_000;

    public static void main(String[] words) throws Exception {
        bootstrap = words[0];
        run = words[1];
        current = words[2];
        switch (current) {
            case "produce_consume" -> produceConsume();
            case "compression" -> compression();
            case "transactions" -> transactions();
            case "fencing" -> fencing();
            case "consume_transform_produce" -> consumeTransformProduce();
            case "group_eager" -> group(RangeAssignor.class.getName(), "classic");
            case "group_cooperative" -> group(CooperativeStickyAssignor.class.getName(), "classic");
            case "group_new_protocol" -> group(null, "consumer");
            case "offsets" -> offsets();
            case "administration" -> administration();
            default -> throw new IllegalArgumentException(current);
        }
        System.exit(0);
    }

    // ---- helpers ----

    static String unique(String part) { return "java39-" + part + "-" + current + "-" + run; }

    static void equal(Object got, Object want, String what) {
        if (!Objects.equals(got, want))
            throw new AssertionError(what + "\n   got: " + got + "\n  want: " + want);
    }

    static Map<String, Object> settings(Object... pairs) {
        var map = new HashMap<String, Object>(Map.of("bootstrap.servers", bootstrap));
        for (int i = 0; i < pairs.length; i += 2) map.put((String) pairs[i], pairs[i + 1]);
        return map;
    }

    static KafkaProducer<String, String> producer(Object... pairs) {
        return new KafkaProducer<>(settings(pairs), new StringSerializer(), new StringSerializer());
    }

    static KafkaConsumer<String, String> consumer(Object... pairs) {
        var map = settings("auto.offset.reset", "earliest", "enable.auto.commit", "false");
        map.putAll(settings(pairs));
        return new KafkaConsumer<>(map, new StringDeserializer(), new StringDeserializer());
    }

    static String topic(String part, int partitions) throws Exception {
        String name = unique(part);
        try (var admin = Admin.create(settings())) {
            admin.createTopics(List.of(new NewTopic(name, partitions, (short) 1))).all().get();
        }
        return name;
    }

    static List<String> numbered(String prefix, int n) {
        return IntStream.range(0, n).mapToObj(i -> prefix + i).toList();
    }

    static void send(KafkaProducer<String, String> p, String name, int partition, List<String> values)
            throws Exception {
        var sent = new ArrayList<java.util.concurrent.Future<RecordMetadata>>();
        for (String v : values) sent.add(p.send(new ProducerRecord<>(name, partition, null, v)));
        p.flush();
        for (var s : sent) s.get();
    }

    static List<ConsumerRecord<String, String>> take(KafkaConsumer<String, String> c, int n) {
        var got = new ArrayList<ConsumerRecord<String, String>>();
        long end = System.currentTimeMillis() + 20_000;
        while (got.size() < n && System.currentTimeMillis() < end)
            c.poll(Duration.ofMillis(100)).forEach(got::add);
        equal(got.size(), n, "records taken");
        return got;
    }

    static long end(Admin admin, TopicPartition part, IsolationLevel level) throws Exception {
        return admin.listOffsets(Map.of(part, OffsetSpec.latest()), new ListOffsetsOptions(level))
                .all().get().get(part).offset();
    }

    static List<String> read(String name, String isolation) throws Exception {
        try (var admin = Admin.create(settings())) {
            var part = new TopicPartition(name, 0);
            // The markers may follow the answer to a commit.
            while (end(admin, part, IsolationLevel.READ_COMMITTED)
                    < end(admin, part, IsolationLevel.READ_UNCOMMITTED)) Thread.sleep(50);
        }
        try (var c = consumer("isolation.level", isolation)) {
            var part = new TopicPartition(name, 0);
            c.assign(List.of(part));
            c.seekToBeginning(List.of(part));
            long end = c.endOffsets(List.of(part)).get(part);
            var got = new ArrayList<String>();
            long limit = System.currentTimeMillis() + 20_000;
            while (c.position(part) < end && System.currentTimeMillis() < limit)
                c.poll(Duration.ofMillis(100)).forEach(r -> got.add(r.value()));
            return got;
        }
    }

    interface Action { void run() throws Exception; }

    static void refused(Class<?> kind, Action action) throws Exception {
        try {
            action.run();
        } catch (Exception e) {
            var cause = e instanceof ExecutionException ? e.getCause() : e;
            equal(cause.getClass(), kind, "" + cause);
            return;
        }
        throw new AssertionError("not refused; wanted " + kind);
    }

    // ---- cases ----

    static void produceConsume() throws Exception {
        String name = topic("topic", 1);
        try (var p = producer("acks", "all", "enable.idempotence", "true")) {
            var record = new ProducerRecord<>(name, 0, HOUR_AGO, "key", "value");
            record.headers().add(new RecordHeader("color", "blue".getBytes()));
            equal(p.send(record).get().offset(), 0L, "offset");
            p.send(new ProducerRecord<>(name, "key", null)).get();
            send(p, name, 0, numbered("", 5000));
        }
        try (var c = consumer("group.id", unique("group"))) {
            c.subscribe(List.of(name));
            var got = take(c, 5002);
            var first = got.get(0);
            equal(first.key() + first.value() + first.timestamp(), "keyvalue" + HOUR_AGO, "first");
            equal(new String(first.headers().lastHeader("color").value()), "blue", "header");
            equal(got.get(1).value(), null, "tombstone");
            equal(got.stream().skip(2).map(ConsumerRecord::value).toList(), numbered("", 5000), "order");
            equal(got.get(5001).offset(), 5001L, "last offset");
        }
    }

    static void compression() throws Exception {
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            String name = topic(codec, 1);
            var lines = numbered(codec + "v".repeat(200), 1000);
            try (var p = producer("compression.type", codec, "linger.ms", 50)) { send(p, name, 0, lines); }
            equal(read(name, "read_uncommitted"), lines, codec);
        }
    }

    static void transactions() throws Exception {
        String name = topic("topic", 1);
        var want = new ArrayList<String>();
        var all = new ArrayList<String>();
        try (var p = producer("transactional.id", unique("txn"))) {
            p.initTransactions();
            for (int i = 0; i < 9; i++) {
                var lines = numbered(i + "-", 20);
                p.beginTransaction();
                send(p, name, 0, lines);
                all.addAll(lines);
                if (i % 3 == 1) { p.abortTransaction(); continue; }
                p.commitTransaction();
                want.addAll(lines);
            }
        }
        equal(read(name, "read_committed"), want, "read_committed");
        equal(read(name, "read_uncommitted"), all, "read_uncommitted");
    }

    static void fencing() throws Exception {
        String name = topic("topic", 1);
        var old = producer("transactional.id", unique("txn"));
        old.initTransactions();
        old.beginTransaction();
        send(old, name, 0, List.of("old"));
        try (var p = producer("transactional.id", unique("txn"))) {
            p.initTransactions();
            p.beginTransaction();
            send(p, name, 0, List.of("new"));
            p.commitTransaction();
        }
        refused(ProducerFencedException.class, old::commitTransaction);
        equal(read(name, "read_committed"), List.of("new"), "read_committed");
    }

    static void consumeTransformProduce() throws Exception {
        String source = topic("source", 1), target = topic("target", 1), group = unique("group");
        try (var p = producer()) { send(p, source, 0, numbered("", 40)); }
        try (var p = producer("transactional.id", unique("txn"))) {
            p.initTransactions();
            for (boolean commit : new boolean[] {true, false, true, true, false, true}) {
                try (var c = consumer("group.id", group, "max.poll.records", 10,
                        "isolation.level", "read_committed")) {
                    c.subscribe(List.of(source));
                    var batch = take(c, 10);
                    p.beginTransaction();
                    batch.forEach(r -> p.send(new ProducerRecord<>(target, r.value())));
                    long next = batch.get(9).offset() + 1;
                    p.sendOffsetsToTransaction(Map.of(new TopicPartition(source, 0),
                            new OffsetAndMetadata(next)), c.groupMetadata());
                    if (commit) p.commitTransaction(); else p.abortTransaction();
                }
            }
        }
        equal(read(target, "read_committed"), numbered("", 40), "copied");
    }

    /** A member polled by its own thread, as a KafkaConsumer wants it. */
    static class Member extends Thread {
        final List<String> seen = Collections.synchronizedList(new ArrayList<>());
        volatile int owned;
        volatile boolean stop;
        final String name;
        final Object[] pairs;

        Member(String name, Object... pairs) { this.name = name; this.pairs = pairs; start(); }

        public void run() {
            try (var c = consumer(pairs)) {
                c.subscribe(List.of(name));
                while (!stop) {
                    var got = c.poll(Duration.ofMillis(50));
                    got.forEach(r -> seen.add(r.value()));
                    if (!got.isEmpty()) c.commitSync();
                    owned = c.assignment().size();
                }
            }
        }

        void leave() throws Exception { stop = true; join(); }
    }

    static void until(String what, java.util.function.BooleanSupplier probe) throws Exception {
        for (long end = System.currentTimeMillis() + 30_000; !probe.getAsBoolean(); Thread.sleep(50))
            if (System.currentTimeMillis() > end) throw new AssertionError("never: " + what);
    }

    static void group(String assignor, String protocol) throws Exception {
        String name = topic("topic", 4), group = unique("group");
        var pairs = new ArrayList<Object>(List.of("group.id", group, "group.protocol", protocol));
        if (assignor != null)
            pairs.addAll(List.of("partition.assignment.strategy", assignor,
                    "session.timeout.ms", 6000, "heartbeat.interval.ms", 300));
        var one = new Member(name, pairs.toArray());
        until("the first member owns all", () -> one.owned == 4);
        var two = new Member(name, pairs.toArray());
        until("both own two", () -> one.owned == 2 && two.owned == 2);
        var want = new ArrayList<String>();
        try (var p = producer()) {
            for (int i = 0; i < 4; i++) {
                send(p, name, i, numbered(i + "-", 50));
                want.addAll(numbered(i + "-", 50));
            }
        }
        until("all is read", () -> one.seen.size() + two.seen.size() >= 200);
        equal(one.seen.size(), 100, "the half of one member");
        two.leave();
        until("the first member owns all again", () -> one.owned == 4);
        one.leave();
        one.seen.addAll(two.seen);
        equal(one.seen.stream().sorted().toList(), want.stream().sorted().toList(), "each once");
    }

    static void offsets() throws Exception {
        String name = topic("topic", 1), group = unique("group");
        var part = new TopicPartition(name, 0);
        try (var p = producer()) {
            for (long i = 0; i < 10; i++)
                p.send(new ProducerRecord<>(name, 0, HOUR_AGO + i * 1000, null, "" + i)).get();
        }
        try (var c = consumer("group.id", group)) {
            c.assign(List.of(part));
            equal(c.offsetsForTimes(Map.of(part, HOUR_AGO + 4500)).get(part).offset(), 5L, "by time");
            equal(c.offsetsForTimes(Map.of(part, HOUR_AGO + 900_000)).get(part), null, "after the last");
            equal(c.endOffsets(List.of(part)).get(part), 10L, "end");
            c.seek(part, 7);
            equal(take(c, 3).get(0).value(), "7", "seek");
            c.commitSync(Map.of(part, new OffsetAndMetadata(4, "a note")));
            equal(c.committed(Set.of(part)).get(part).metadata(), "a note", "metadata");
        }
        try (var c = consumer("group.id", group)) {
            c.subscribe(List.of(name));
            equal(take(c, 6).get(0).value(), "4", "after the commit");
        }
    }

    static void administration() throws Exception {
        String name = topic("topic", 2), group = unique("group");
        var part = new TopicPartition(name, 0);
        try (var admin = Admin.create(settings())) {
            refused(TopicExistsException.class, () -> admin.createTopics(
                    List.of(new NewTopic(name, 1, (short) 1))).all().get());
            admin.createPartitions(Map.of(name, NewPartitions.increaseTo(3))).all().get();
            var found = admin.describeTopics(List.of(name)).allTopicNames().get().get(name);
            equal(found.partitions().size(), 3, "partitions");
            var resource = new ConfigResource(ConfigResource.Type.TOPIC, name);
            var set = new AlterConfigOp(new ConfigEntry("retention.ms", "99000"),
                    AlterConfigOp.OpType.SET);
            admin.incrementalAlterConfigs(Map.of(resource, List.of(set))).all().get();
            until("configured", () -> {
                try {
                    return admin.describeConfigs(List.of(resource)).all().get().get(resource)
                            .get("retention.ms").value().equals("99000");
                } catch (Exception e) { throw new RuntimeException(e); }
            });
            try (var p = producer()) { send(p, name, 0, numbered("", 10)); }
            admin.alterConsumerGroupOffsets(group, Map.of(part, new OffsetAndMetadata(3))).all().get();
            equal(admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get()
                    .get(part).offset(), 3L, "altered offset");
            equal(admin.listConsumerGroups().all().get().stream().map(ConsumerGroupListing::groupId)
                    .filter(group::equals).collect(Collectors.toList()), List.of(group), "listed");
            equal(admin.describeConsumerGroups(List.of(group)).all().get().get(group).members().size(),
                    0, "members");
            admin.deleteConsumerGroups(List.of(group)).all().get();
            admin.deleteRecords(Map.of(part, RecordsToDelete.beforeOffset(6))).all().get();
            equal(read(name, "read_uncommitted"), List.of("6", "7", "8", "9"), "left");
            equal(admin.listOffsets(Map.of(part, OffsetSpec.earliest())).all().get().get(part).offset(),
                    6L, "start");
            admin.deleteTopics(List.of(name)).all().get();
            refused(UnknownTopicOrPartitionException.class,
                    () -> admin.describeTopics(List.of(name)).allTopicNames().get());
        }
    }
}
