//! The real binary as a child process: started on a free port, waited for, killed.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Result;
use crate::http::Client;

pub struct Server {
    child: Child,
    pub port: u16,
    /// From the start to the first good answer of `/ready`.
    pub ready_after: Duration,
}

/// A port nobody listens on now.
pub fn free_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|e| e.to_string())?;
    listener.local_addr().map(|a| a.port()).map_err(|e| e.to_string())
}

impl Server {
    /// Starts `watershed serve` on a project and waits until it is ready.
    pub fn start(binary: &Path, project: &Path, port: u16, log: &Path) -> Result<Server> {
        Server::start_with_kafka(binary, project, port, 0, log)
    }

    /// With a Kafka port, too.
    pub fn start_with_kafka(
        binary: &Path,
        project: &Path,
        port: u16,
        kafka_port: u16,
        log: &Path,
    ) -> Result<Server> {
        let open = std::fs::OpenOptions::new().create(true).append(true).open(log);
        let log_file = open.map_err(|e| format!("{}: {e}", log.display()))?;
        let began = Instant::now();
        let child = Command::new(binary)
            .arg("serve")
            .arg(project)
            .args(["--http-port", &port.to_string(), "--pg-port", "0"])
            .args(["--kafka-port", &kafka_port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log_file)
            .spawn()
            .map_err(|e| format!("{}: {e}", binary.display()))?;
        let mut server = Server { child, port, ready_after: Duration::ZERO };
        let mut client = Client::new(port);
        loop {
            if let Ok((200, _)) = client.request("GET", "/ready", "text/plain", b"") {
                server.ready_after = began.elapsed();
                return Ok(server);
            }
            if let Ok(Some(status)) = server.child.try_wait() {
                return Err(format!("the server ended with {status}; see {}", log.display()));
            }
            if began.elapsed() > Duration::from_secs(90) {
                return Err(format!("the server was not ready in 90 s; see {}", log.display()));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// SIGKILL.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill().map_err(|e| e.to_string())?;
        self.child.wait().map(|_| ()).map_err(|e| e.to_string())
    }

    /// SIGTERM, and wait for a clean end.
    pub fn stop(mut self) -> Result<()> {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status();
        sent.map_err(|e| format!("kill: {e}"))?;
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(30) {
            if let Ok(Some(status)) = self.child.try_wait() {
                return match status.success() {
                    true => Ok(()),
                    false => Err(format!("the server ended with {status} after SIGTERM")),
                };
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err("the server did not end within 30 s of SIGTERM".into())
    }

    /// Resident memory, bytes.
    pub fn memory(&self) -> Result<u64> {
        memory_of(self.child.id())
    }

    /// CPU seconds used so far, of all threads.
    pub fn cpu_seconds(&self) -> Result<f64> {
        cpu_seconds_of(self.child.id())
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

/// Resident memory of a process, bytes.
pub fn memory_of(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let text = std::fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))?;
    let line = text.lines().find(|l| l.starts_with("VmRSS:")).ok_or("no VmRSS")?;
    let kib = line.split_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok());
    kib.map(|n| n * 1024).ok_or_else(|| "VmRSS is no number".into())
}

/// CPU seconds a process used so far, with all its threads.
pub fn cpu_seconds_of(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let text = std::fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))?;
    let after = text.rsplit(')').next().unwrap_or_default();
    let fields: Vec<&str> = after.split_whitespace().collect();
    let ticks = |i: usize| fields.get(i).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
    Ok((ticks(11) + ticks(12)) / 100.0)
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A folder in the temporary folder, removed again.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Result<Scratch> {
        let path = std::env::temp_dir().join(format!("watershed-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(Scratch(path))
    }

    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.0.join(name);
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir).map_err(|e| e.to_string())?;
        }
        std::fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
