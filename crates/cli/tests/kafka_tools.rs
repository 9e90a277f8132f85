//! What an operator sees of real Kafka clients over HTTP and at the command line: the batches they
//! sent, their groups while these read, their lag in the figures, and the offsets set anew.

use std::process::{Child, Command, Stdio};

use kafka_protocol::messages::{ConsumerGroupHeartbeatRequest, GroupId, TopicName};
use kafka_protocol::protocol::StrBytes;
use serde_json::{Value, json};

use crate::kafka::{Broker, ask, kcat};
use crate::support::{READINGS, root};

/// A consumer that goes on until it is dropped.
struct Consumer(Child);

impl Consumer {
    fn start(broker: &Broker, group: &str, topic: &str) -> Consumer {
        let child = kcat()
            .args(["-b", &format!("127.0.0.1:{}", broker.port), "-G", group, topic])
            .args(["-X", "auto.offset.reset=earliest", "-X", "client.id=reader"])
            .args(["-X", "auto.commit.interval.ms=100"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("kcat is needed: install the package kcat");
        Consumer(child)
    }

    /// As ^C does it: the member leaves its group.
    fn leave(mut self) {
        let id = self.0.id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        self.0.wait().unwrap();
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn get(broker: &Broker, path: &str) -> Value {
    let answer = broker.server.get(path);
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

#[test]
fn a_group_is_described_while_it_reads_and_reset_after_it_left() {
    let broker = Broker::start("", &["--set", "kafka.partitions=2"]);
    broker.produce("orders", &["-p", "0"], "a\nb\nc\n");
    broker.produce("orders", &["-p", "1"], "d\n");
    let consumer = Consumer::start(&broker, "billing", "orders");
    broker.server.wait_until("all is read and committed", |s| {
        let group = s.get("/api/groups/billing").json();
        group["state"] == "Stable" && group["lag"] == 0
    });
    let group = get(&broker, "/api/groups/billing");
    let member = &group["members"][0];
    assert_eq!(member["assignment"], json!([{ "topic": "orders", "partitions": [0, 1] }]));
    assert_eq!((&member["client_id"], &member["host"]), (&json!("reader"), &json!("/127.0.0.1")));
    assert_eq!(group["partitions"][0]["current_offset"], 3);
    assert_eq!(group["partitions"][0]["consumer_id"], member["consumer_id"]);
    assert_eq!(get(&broker, "/api/groups")[0]["members"], 1);

    let reset = r#"{"to": "earliest"}"#;
    let refused = broker.server.post("/api/groups/billing/offsets", reset);
    assert_eq!(refused.status, 409, "{}", refused.text());
    let problem = refused.json();
    assert!(problem["detail"].as_str().unwrap().contains("is Stable"), "{problem}");
    assert_eq!(problem["plan"]["partitions"][0]["new_offset"], 0);
    assert_eq!(broker.server.send("DELETE", "/api/groups/billing", &[], b"").status, 409);
    assert_eq!(get(&broker, "/api/groups/billing")["partitions"][0]["current_offset"], 3);

    consumer.leave();
    broker.server.wait_until("the member is gone", |s| {
        s.get("/api/groups/billing").json()["state"] == "Empty"
    });
    let done = broker.server.post("/api/groups/billing/offsets", reset).json();
    assert_eq!((&done["executed"], &done["partitions"][1]["lag"]), (&json!(true), &json!(1)));
    let arguments = ["-G", "billing", "-e", "-q", "-f", "%s\n", "orders"];
    let mut again: Vec<String> =
        broker.kcat(&arguments, "").unwrap().lines().map(str::to_string).collect();
    again.sort();
    assert_eq!(again, ["a", "b", "c", "d"]);
    // What was set outlives a crash.
    let last = r#"{"to": "-1", "topics": ["orders:0"]}"#;
    assert_eq!(broker.server.post("/api/groups/billing/offsets", last).status, 200);
    let broker = Broker::on(broker.server.kill(), &[]);
    let partitions = &get(&broker, "/api/groups/billing")["partitions"];
    assert_eq!((&partitions[0]["lag"], &partitions[1]["lag"]), (&json!(1), &json!(0)));
}

#[test]
fn a_group_of_the_new_protocol_is_described() {
    let broker = Broker::start("", &["--set", "kafka.partitions=2"]);
    broker.produce("orders", &["-p", "0"], "a\n");
    let text = |t: &str| StrBytes::from_string(t.to_string());
    let join = ConsumerGroupHeartbeatRequest::default()
        .with_group_id(GroupId(text("new")))
        .with_member_id(text("first"))
        .with_rebalance_timeout_ms(10_000)
        .with_subscribed_topic_names(Some(vec![TopicName(text("orders"))]))
        .with_topic_partitions(Some(vec![]));
    let mut socket = broker.connect();
    assert_eq!(ask(&mut socket, 1, &join).error_code, 0);
    let group = get(&broker, "/api/groups/new");
    assert_eq!((&group["type"], &group["assignor"]), (&json!("Consumer"), &json!("uniform")));
    let assignment = json!([{ "topic": "orders", "partitions": [0, 1] }]);
    assert_eq!(group["members"][0]["assignment"], assignment);
    // It reads both and has committed nothing.
    assert_eq!((&group["lag"], &group["partitions"][1]["lag"]), (&Value::Null, &Value::Null));
    let reset =
        broker.server.post("/api/groups/new/offsets", r#"{"to": "latest", "topics": ["orders"]}"#);
    assert_eq!(reset.status, 409, "{}", reset.text());
}

#[test]
fn records_are_shown_with_their_batch_and_whether_they_are_rows() {
    let broker = Broker::start(READINGS, &[]);
    // Long enough that packing pays: librdkafka sends it unpacked otherwise.
    let odd = "no json, ".repeat(100);
    let lines = format!("a:{{\"sensor\":\"a\",\"celsius\":1}}\nb:{odd}\n");
    let more = ["-K", ":", "-z", "lz4", "-H", "from=test", "-X", "enable.idempotence=true"];
    broker.produce("readings", &more, &lines);
    broker.server.wait_until("the second one is refused", |s| {
        s.get("/api/topics/readings/records").json()["records"][1]["refused"] == true
    });
    let records = get(&broker, "/api/topics/readings/records")["records"].clone();
    let of = |i: usize, name: &str| records[i][name].clone();
    assert_eq!((of(0, "key"), of(0, "refused")), (json!("a"), json!(false)));
    assert_eq!(of(0, "value"), json!({ "sensor": "a", "celsius": 1 }));
    assert_eq!((of(1, "value"), of(1, "value_encoding")), (json!(odd), json!("text")));
    let header = json!([{ "key": "from", "value": "test", "encoding": "text" }]);
    assert_eq!(of(0, "headers"), header);
    let batch = of(0, "batch");
    assert!(batch["producer_id"].is_i64() && batch["base_sequence"] == 0, "{batch}");
    assert_eq!((&batch["compression"], &batch["records"]), (&json!("lz4"), &json!(2)));
    let time = of(1, "timestamp");
    let from =
        get(&broker, &format!("/api/topics/readings/records?from={}", time.as_str().unwrap()));
    assert!(from["records"].as_array().unwrap().iter().any(|r| r["key"] == "b"), "{from}");
}

#[test]
fn a_key_is_found_page_by_page() {
    let broker = Broker::start("", &["--set", "kafka.partitions=2"]);
    // More than one call looks at: 48 MB.
    let filler = "x".repeat(100_000);
    let lines: String = (0..480).map(|i| format!("k{i}:{filler}\n")).collect();
    broker.produce("large", &["-K", ":", "-X", "message.max.bytes=900000"], &lines);
    let (mut from, mut found, mut calls) = ("earliest".to_string(), vec![], 0);
    loop {
        let path = format!("/api/topics/large/records?key=k479&from={from}");
        let page = get(&broker, &path);
        found.extend(page["records"].as_array().unwrap().clone());
        calls += 1;
        if page["end"] == true {
            break;
        }
        from = page["next"].as_str().unwrap().to_string();
    }
    assert_eq!((found.len(), &found[0]["key"]), (1, &json!("k479")));
    assert!((2..=4).contains(&calls), "48 MB took {calls} calls of 32 MiB");
    // An answer does not grow beyond its bound, either.
    let page = get(&broker, "/api/topics/large/records?limit=480");
    let n = page["records"].as_array().unwrap().len();
    assert!((30..60).contains(&n), "{n} records of 100 kB in a page of 4 MiB");
    assert_eq!(page["end"], false);
}

#[test]
fn figures_of_partitions_and_groups() {
    let broker = Broker::start("", &["--set", "kafka.partitions=2"]);
    broker.produce("orders", &["-p", "1"], "a\nb\nc\n");
    let reset = r#"{"to": "1", "topics": ["orders:1"]}"#;
    assert_eq!(broker.server.post("/api/groups/billing/offsets", reset).status, 200);
    let text = broker.server.get("/metrics").text();
    for line in [
        "watershed_partition_records_in_total{topic=\"orders\",partition=\"1\"} 3",
        "watershed_partition_log_start_offset{topic=\"orders\",partition=\"1\"} 0",
        "watershed_partition_log_end_offset{topic=\"orders\",partition=\"1\"} 3",
        "watershed_partition_log_end_offset{topic=\"orders\",partition=\"0\"} 0",
        "watershed_partition_log_segments{topic=\"orders\",partition=\"1\"} 1",
        "watershed_group_members{group=\"billing\"} 0",
        "watershed_group_state{group=\"billing\",state=\"Empty\"} 1",
        "watershed_group_committed_offset{group=\"billing\",topic=\"orders\",partition=\"1\"} 1",
        "watershed_group_lag_records{group=\"billing\",topic=\"orders\",partition=\"1\"} 2",
        "watershed_metrics_omitted{of=\"partitions\"} 0",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
    }
    let sample = |name: &str| -> f64 {
        let line = text.lines().find(|l| l.starts_with(name)).unwrap_or_else(|| panic!("{name}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    let syncs = sample("watershed_log_sync_seconds_count");
    assert!(syncs >= 1.0);
    assert_eq!(sample("watershed_log_sync_seconds_bucket{le=\"+Inf\"}"), syncs);
    assert!(sample("watershed_topic_sync_seconds_sum{topic=\"orders\"}") > 0.0);
    assert!(sample("watershed_partition_bytes_in_total{topic=\"orders\",partition=\"1\"}") > 60.0);
    for line in text.lines().filter(|l| !l.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let family = ["_bucket", "_sum", "_count"].iter().fold(name, |n, s| n.trim_end_matches(s));
        assert!(text.contains(&format!("# TYPE {family} ")), "{line}");
    }
    let manual = std::fs::read_to_string(root().join("docs/reference/metrics.md")).unwrap();
    for line in text.lines().filter_map(|l| l.strip_prefix("# TYPE ")) {
        let family = line.split(' ').next().unwrap();
        assert!(manual.contains(&format!("`{family}`")), "{family} is not in the manual");
    }
}

#[test]
fn figures_are_bounded_and_say_so() {
    let broker = Broker::start(
        "CREATE TOPIC wide (value BINARY) WITH (format = 'raw', partitions = 1003);",
        &[],
    );
    let text = broker.server.get("/metrics").text();
    let of = |name: &str| text.lines().filter(|l| l.starts_with(&format!("{name}{{"))).count();
    assert_eq!(of("watershed_partition_log_end_offset"), 1_000);
    let line = "watershed_metrics_omitted{of=\"partitions\"} 3";
    assert!(text.lines().any(|l| l == line), "{line} is not in the figures");
}

#[test]
fn a_compacted_topic_wants_keys_and_takes_tombstones() {
    let broker = Broker::start(
        "CREATE TOPIC states (value BINARY) WITH (format = 'raw', cleanup_policy = 'compact');",
        &[],
    );
    let path = "/api/topics/states/records";
    let without = broker.server.post(path, r#"{"records": [{"value": "a"}]}"#);
    assert_eq!(without.status, 400, "{}", without.text());
    assert!(without.json()["detail"].as_str().unwrap().contains("has no key"));
    let with = r#"{"records": [{"key": "k", "value": "a"}, {"key": "k", "value": null}]}"#;
    assert_eq!(broker.server.post(path, with).json()["accepted"], 2);
    assert_eq!(broker.consume("states", &["-f", "%k=%s\n"]), ["k=a", "k="]);
}

#[test]
fn consume_follows_what_comes() {
    let broker = Broker::start("", &[]);
    broker.produce("t", &[], "before\n");
    let mut follower = broker
        .server
        .project
        .command(&["topic", "consume", "t", "--follow", "--format", "raw", "--max", "2"])
        .env("WATERSHED_URL", broker.server.url())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // It begins at the end as it finds it: any of these may be the first that it meets.
    for i in 0..1_000 {
        broker.produce("t", &[], &format!("{i}\n"));
        if follower.try_wait().unwrap().is_some() {
            break;
        }
    }
    let output = follower.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<u32> = text.lines().map(|l| l.parse().unwrap()).collect();
    assert_eq!((lines.len(), lines[1]), (2, lines[0] + 1), "{text}");
}
