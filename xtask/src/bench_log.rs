//! `make bench-log`: Watershed and Kafka 4 side by side, the same client and the same disk, one
//! after the other in each round; medians, spread and ratios into docs/benchmarks.md. Clients are
//! librdkafka (dev/bench/log_load.c) and Java's own ProducerPerformance.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde_json::Value;

use crate::bench::{machine, median, write};
use crate::server::{Scratch, Server, free_port};
use crate::{Result, binary, flag, root};

const RECORD_BYTES: u64 = 1_000;
const LATENCY_SECONDS: u64 = 8;
const TRANSACTION_SECONDS: u64 = 4;

/// One of the two that are compared.
struct Broker {
    name: &'static str,
    address: String,
    pid: u32,
}

/// All values of a figure, by broker.
type Values = BTreeMap<&'static str, Vec<f64>>;

struct Bench {
    load: PathBuf,
    records: u64,
    topics: u32,
    /// Topics of this round.
    made: Vec<(&'static str, String)>,
    figures: Vec<(String, &'static str, Values)>,
}

pub fn run(args: &[String]) -> Result<()> {
    let binary = binary(args)?;
    let number = |name, default| flag(args, name).map_or(Ok(default), |n| n.parse());
    let rounds: u32 = number("--rounds", 5).map_err(|e| format!("--rounds: {e}"))?;
    let records = number("--records", 500_000).map_err(|e| format!("--records: {e}"))?.into();
    let scratch = Scratch::new("bench-log")?;
    let load = scratch.0.join("log_load");
    let source = root().join("dev/bench/log_load.c");
    run_command(
        Command::new("cc")
            .args(["-O2", "-o"])
            .arg(&load)
            .arg(source)
            .args(["-lrdkafka", "-lpthread"]),
    )?;
    let port = free_port()?;
    let project = scratch.0.join("project");
    std::fs::create_dir_all(&project).map_err(|e| e.to_string())?;
    scratch.write("project/watershed.toml", "")?;
    let began = Instant::now();
    let server = Server::start_with_kafka(
        &binary,
        &project,
        free_port()?,
        port,
        &scratch.0.join("watershed.txt"),
    )?;
    let ours_started = began.elapsed().as_secs_f64();
    let kafka = Kafka::start(&scratch.0.join("kafka"))?;
    let brokers = [
        Broker { name: "watershed", address: format!("127.0.0.1:{port}"), pid: server.id() },
        Broker { name: "kafka", address: kafka.address.clone(), pid: kafka.pid },
    ];
    let mut bench = Bench { load, records, topics: 0, made: vec![], figures: vec![] };
    for round in 0..rounds {
        eprintln!("round {} of {rounds}", round + 1);
        let [ours, theirs] = &brokers;
        let turns = if round % 2 == 0 { [ours, theirs] } else { [theirs, ours] };
        bench.round(turns)?;
    }
    bench.note("start to ready, s", "≤ 0.3 s", "watershed", ours_started);
    bench.note("start to ready, s", "≤ 0.3 s", "kafka", kafka.started);
    let table = bench.table(rounds);
    println!("{table}");
    write("bench-log", &table)
}

impl Bench {
    /// Every figure once, the two brokers alternating, in turns who is first.
    fn round(&mut self, brokers: [&Broker; 2]) -> Result<()> {
        for partitions in [1, 4, 16] {
            let goal = if partitions == 1 { "≥ 2" } else { "" };
            for broker in brokers {
                self.produce(broker, partitions, "synced", goal)?;
            }
            let goal = if partitions == 1 { "≥ 3" } else { "" };
            for broker in brokers {
                self.produce(broker, partitions, "page_cache", goal)?;
            }
        }
        for broker in brokers {
            self.consume(broker)?;
        }
        for broker in brokers {
            self.java(broker)?;
        }
        let rate = self.latency_rate();
        for broker in brokers {
            self.latency(broker, rate)?;
        }
        for broker in brokers {
            self.transactions(broker)?;
        }
        // Not before: Kafka frees the memory of a topic a minute after its end, we at once, and the
        // next one would write into what is warm.
        for (broker, topic) in std::mem::take(&mut self.made) {
            let broker = brokers.iter().find(|b| b.name == broker).ok_or("a topic of nobody")?;
            self.load(broker, &["delete"], &topic, &[])?;
        }
        Ok(())
    }

    fn produce(
        &mut self,
        broker: &Broker,
        partitions: u32,
        durability: &str,
        goal: &'static str,
    ) -> Result<()> {
        let topic = self.create(broker, partitions, durability)?;
        let records = self.records.to_string();
        let size = RECORD_BYTES.to_string();
        let cpu = cpu_seconds(broker.pid)?;
        let answer = self.load(broker, &["produce"], &topic, &[&records, &size])?;
        let cpu = cpu_seconds(broker.pid)? - cpu;
        let name = format!("produce, {partitions} partitions, {durability}: records/s");
        self.note(&name, goal, broker.name, field(&answer, "records_per_s")?);
        if durability == "synced" && partitions == 4 {
            let per_million = cpu * 1e6 / self.records as f64;
            let name = "broker's CPU seconds per million records";
            self.note(name, "≤ 0.2", broker.name, per_million);
            let memory = memory(broker.pid)? as f64 / 1e6;
            self.note("resident memory under load, MB", "≤ 100 MB", broker.name, memory);
        }
        Ok(())
    }

    fn consume(&mut self, broker: &Broker) -> Result<()> {
        let topic = self.create(broker, 4, "synced")?;
        let (records, size) = (self.records.to_string(), RECORD_BYTES.to_string());
        self.load(broker, &["produce"], &topic, &[&records, &size])?;
        // Everything to disk, and out of the page cache; without the right to do it both are warm.
        let _ = Command::new("sync").status();
        let cold = std::fs::write("/proc/sys/vm/drop_caches", "1").is_ok();
        for name in ["cold", "from cache"] {
            if name == "cold" && !cold {
                continue;
            }
            let answer = self.load(broker, &["consume"], &topic, &[&records])?;
            let name = format!("consume, {name}: MB/s");
            self.note(&name, "≥ 2", broker.name, field(&answer, "mb_per_s")?);
        }
        Ok(())
    }

    /// Kafka's own load generator, with its defaults.
    fn java(&mut self, broker: &Broker) -> Result<()> {
        let topic = self.create(broker, 1, "synced")?;
        let mut tool = Command::new(root().join("dev/services/kafka/kt"));
        tool.args(["ProducerPerformance", "--bootstrap-server", &broker.address])
            .args(["--topic", &topic, "--throughput", "-1"])
            .args(["--num-records", &self.records.to_string()])
            .args(["--record-size", &RECORD_BYTES.to_string()]);
        // The tools are run without the second compiler, which a load needs.
        tool.env("KT_OPTS", "-XX:TieredStopAtLevel=4 -Xmx512m");
        let text = run_command(&mut tool)?;
        let last = text.lines().rev().find(|l| l.contains("records/sec"));
        let rate = last.and_then(|l| l.split(", ").find(|part| part.contains("records/sec")));
        let rate = rate.and_then(|r| r.split_whitespace().next()?.parse().ok());
        let rate = rate.ok_or_else(|| format!("ProducerPerformance said: {text}"))?;
        self.note("produce, Java client, 1 partition, synced: records/s", "≥ 2", broker.name, rate);
        Ok(())
    }

    /// Half of what Kafka took at most.
    fn latency_rate(&self) -> u64 {
        let peak = |(name, _, values): &(String, &str, Values)| {
            let is_produce = name.starts_with("produce, 4 partitions, synced");
            values.get("kafka").filter(|_| is_produce).and_then(|v| v.last().copied())
        };
        let peak = self.figures.iter().filter_map(peak).fold(0.0, f64::max);
        (peak / 2.0) as u64
    }

    fn latency(&mut self, broker: &Broker, rate: u64) -> Result<()> {
        let topic = self.create(broker, 4, "synced")?;
        let (rate, seconds) = (rate.to_string(), LATENCY_SECONDS.to_string());
        let size = RECORD_BYTES.to_string();
        let answer = self.load(broker, &["latency"], &topic, &[&rate, &seconds, &size])?;
        for what in ["produce", "end_to_end"] {
            for percentile in ["p50", "p99", "p999"] {
                let value = field(&answer, &format!("{what}_{percentile}_ms"))?;
                let name = format!("half of Kafka's peak, {what}, {percentile}: ms");
                let goal = if percentile == "p99" { "≤ 0.5" } else { "" };
                self.note(&name, goal, broker.name, value);
            }
        }
        Ok(())
    }

    fn transactions(&mut self, broker: &Broker) -> Result<()> {
        let topic = self.create(broker, 4, "synced")?;
        let (seconds, size) = (TRANSACTION_SECONDS.to_string(), RECORD_BYTES.to_string());
        let answer = self.load(broker, &["transactions"], &topic, &[&seconds, "100", &size])?;
        let rate = field(&answer, "transactions_per_s")?;
        self.note("transactions of 100 records, per second", "≥ 1.5", broker.name, rate);
        Ok(())
    }

    /// A new topic; Kafka has no lake and one durability.
    fn create(&mut self, broker: &Broker, partitions: u32, durability: &str) -> Result<String> {
        self.topics += 1;
        let topic = format!("bench-{}", self.topics);
        let durability = format!("durability={durability}");
        let own = [durability.as_str(), "archive=false"];
        let configs: &[&str] = if broker.name == "watershed" { &own } else { &[] };
        let partitions = partitions.to_string();
        let more: Vec<&str> =
            [partitions.as_str()].into_iter().chain(configs.iter().copied()).collect();
        self.load(broker, &["create"], &topic, &more)?;
        // What the other one left to the page cache must not be written at this one's cost.
        let _ = Command::new("sync").status();
        self.made.push((broker.name, topic.clone()));
        Ok(topic)
    }

    fn load(&self, broker: &Broker, mode: &[&str], topic: &str, more: &[&str]) -> Result<Value> {
        let mut command = Command::new(&self.load);
        command.args(mode).args([&broker.address, topic]).args(more);
        let text =
            run_command(&mut command).map_err(|e| format!("{} {mode:?}: {e}", broker.name))?;
        serde_json::from_str(&text).map_err(|e| format!("{text}: {e}"))
    }

    fn note(&mut self, name: &str, goal: &'static str, broker: &'static str, value: f64) {
        let at = match self.figures.iter().position(|(n, ..)| n == name) {
            Some(at) => at,
            None => {
                self.figures.push((name.to_string(), goal, Values::new()));
                self.figures.len() - 1
            }
        };
        self.figures[at].2.entry(broker).or_default().push(value);
    }

    fn table(&self, rounds: u32) -> String {
        let mut out = String::from(
            "| figure | goal: ÷ Kafka | Watershed | Kafka 4 | ratio |\n| --- | --- | --- | --- | --- |\n",
        );
        for (name, goal, values) in &self.figures {
            let of = |broker| median(values.get(broker).cloned().unwrap_or_default());
            let (ours, theirs) = (of("watershed"), of("kafka"));
            let shown = |(mid, min, max): (f64, f64, f64)| match mid {
                mid if mid >= 10_000.0 => {
                    format!("{:.0} K ({:.0}–{:.0})", mid / 1e3, min / 1e3, max / 1e3)
                }
                mid if mid >= 100.0 => format!("{mid:.0} ({min:.0}–{max:.0})"),
                mid => format!("{mid:.2} ({min:.2}–{max:.2})"),
            };
            let ratio = ours.0 / theirs.0;
            out.push_str(&format!(
                "| {name} | {goal} | {} | {} | {ratio:.2} |\n",
                shown(ours),
                shown(theirs)
            ));
        }
        let records = self.records / 1_000;
        out.push_str(&format!(
            "\n{rounds} rounds, medians (smallest–largest); {records} K records of 1 KB each run. \
             Kafka acknowledges from the page cache in all of them. Machine: {}.\n",
            machine()
        ));
        out
    }
}

/// A real Kafka, stopped again.
struct Kafka {
    dir: PathBuf,
    address: String,
    pid: u32,
    started: f64,
}

impl Kafka {
    fn start(dir: &Path) -> Result<Kafka> {
        let (port, controller) = (free_port()?, free_port()?);
        let began = Instant::now();
        let mut up = Command::new(root().join("dev/services/kafka/up"));
        run_command(up.arg(dir).args([port.to_string(), controller.to_string()]))?;
        let started = began.elapsed().as_secs_f64();
        let pid = std::fs::read_to_string(dir.join("kafka.pid")).map_err(|e| e.to_string())?;
        let pid = pid.trim().parse().map_err(|e| format!("kafka.pid: {e}"))?;
        Ok(Kafka { dir: dir.to_path_buf(), address: format!("127.0.0.1:{port}"), pid, started })
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        let _ = Command::new(root().join("dev/services/down")).arg(&self.dir).status();
    }
}

fn run_command(command: &mut Command) -> Result<String> {
    let output = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    match output.status.success() {
        true => Ok(text),
        false => Err(format!("{text}{}", String::from_utf8_lossy(&output.stderr))),
    }
}

fn field(answer: &Value, name: &str) -> Result<f64> {
    answer.get(name).and_then(Value::as_f64).ok_or_else(|| format!("no {name} in {answer}"))
}

fn cpu_seconds(pid: u32) -> Result<f64> {
    crate::server::cpu_seconds_of(pid)
}

fn memory(pid: u32) -> Result<u64> {
    crate::server::memory_of(pid)
}
