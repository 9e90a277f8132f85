//! The `host` source: this machine's own sensors, one row per sensor and interval. It makes the
//! first charts move on any machine without an account or a download.
//! Sampling runs on the blocking pool, since a sick disk can hold up `statvfs` for long.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use async_trait::async_trait;
use common::{Clock, Error, Result};
use connector::{
    Context, Delivery, OptionKind, OptionSpec, Promise, Role, Rows, Source, SourceBatch, Spec,
    Values, columns_of,
};
use sysinfo::{Components, Disk, DiskRefreshKind, Disks, Networks, System};
use tokio::task::JoinHandle;
use tokio::time::{Interval, MissedTickBehavior};

const KINDS: [&str; 8] =
    ["cpu", "disk", "disk_io", "load", "memory", "network", "swap", "temperature"];

pub const SPEC: Spec = Spec {
    name: "host",
    role: Role::Source,
    doc: "Sensors of the machine it runs on: rows of host, sensor, kind, value, unit and at.",
    options: &[
        OptionSpec::with_default(
            "interval",
            OptionKind::Duration { min_us: 200_000 },
            "1 s",
            "Time between two readings of all sensors.",
        ),
        OptionSpec::with_default(
            "kinds",
            OptionKind::List,
            "cpu, disk, disk_io, load, memory, network, swap, temperature",
            "Which kinds of sensors to read.",
        ),
        OptionSpec::with_default(
            "loopback",
            OptionKind::Bool,
            "false",
            "Whether the loopback network interface counts too.",
        ),
    ],
    delivery: Promise {
        kept: &[Delivery::AtMostOnce],
        how: "a sensor is read once per interval; what it showed while nothing ran is not known",
        why_not: "a sensor can't be asked for what it showed before",
    },
};

/// Makes the source; fails when the topic has none of its columns.
pub fn make(values: &Values, ctx: Context) -> Result<Box<dyn Source>> {
    let kinds: BTreeSet<String> = values.list("kinds").into_iter().collect();
    for kind in &kinds {
        if !KINDS.contains(&kind.as_str()) {
            return Err(Error::unknown("kind", kind, KINDS).context("option 'kinds'"));
        }
    }
    Ok(Box::new(Host {
        interval: values.duration("interval")?,
        columns: columns_of(&ctx.schema, &schema())?,
        clock: ctx.clock,
        settings: Settings { kinds, loopback: values.bool("loopback")? },
        ticks: None,
        sampler: None,
        sampling: None,
    }))
}

/// The columns that the source offers; the topic may have any of them.
pub fn schema() -> SchemaRef {
    let text = |name| Field::new(name, DataType::Utf8, false);
    let at = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        text("host"),
        text("sensor"),
        text("kind"),
        Field::new("value", DataType::Float64, false),
        text("unit"),
        Field::new("at", at, false),
    ]))
}

#[derive(Clone)]
struct Settings {
    kinds: BTreeSet<String>,
    loopback: bool,
}

struct Host {
    interval: Duration,
    columns: Vec<usize>,
    clock: Arc<dyn Clock>,
    settings: Settings,
    ticks: Option<Interval>,
    sampler: Option<Sampler>,
    /// A reading under way outlives a dropped `next`.
    sampling: Option<JoinHandle<(Sampler, Vec<Reading>)>>,
}

#[async_trait]
impl Source for Host {
    async fn open(&mut self, _position: Option<&str>) -> Result<()> {
        let settings = self.settings.clone();
        let made = tokio::task::spawn_blocking(move || Sampler::new(settings)).await;
        self.sampler = Some(made.map_err(stopped)??);
        self.sampling = None;
        // Rates need two readings: the first picture comes as soon as there is one.
        let first = self.interval.min(sysinfo::MINIMUM_CPU_UPDATE_INTERVAL.mul_f64(1.25));
        let mut ticks =
            tokio::time::interval_at(tokio::time::Instant::now() + first, self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        self.ticks = Some(ticks);
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<SourceBatch>> {
        let closed = || Error::internal("the source 'host' is not open");
        let sampling = match &mut self.sampling {
            Some(sampling) => sampling,
            none => {
                self.ticks.as_mut().ok_or_else(closed)?.tick().await;
                let mut sampler = self.sampler.take().ok_or_else(closed)?;
                none.insert(tokio::task::spawn_blocking(move || {
                    let readings = sampler.read();
                    (sampler, readings)
                }))
            }
        };
        let result = sampling.await;
        self.sampling = None;
        let (sampler, readings) = result.map_err(stopped)?;
        self.sampler = Some(sampler);
        let rows = to_batch(&host_name(), &readings, self.clock.now_us())?;
        let rows = rows
            .project(&self.columns)
            .map_err(|e| Error::internal(format!("choosing columns: {e}")))?;
        Ok(Some(SourceBatch { rows: Rows::Arrow(rows), position: None }))
    }
}

fn stopped(e: tokio::task::JoinError) -> Error {
    Error::unavailable("reading the sensors was interrupted").caused_by(e)
}

fn refused(e: sysinfo::Error) -> Error {
    Error::unsupported(format!("this machine's sensors can't be read: {e:?}"))
}

fn host_name() -> String {
    System::host_name().unwrap_or_else(|_| "localhost".into())
}

struct Reading {
    sensor: String,
    kind: &'static str,
    value: f64,
    unit: &'static str,
}

fn to_batch(host: &str, readings: &[Reading], at_us: i64) -> Result<RecordBatch> {
    let n = readings.len();
    let text = |of: fn(&Reading) -> &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(readings.iter().map(of)))
    };
    let at = TimestampMicrosecondArray::from_value(at_us, n).with_timezone("UTC");
    let columns = vec![
        Arc::new(StringArray::from_iter_values(std::iter::repeat_n(host, n))) as ArrayRef,
        text(|r| &r.sensor),
        text(|r| r.kind),
        Arc::new(Float64Array::from_iter_values(readings.iter().map(|r| r.value))),
        text(|r| r.unit),
        Arc::new(at),
    ];
    RecordBatch::try_new(schema(), columns)
        .map_err(|e| Error::internal(format!("building sensor rows: {e}")))
}

/// Keeps what `sysinfo` needs between two readings; no process list.
struct Sampler {
    settings: Settings,
    system: System,
    disks: Disks,
    networks: Networks,
    temperatures: Components,
    last: Instant,
}

impl Sampler {
    fn new(settings: Settings) -> Result<Sampler> {
        let mut sampler = Sampler {
            settings,
            system: System::new().map_err(refused)?,
            disks: Disks::new().map_err(refused)?,
            networks: Networks::new().map_err(refused)?,
            temperatures: Components::new().map_err(refused)?,
            last: Instant::now(),
        };
        sampler.read();
        Ok(sampler)
    }

    fn read(&mut self) -> Vec<Reading> {
        let seconds = self.last.elapsed().as_secs_f64().max(1e-3);
        self.last = Instant::now();
        let mut readings = Readings(vec![]);
        if self.wants("cpu") {
            self.system.refresh_cpu_usage();
            readings.percent("cpu.total", "cpu", f64::from(self.system.global_cpu_usage()));
            for (i, cpu) in self.system.cpus().iter().enumerate() {
                readings.percent(&format!("cpu.{i}"), "cpu", f64::from(cpu.usage()));
            }
        }
        if self.wants("load")
            && let Ok(load) = System::load_average()
        {
            for (minutes, value) in [(1, load.one), (5, load.five), (15, load.fifteen)] {
                readings.add(format!("load.{minutes}"), "load", value, "tasks");
            }
        }
        self.read_memory(&mut readings);
        self.read_disks(&mut readings, seconds);
        self.read_network(&mut readings, seconds);
        if self.wants("temperature") {
            self.temperatures.refresh(true);
            for component in self.temperatures.iter() {
                let name = format!("temperature.{}", component.label().trim());
                if let Some(celsius) = component.temperature() {
                    readings.add(name, "temperature", f64::from(celsius), "°C");
                }
            }
        }
        readings.distinct()
    }

    fn wants(&self, kind: &str) -> bool {
        self.settings.kinds.contains(kind)
    }

    fn read_memory(&mut self, readings: &mut Readings) {
        if !self.wants("memory") && !self.wants("swap") {
            return;
        }
        self.system.refresh_memory();
        let s = &self.system;
        for (kind, used, total) in
            [("memory", s.used_memory(), s.total_memory()), ("swap", s.used_swap(), s.total_swap())]
        {
            if self.wants(kind) && total > 0 {
                readings.percent(&format!("{kind}.used"), kind, share(used, total));
                readings.add(format!("{kind}.used_bytes"), kind, used as f64, "B");
            }
        }
    }

    fn read_network(&mut self, readings: &mut Readings, seconds: f64) {
        if !self.wants("network") {
            return;
        }
        self.networks.refresh(true);
        // Interfaces come in any order; charts like their series to keep theirs.
        let by_name: BTreeMap<_, _> = self.networks.iter().collect();
        for (name, data) in by_name {
            let name = name.to_string_lossy();
            let loopback = ["lo", "lo0"].contains(&name.as_ref());
            // Systems have many interfaces that never carry a byte.
            let unused = data.total_received() == 0 && data.total_transmitted() == 0;
            if unused || (loopback && !self.settings.loopback) {
                continue;
            }
            for (way, bytes) in [("rx", data.received()), ("tx", data.transmitted())] {
                let rate = bytes as f64 / seconds;
                readings.add(format!("net.{name}.{way}"), "network", rate, "B/s");
            }
        }
    }

    fn read_disks(&mut self, readings: &mut Readings, seconds: f64) {
        let (space, traffic) = (self.wants("disk"), self.wants("disk_io"));
        if !space && !traffic {
            return;
        }
        self.disks
            .refresh_specifics(true, DiskRefreshKind::nothing().with_storage().with_io_usage());
        // A device mounted at many places (containers do that) is one disk: its shortest path.
        let mut by_device: BTreeMap<String, &Disk> = BTreeMap::new();
        for disk in self.disks.iter().filter(|d| is_real(d)) {
            let device = disk.name().to_string_lossy().into_owned();
            let kept = by_device.entry(device).or_insert(disk);
            if disk.mount_point().as_os_str().len() < kept.mount_point().as_os_str().len() {
                *kept = disk;
            }
        }
        for (device, disk) in by_device {
            let total = disk.total_space();
            let used = total.saturating_sub(disk.available_space());
            if space {
                let at = disk.mount_point().to_string_lossy();
                readings.percent(&format!("disk.{at}.used"), "disk", share(used, total));
            }
            if traffic && device.starts_with('/') {
                let name = device.rsplit('/').next().unwrap_or(&device).to_string();
                let usage = disk.usage();
                for (way, bytes) in [("read", usage.read_bytes), ("write", usage.written_bytes)] {
                    let rate = bytes as f64 / seconds;
                    readings.add(format!("disk.{name}.{way}"), "disk_io", rate, "B/s");
                }
            }
        }
    }
}

struct Readings(Vec<Reading>);

impl Readings {
    fn add(&mut self, sensor: String, kind: &'static str, value: f64, unit: &'static str) {
        if value.is_finite() {
            self.0.push(Reading { sensor, kind, value, unit });
        }
    }

    fn percent(&mut self, sensor: &str, kind: &'static str, value: f64) {
        self.add(sensor.to_string(), kind, value.clamp(0.0, 100.0), "%");
    }

    /// Two chips may carry one label: the further ones are numbered, so that no sensor's average
    /// mixes two.
    fn distinct(mut self) -> Vec<Reading> {
        let mut seen: BTreeMap<String, u32> = BTreeMap::new();
        for reading in &mut self.0 {
            let count = seen.entry(reading.sensor.clone()).or_default();
            *count += 1;
            if *count > 1 {
                reading.sensor = format!("{} {count}", reading.sensor);
            }
        }
        self.0
    }
}

fn share(part: u64, whole: u64) -> f64 {
    100.0 * part as f64 / whole.max(1) as f64
}

/// A disk that fills up: not a read-only image, not one of the kernel's own file systems.
fn is_real(disk: &Disk) -> bool {
    const OWN: [&str; 12] = [
        "autofs",
        "binfmt_misc",
        "bpf",
        "configfs",
        "debugfs",
        "efivarfs",
        "fusectl",
        "nsfs",
        "ramfs",
        "securityfs",
        "tmpfs",
        "tracefs",
    ];
    let kind = disk.file_system().to_string_lossy();
    disk.total_space() >= 16 << 20 && !disk.is_read_only() && !OWN.contains(&kind.as_ref())
}

#[cfg(test)]
#[path = "host_tests.rs"]
mod tests;
