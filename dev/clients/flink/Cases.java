// Flink's Kafka source and sink, in one process: `java -cp … Cases BOOTSTRAP RUN JOB …`.
//   read  TOPIC GROUP START                 prints the values from START (a time, or `committed`)
//   copy  SOURCE TARGET GROUP NAMING DIR FAIL  copies exactly once, checkpoints in DIR; goes on from
//         the newest checkpoint there. With FAIL > 0 it fails once at that record, goes on by itself
//         and ends at the end of SOURCE; else it runs until it is killed (a bounded source that is
//         restored by a new process does not end).

import java.io.IOException;
import java.nio.file.*;
import java.time.Duration;
import java.util.Comparator;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.MapFunction;
import org.apache.flink.api.common.serialization.SimpleStringSchema;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.*;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.kafka.clients.consumer.OffsetResetStrategy;

public class Cases {
    static String bootstrap;

    public static void main(String[] words) throws Exception {
        bootstrap = words[0];
        switch (words[2]) {
            case "read" -> read(words[3], words[4], words[5]);
            case "copy" -> copy(words[3], words[4], words[5], words[6], words[7], words[8]);
            default -> throw new IllegalArgumentException(words[2]);
        }
        System.exit(0);
    }

    static StreamExecutionEnvironment environment(Configuration more) {
        var settings = new Configuration();
        settings.setString("parallelism.default", "1");
        settings.setString("taskmanager.numberOfTaskSlots", "1");
        settings.setString("rest.bind-address", "127.0.0.1");
        settings.setString("rest.bind-port", "0");
        settings.setString("jobmanager.bind-host", "127.0.0.1");
        settings.setString("taskmanager.memory.network.min", "32m");
        settings.setString("taskmanager.memory.network.max", "32m");
        settings.setString("taskmanager.memory.managed.size", "32m");
        settings.addAll(more);
        return StreamExecutionEnvironment.createLocalEnvironment(settings);
    }

    static KafkaSource<String> source(String topic, String group, OffsetsInitializer start,
            boolean bounded) {
        var source = KafkaSource.<String>builder().setBootstrapServers(bootstrap).setTopics(topic)
                .setGroupId(group).setStartingOffsets(start)
                .setProperty("isolation.level", "read_committed")
                .setValueOnlyDeserializer(new SimpleStringSchema());
        return (bounded ? source.setBounded(OffsetsInitializer.latest()) : source).build();
    }

    static void read(String topic, String group, String start) throws Exception {
        var from = start.equals("committed")
                ? OffsetsInitializer.committedOffsets(OffsetResetStrategy.EARLIEST)
                : OffsetsInitializer.timestamp(Long.parseLong(start));
        var environment = environment(new Configuration());
        environment.fromSource(source(topic, group, from, true),
                        WatermarkStrategy.noWatermarks(), "source")
                .map(value -> "ROW " + value).print();
        environment.execute("read");
    }

    /** Slow, so that many checkpoints happen, and fails once when told. */
    static class Slowly implements MapFunction<String, String> {
        static final AtomicInteger SEEN = new AtomicInteger();
        final int fail;

        Slowly(int fail) { this.fail = fail; }

        public String map(String value) throws Exception {
            Thread.sleep(2);
            if (SEEN.incrementAndGet() == fail) throw new IOException("fails on purpose");
            return value;
        }
    }

    static void copy(String from, String to, String group, String naming, String dir, String fail)
            throws Exception {
        var settings = new Configuration();
        settings.setString("execution.checkpointing.interval", "250ms");
        settings.setString("execution.checkpointing.dir", "file://" + dir);
        settings.setString("execution.checkpointing.externalized-checkpoint-retention",
                "RETAIN_ON_CANCELLATION");
        settings.setString("restart-strategy.type", "fixed-delay");
        settings.setString("restart-strategy.fixed-delay.attempts", fail.equals("0") ? "0" : "1");
        settings.setString("restart-strategy.fixed-delay.delay", "100ms");
        try (var files = Files.walk(Path.of(dir))) {
            // A checkpoint is complete when its _metadata is there.
            var last = files.filter(f -> f.endsWith("_metadata"))
                    .max(Comparator.comparingLong(f -> f.toFile().lastModified()));
            System.out.println(last.map(f -> "goes on from " + f).orElse("starts anew"));
            last.ifPresent(f -> settings.setString("execution.state-recovery.path",
                    "file://" + f.getParent()));
        }
        var sink = KafkaSink.<String>builder().setBootstrapServers(bootstrap)
                .setDeliveryGuarantee(DeliveryGuarantee.EXACTLY_ONCE)
                .setTransactionalIdPrefix(group)
                .setTransactionNamingStrategy(TransactionNamingStrategy.valueOf(naming))
                .setProperty("transaction.timeout.ms", "60000")
                .setRecordSerializer(KafkaRecordSerializationSchema.builder().setTopic(to)
                        .setValueSerializationSchema(new SimpleStringSchema()).build())
                .build();
        var environment = environment(settings);
        environment.fromSource(source(from, group, OffsetsInitializer.earliest(), !fail.equals("0")),
                        WatermarkStrategy.noWatermarks(), "source").uid("source")
                .map(new Slowly(Integer.parseInt(fail))).uid("slowly")
                .sinkTo(sink).uid("sink");
        environment.execute("copy");
        System.out.println("copied, seen " + Slowly.SEEN.get());
    }
}
