//! Topics in a real Kafka (`log = "kafka://…"`) and the `kafka` sink. What is asked for here holds
//! on both logs: the same project runs on the embedded one beside it. Run by `make external`,
//! which starts a Kafka 4 and says in `WATERSHED_KAFKA` where it is.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::support::{Project, Server, root};

fn kafka() -> String {
    std::env::var("WATERSHED_KAFKA").expect("WATERSHED_KAFKA is not set: run make external")
}

/// A name that no earlier run has used.
fn fresh(name: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    format!("{name}-{}", now.as_nanos() % 1_000_000_000_000)
}

fn kcat(arguments: &[&str], input: &str) -> String {
    let mut child = crate::kafka::kcat()
        .args(["-b", &kafka(), "-m", "30", "-q"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("kcat is needed: install the package kcat");
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "kcat {arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// What readers of committed records see, one line each.
fn consume(topic: &str, format: &str) -> Vec<String> {
    let all = ["-C", "-t", topic, "-o", "beginning", "-e", "-f", format];
    let committed = ["-X", "isolation.level=read_committed"];
    kcat(&[&all[..], &committed].concat(), "").lines().map(String::from).collect()
}

/// One of Kafka's own tools.
fn tool(arguments: &[&str]) {
    let ran = Command::new(root().join("dev/services/kafka/kt")).args(arguments).output().unwrap();
    assert!(ran.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&ran.stderr));
}

fn definitions(topic: &str) -> String {
    format!(
        "CREATE TOPIC \"{topic}\" (
           sensor TEXT NOT NULL, celsius DOUBLE, CHECK (celsius < 200)
         ) WITH (key = 'sensor', partitions = 3);
         CREATE MATERIALIZED VIEW per_sensor AS
         SELECT sensor, count(*) AS n, max(celsius) AS top FROM \"{topic}\" GROUP BY sensor;"
    )
}

fn serve(project: Project, log: &str) -> Server {
    project.serve(&["--set", &format!("log={log}")])
}

fn wait_for(server: &Server, query: &str, expected: &Value) {
    let began = Instant::now();
    while server.sql(query) != *expected {
        let got = server.sql(query);
        assert!(began.elapsed() < Duration::from_secs(60), "{query}: {got}, not {expected}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
#[ignore = "needs a real Kafka 4: make external"]
fn one_project_gives_the_same_answers_on_both_logs() {
    let topic = fresh("readings");
    let mut answers = vec![];
    for log in [format!("kafka://{}", kafka()), "file:data/log".to_string()] {
        let server = serve(Project::new(&definitions(&topic)), &log);
        let body = "{\"sensor\":\"a\",\"celsius\":20}\n{\"sensor\":\"b\",\"celsius\":21.5}\n\
                    {\"sensor\":\"a\",\"celsius\":999}\nnonsense\n{\"sensor\":\"c\"}\n";
        let mut answer = vec![];
        for _ in 0..3 {
            let sent = server.post(&format!("/api/topics/{topic}"), body);
            assert_eq!(sent.status, 200, "{}", sent.text());
            answer.push(sent.json());
        }
        // Read at once: what is acknowledged is there.
        let rows = "SELECT sensor, celsius, _partition, _offset, CAST(_key AS TEXT) \
                    FROM \"{topic}\" ORDER BY 3, 4"
            .replace("{topic}", &topic);
        answer.push(server.sql(&rows));
        assert_eq!(answer[3].as_array().unwrap().len(), 9);
        server.settle();
        answer.push(server.sql("SELECT * FROM per_sensor ORDER BY 1"));
        let dead = "SELECT topic, line, kind, reason FROM dead_letters ORDER BY line, _offset";
        answer.push(server.sql(&dead.replace(", _offset", "")));
        // Killed and started again it goes on where it was, in the lake and in the view.
        let server = serve(server.kill(), &log);
        let sent = server.post(&format!("/api/topics/{topic}"), "{\"sensor\":\"z\"}");
        answer.push(sent.json());
        server.settle();
        answer.push(server.sql(&rows));
        answer.push(server.sql("SELECT * FROM per_sensor ORDER BY 1"));
        answers.push(answer);
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(consume(&topic, "%o\\n").len(), 10, "all of it is in Kafka");
}

#[test]
#[ignore = "needs a real Kafka 4: make external"]
fn records_of_others_come_in_and_are_checked() {
    let topic = fresh("others");
    let brokers = kafka();
    tool(&[
        "TopicCommand",
        "--bootstrap-server",
        &brokers,
        "--create",
        "--topic",
        &topic,
        "--partitions",
        "3",
    ]);
    let lines = "a:{\"sensor\":\"a\",\"celsius\":1}\nb:{\"sensor\":\"b\",\"celsius\":500}\n\
                 c:nonsense\na:{\"sensor\":\"a\",\"celsius\":3}\n";
    for packed in ["none", "gzip", "snappy", "lz4", "zstd"] {
        kcat(&["-P", "-t", &topic, "-K:", "-z", packed, "-H", "from=kcat"], lines);
    }
    let server = serve(Project::new(&definitions(&topic)), &format!("kafka://{brokers}"));
    let counts = serde_json::json!([["a", 10, 3.0]]);
    wait_for(&server, "SELECT * FROM per_sensor", &counts);
    let headers = "SELECT DISTINCT _headers[0].key, CAST(_headers[0].value AS TEXT)";
    let headers = server.sql(&format!("{headers} FROM \"{topic}\""));
    assert_eq!(headers, serde_json::json!([["from", "kcat"]]));
    assert_eq!(server.get("/api/dead-letters").json()["total"], 10);
    kcat(&["-P", "-t", &topic, "-K:"], "a:{\"sensor\":\"a\",\"celsius\":7}\n");
    wait_for(&server, "SELECT * FROM per_sensor", &serde_json::json!([["a", 11, 7.0]]));

    // A definition that does not fit what is there says so.
    let other = Project::new(&definitions(&topic).replace("partitions = 3", "partitions = 2"));
    let ran = other.command(&["serve", ".", "--http-port", "0", "--pg-port", "0", "--set"]);
    let mut ran = ran;
    let output = ran.arg(format!("log=kafka://{brokers}")).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(
        text.contains("has 3 partitions in Kafka") && text.contains("partitions = 3"),
        "{text}"
    );
}

#[test]
#[ignore = "needs a real Kafka 4: make external"]
fn what_kafka_has_removed_is_said() {
    let topic = fresh("removed");
    let brokers = kafka();
    let create = |topic: &str| {
        tool(&["TopicCommand", "--bootstrap-server", &brokers, "--create", "--topic", topic]);
    };
    create(&topic);
    let line = |i: i32| format!("{{\"sensor\":\"s\",\"celsius\":{i}}}\n");
    let produce = |range: std::ops::Range<i32>| {
        kcat(&["-P", "-t", &topic], &range.map(line).collect::<String>());
    };
    let delete = |before: i64| {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("offsets.json");
        let offsets = serde_json::json!({ "version": 1, "partitions": [
            { "topic": topic, "partition": 0, "offset": before }
        ]});
        std::fs::write(&file, offsets.to_string()).unwrap();
        let file = file.to_str().unwrap();
        tool(&["DeleteRecordsCommand", "--bootstrap-server", &brokers, "--offset-json-file", file]);
    };
    produce(0..100);
    delete(40);
    let sql = definitions(&topic).replace("partitions = 3", "partitions = 1");
    let log = format!("kafka://{brokers}");
    let server = serve(Project::new(&sql), &log);
    // It begins where Kafka begins.
    let spans = format!("SELECT min(_offset), max(_offset), count(*) FROM \"{topic}\"");
    wait_for(&server, &spans, &serde_json::json!([[40, 99, 60]]));
    assert_eq!(server.get("/api/status").json()["problems"], serde_json::json!([]));
    let project = server.stop().1;

    // Removed before it was copied: what is there is read, and what is not is said.
    produce(100..200);
    delete(150);
    let server = serve(project, &log);
    wait_for(&server, &spans, &serde_json::json!([[40, 199, 110]]));
    let problems = server.get("/api/status").json()["problems"].to_string();
    assert!(problems.contains("offsets 100 to 149 of partition 0 were removed"), "{problems}");
    let project = server.stop().1;

    // Made anew under the old name: nothing of it is taken for the old one.
    tool(&["TopicCommand", "--bootstrap-server", &brokers, "--delete", "--topic", &topic]);
    std::thread::sleep(Duration::from_secs(1));
    create(&topic);
    produce(0..10);
    let server = serve(project, &log);
    server.wait_until("the problem is said", |s| {
        s.get("/api/status").json()["problems"].to_string().contains("made anew")
    });
    assert_eq!(server.sql(&spans), serde_json::json!([[40, 199, 110]]));
}

/// Imports and a sink are killed again and again; what counts is what is in Kafka at the end.
#[test]
#[ignore = "needs a real Kafka 4: make external"]
fn numbered_batches_and_the_sink_are_exactly_once_under_kills() {
    let (topic, out) = (fresh("in"), fresh("out"));
    let brokers = kafka();
    tool(&[
        "TopicCommand",
        "--bootstrap-server",
        &brokers,
        "--create",
        "--topic",
        &out,
        "--partitions",
        "2",
    ]);
    let sink = format!(
        "CREATE SINK \"{out}\" FROM (SELECT sensor, celsius FROM \"{topic}\") WITH (
           connector = 'kafka', url = 'kafka://{brokers}', topic = '{out}', key = 'sensor',
           delivery = 'exactly_once');"
    );
    let log = format!("log=kafka://{brokers}");
    let mut server =
        Project::new(&format!("{}{sink}", definitions(&topic))).serve(&["--set", &log]);
    let rows = 60_000;
    let text: String = (0..rows).map(|i| format!("sensor-{i},{}\n", i % 90)).collect();
    server.project.write("data.csv", &format!("sensor,celsius\n{text}"));
    let arguments = ["import", "data.csv", "--into", topic.as_str()];
    let port = server.address.rsplit(':').next().unwrap().to_string();
    for round in 0..8 {
        let mut importer = server
            .project
            .command(&arguments)
            .env("WATERSHED_URL", server.url())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(300 + 170 * (round % 5)));
        let project = server.kill();
        let _ = importer.kill();
        importer.wait().unwrap();
        server = project.serve(&["--http-port", &port, "--set", &log]);
    }
    server.run(&arguments).ok();
    for name in [&topic, &out] {
        let began = Instant::now();
        let mut seen = BTreeMap::<String, u32>::new();
        while seen.len() < rows && began.elapsed() < Duration::from_secs(120) {
            seen.clear();
            for key in consume(name, "%k\\n") {
                *seen.entry(key).or_default() += 1;
            }
        }
        let doubled = seen.values().filter(|n| **n > 1).count();
        assert_eq!((seen.len(), doubled), (rows, 0), "{name}");
    }
    wait_for(&server, "SELECT count(*), max(n) FROM per_sensor", &serde_json::json!([[rows, 1]]));
}
