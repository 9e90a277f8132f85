/* Load for `make bench-log`, on librdkafka: what its own performance client does (produce, consume),
 * and what that does not: latency at a fixed rate, produce and end to end, and transactions.
 * Prints one JSON object. Usage:
 *   log_load create BROKER TOPIC PARTITIONS [CONFIG=VALUE]...
 *   log_load delete BROKER TOPIC
 *   log_load produce BROKER TOPIC RECORDS SIZE
 *   log_load consume BROKER TOPIC RECORDS
 *   log_load latency BROKER TOPIC RATE SECONDS SIZE
 *   log_load transactions BROKER TOPIC SECONDS RECORDS_EACH SIZE
 */
#define _DEFAULT_SOURCE
#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int64_t now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void fail(const char *what, const char *why) {
    fprintf(stderr, "log_load: %s: %s\n", what, why);
    exit(1);
}

static void set(rd_kafka_conf_t *conf, const char *key, const char *value) {
    char why[256];
    if (rd_kafka_conf_set(conf, key, value, why, sizeof why) != RD_KAFKA_CONF_OK) fail(key, why);
}

/* Latencies in microseconds. */
struct sample { int64_t *us; size_t n, room; };

static void add(struct sample *s, int64_t us) {
    if (s->n == s->room) {
        s->room = s->room ? 2 * s->room : 1 << 16;
        s->us = realloc(s->us, s->room * sizeof *s->us);
        if (!s->us) fail("memory", "is used up");
    }
    s->us[s->n++] = us;
}

static int compare(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static void print_sample(const char *name, struct sample *s) {
    if (!s->n) fail(name, "nothing was measured");
    qsort(s->us, s->n, sizeof *s->us, compare);
    printf("\"%s_p50_ms\": %.3f, \"%s_p99_ms\": %.3f, \"%s_p999_ms\": %.3f", name,
           s->us[s->n / 2] / 1e3, name, s->us[s->n * 99 / 100] / 1e3, name,
           s->us[s->n * 999 / 1000] / 1e3);
}

static int64_t delivered, failed;
static struct sample produce_latency;
static int measures_latency;

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque) {
    (void)rk, (void)opaque;
    if (m->err) {
        if (!failed++) fprintf(stderr, "log_load: %s\n", rd_kafka_err2str(m->err));
        return;
    }
    delivered++;
    if (measures_latency) add(&produce_latency, now_us() - (int64_t)(intptr_t)m->_private);
}

static rd_kafka_t *producer(const char *broker, const char *transactional_id) {
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    set(conf, "bootstrap.servers", broker);
    set(conf, "acks", "all");
    set(conf, "linger.ms", measures_latency ? "0" : "5");
    set(conf, "queue.buffering.max.messages", "500000");
    set(conf, "queue.buffering.max.kbytes", "524288");
    if (transactional_id) set(conf, "transactional.id", transactional_id);
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    char why[256];
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
    if (!rk) fail("producer", why);
    return rk;
}

/* The payload begins with when it was made, the rest does not compress. */
static char *payload(size_t size) {
    char *bytes = malloc(size);
    uint64_t x = 88172645463325252u;
    for (size_t i = 0; i < size; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        bytes[i] = (char)x;
    }
    return bytes;
}

static void send_one(rd_kafka_t *rk, const char *topic, char *bytes, size_t size, int32_t partition) {
    int64_t at = now_us();
    memcpy(bytes, &at, sizeof at);
    for (;;) {
        rd_kafka_resp_err_t e = rd_kafka_producev(
            rk, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(partition),
            RD_KAFKA_V_VALUE(bytes, size), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
            RD_KAFKA_V_OPAQUE((void *)(intptr_t)at), RD_KAFKA_V_END);
        if (!e) return;
        if (e != RD_KAFKA_RESP_ERR__QUEUE_FULL) fail("produce", rd_kafka_err2str(e));
        rd_kafka_poll(rk, 10);
    }
}

static void produce(const char *broker, const char *topic, int64_t records, size_t size) {
    rd_kafka_t *rk = producer(broker, NULL);
    char *bytes = payload(size);
    send_one(rk, topic, bytes, size, RD_KAFKA_PARTITION_UA);
    rd_kafka_flush(rk, 30000);
    int64_t began = now_us();
    for (int64_t i = 1; i < records; i++) {
        send_one(rk, topic, bytes, size, RD_KAFKA_PARTITION_UA);
        if (i % 1000 == 0) rd_kafka_poll(rk, 0);
    }
    rd_kafka_flush(rk, 120000);
    double seconds = (now_us() - began) / 1e6;
    if (failed || delivered != records) fail("produce", "not everything was delivered");
    printf("{\"records_per_s\": %.0f, \"mb_per_s\": %.1f}\n", records / seconds,
           records * (double)size / seconds / 1e6);
}

static rd_kafka_t *consumer(const char *broker, const char *topic, const char *from) {
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char group[64], why[256];
    snprintf(group, sizeof group, "load-%lld", (long long)now_us());
    set(conf, "bootstrap.servers", broker);
    set(conf, "group.id", group);
    set(conf, "auto.offset.reset", from);
    set(conf, "enable.auto.commit", "false");
    set(conf, "fetch.wait.max.ms", "500");
    set(conf, "queued.max.messages.kbytes", "262144");
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof why);
    if (!rk) fail("consumer", why);
    rd_kafka_poll_set_consumer(rk);
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(topics, topic, RD_KAFKA_PARTITION_UA);
    if (rd_kafka_subscribe(rk, topics)) fail("subscribe", topic);
    rd_kafka_topic_partition_list_destroy(topics);
    return rk;
}

static void consume(const char *broker, const char *topic, int64_t records) {
    rd_kafka_t *rk = consumer(broker, topic, "earliest");
    rd_kafka_queue_t *queue = rd_kafka_queue_get_consumer(rk);
    static rd_kafka_message_t *batch[10000];
    int64_t n = 0, bytes = 0, began = 0, quiet = now_us();
    while (n < records) {
        ssize_t got = rd_kafka_consume_batch_queue(queue, 100, batch, 10000);
        if (got > 0) quiet = now_us();
        if (now_us() - quiet > 30000000) fail("consume", "nothing came for 30 s");
        for (ssize_t i = 0; i < got; i++) {
            if (!batch[i]->err) {
                /* Not the time of joining the group. */
                if (!began) began = now_us();
                n++;
                bytes += batch[i]->len;
            }
            rd_kafka_message_destroy(batch[i]);
        }
    }
    double seconds = (now_us() - began) / 1e6;
    printf("{\"records_per_s\": %.0f, \"mb_per_s\": %.1f}\n", n / seconds, bytes / seconds / 1e6);
    rd_kafka_queue_destroy(queue);
    rd_kafka_consumer_close(rk);
}

static volatile int stopping, ready;
static struct sample end_to_end;

static void *follow(void *arguments) {
    const char **a = arguments;
    rd_kafka_t *rk = consumer(a[0], a[1], "latest");
    while (!stopping) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(rk, 50);
        if (!m) {
            rd_kafka_topic_partition_list_t *mine = NULL;
            if (!ready && !rd_kafka_assignment(rk, &mine) && mine->cnt) ready = 1;
            if (mine) rd_kafka_topic_partition_list_destroy(mine);
            continue;
        }
        if (!m->err && m->len >= sizeof(int64_t)) {
            int64_t at;
            memcpy(&at, m->payload, sizeof at);
            if (at > 0) add(&end_to_end, now_us() - at);
        }
        rd_kafka_message_destroy(m);
    }
    rd_kafka_consumer_close(rk);
    return NULL;
}

static void latency(const char *broker, const char *topic, int64_t rate, int seconds, size_t size) {
    measures_latency = 1;
    const char *arguments[] = {broker, topic};
    pthread_t follower;
    pthread_create(&follower, NULL, follow, arguments);
    while (!ready) usleep(10000);
    usleep(500000);
    rd_kafka_t *rk = producer(broker, NULL);
    char *bytes = payload(size);
    /* librdkafka may take a second to ask for a topic it has not seen. */
    send_one(rk, topic, bytes, size, RD_KAFKA_PARTITION_UA);
    rd_kafka_flush(rk, 30000);
    int64_t began = now_us(), sent = 0, records = rate * seconds;
    while (sent < records) {
        int64_t due = (now_us() - began) * rate / 1000000;
        for (; sent < due && sent < records; sent++) {
            send_one(rk, topic, bytes, size, RD_KAFKA_PARTITION_UA);
        }
        rd_kafka_poll(rk, 1);
        /* The first second warms up. */
        if (now_us() - began < 1000000) produce_latency.n = 0, end_to_end.n = 0;
    }
    rd_kafka_flush(rk, 30000);
    usleep(500000);
    stopping = 1;
    pthread_join(follower, NULL);
    if (failed || delivered != records + 1) fail("latency", "not everything was delivered");
    printf("{");
    print_sample("produce", &produce_latency);
    printf(", ");
    print_sample("end_to_end", &end_to_end);
    printf("}\n");
}

static void transactions(const char *broker, const char *topic, int seconds, int each, size_t size) {
    char id[64];
    snprintf(id, sizeof id, "load-%lld", (long long)now_us());
    rd_kafka_t *rk = producer(broker, id);
    rd_kafka_error_t *e = rd_kafka_init_transactions(rk, 30000);
    if (e) fail("init_transactions", rd_kafka_error_string(e));
    char *bytes = payload(size);
    int64_t began = now_us(), n = 0;
    while (now_us() - began < seconds * 1000000LL) {
        if ((e = rd_kafka_begin_transaction(rk))) fail("begin", rd_kafka_error_string(e));
        for (int i = 0; i < each; i++) send_one(rk, topic, bytes, size, RD_KAFKA_PARTITION_UA);
        if ((e = rd_kafka_commit_transaction(rk, 30000))) fail("commit", rd_kafka_error_string(e));
        n++;
    }
    printf("{\"transactions_per_s\": %.1f}\n", n * 1e6 / (now_us() - began));
}

/* Waits for the answer to an admin request. */
static void await(rd_kafka_queue_t *queue, const char *what) {
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, 30000);
    if (!event) fail(what, "no answer");
    const rd_kafka_topic_result_t **results = NULL;
    size_t n = 0;
    if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_CREATETOPICS_RESULT) {
        results = rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &n);
    } else if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_DELETETOPICS_RESULT) {
        results = rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(event), &n);
    }
    if (rd_kafka_event_error(event)) fail(what, rd_kafka_event_error_string(event));
    for (size_t i = 0; i < n; i++) {
        if (rd_kafka_topic_result_error(results[i])) {
            fail(what, rd_kafka_topic_result_error_string(results[i]));
        }
    }
    rd_kafka_event_destroy(event);
}

static void create(const char *broker, const char *name, int partitions, int n, char **configs) {
    char why[256];
    rd_kafka_t *rk = producer(broker, NULL);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    rd_kafka_NewTopic_t *topic = rd_kafka_NewTopic_new(name, partitions, 1, why, sizeof why);
    if (!topic) fail("create", why);
    for (int i = 0; i < n; i++) {
        char *value = strchr(configs[i], '=');
        if (!value) fail("create", configs[i]);
        *value++ = 0;
        rd_kafka_NewTopic_set_config(topic, configs[i], value);
    }
    rd_kafka_CreateTopics(rk, &topic, 1, NULL, queue);
    await(queue, "create");
    printf("{}\n");
}

static void delete(const char *broker, const char *name) {
    rd_kafka_t *rk = producer(broker, NULL);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    rd_kafka_DeleteTopic_t *topic = rd_kafka_DeleteTopic_new(name);
    rd_kafka_DeleteTopics(rk, &topic, 1, NULL, queue);
    await(queue, "delete");
    printf("{}\n");
}

int main(int argc, char **argv) {
    const char *mode = argc > 1 ? argv[1] : "";
    if (!strcmp(mode, "create") && argc >= 5) {
        create(argv[2], argv[3], atoi(argv[4]), argc - 5, argv + 5);
    } else if (!strcmp(mode, "delete") && argc == 4) {
        delete(argv[2], argv[3]);
    } else if (!strcmp(mode, "produce") && argc == 6) {
        produce(argv[2], argv[3], atoll(argv[4]), (size_t)atoll(argv[5]));
    } else if (!strcmp(mode, "consume") && argc == 5) {
        consume(argv[2], argv[3], atoll(argv[4]));
    } else if (!strcmp(mode, "latency") && argc == 7) {
        latency(argv[2], argv[3], atoll(argv[4]), atoi(argv[5]), (size_t)atoll(argv[6]));
    } else if (!strcmp(mode, "transactions") && argc == 7) {
        transactions(argv[2], argv[3], atoi(argv[4]), atoi(argv[5]), (size_t)atoll(argv[6]));
    } else {
        fail("usage", "log_load create|delete|produce|consume|latency|transactions BROKER TOPIC ...");
    }
    return 0;
}
