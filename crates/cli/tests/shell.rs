//! The interactive shell, driven through a pseudo terminal as a person drives it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::FromRawFd;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::Instant;

use crate::support::{PATIENCE, READINGS, Server};

const UP: &str = "\x1b[A";
const CTRL_C: &str = "\x03";
const CTRL_D: &str = "\x04";

/// A shell on a terminal of its own.
struct Shell {
    child: Child,
    keys: File,
    output: mpsc::Receiver<String>,
    /// What was shown and not yet asked for.
    screen: String,
}

impl Shell {
    fn start(server: &Server) -> Shell {
        let (keys, terminal) = pseudo_terminal();
        let end = || Stdio::from(terminal.try_clone().unwrap());
        let child = server
            .project
            .command(&["sql"])
            .env("WATERSHED_URL", server.url())
            .env("TERM", "xterm")
            .env("NO_COLOR", "1")
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap();
        let mut reader = keys.try_clone().unwrap();
        let (sender, output) = mpsc::channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // The end of the shell ends the terminal: reading fails then.
            while let Ok(n @ 1..) = reader.read(&mut bytes) {
                if sender.send(String::from_utf8_lossy(&bytes[..n]).into_owned()).is_err() {
                    return;
                }
            }
        });
        let mut shell = Shell { child, keys, output, screen: String::new() };
        shell.shows("watershed> ");
        shell
    }

    fn types(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until the text is shown; gives what stood before it.
    fn shows(&mut self, text: &str) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.screen.find(text) {
                let rest = self.screen.split_off(at + text.len());
                return std::mem::replace(&mut self.screen, rest);
            }
            let left = until.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(more) => self.screen.push_str(&more),
                Err(e) => panic!("no '{text}' ({e}) on the screen:\n{}", self.screen),
            }
        }
    }

    /// Runs what was typed and waits for the answer and the next prompt.
    fn answers(&mut self, keys: &str, answer: &str) {
        self.types(keys);
        self.shows(answer);
        self.shows("watershed> ");
    }

    fn exit_code(mut self) -> Option<i32> {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < until, "the shell does not end:\n{}", self.screen);
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}

/// Both ends: what a person types at and looks at, and what the program has as its terminal.
#[allow(unsafe_code)] // no safe way to open one without another crate
fn pseudo_terminal() -> (File, File) {
    let (mut keys, mut terminal) = (-1, -1);
    let none = std::ptr::null_mut();
    // SAFETY: both places are ours to write to; name, settings and size may be left out.
    let opened =
        unsafe { libc::openpty(&mut keys, &mut terminal, none, none.cast(), std::ptr::null_mut()) };
    assert_eq!(opened, 0, "{}", std::io::Error::last_os_error());
    // SAFETY: they were opened just now, and nobody else has them.
    unsafe { (File::from_raw_fd(keys), File::from_raw_fd(terminal)) }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_person_at_the_shell() {
    let server = crate::support::Project::new(READINGS).serve(&[]);
    let mut shell = Shell::start(&server);
    // A statement goes on until its semicolon.
    shell.answers("SELECT\r1 AS one\r;\r", "(1 row)");
    // The place of an error is underlined, and the shell goes on.
    shell.types("SELECT sensr FROM readings;\r");
    shell.shows("unknown column 'sensr'");
    shell.shows("^^^^^");
    shell.shows("did you mean 'sensor'?");
    shell.shows("watershed> ");
    // Tab completes names and keywords; commands of the shell need no semicolon.
    shell.answers("sel\t count(*) AS n from read\t;\r", "(1 row)");
    shell.answers("\\d readings\r", "celsius");
    shell.answers("\\x\r", "unknown command");
    // What is made in the shell is completed from then on.
    shell.answers("CREATE TOPIC barometers (hpa DOUBLE);\r", "created topic 'barometers'");
    shell.answers("SELECT 'seen ' || count(hpa) AS t FROM barom\t;\r", "seen 0");
    // Ctrl-C forgets what was typed.
    shell.types("SELECT no_such_thing");
    shell.shows("no_such_thing");
    shell.types(CTRL_C);
    shell.shows("watershed> ");
    shell.answers("SELECT 'kept ' || 'going' AS t;\r", "kept going");
    // Arrow up brings back what ran.
    shell.answers(&format!("{UP}\r"), "kept going");
    shell.types("\\q\r");
    assert_eq!(shell.exit_code(), Some(0));

    // A later shell knows it, too.
    let mut shell = Shell::start(&server);
    shell.answers(&format!("{UP}{UP}\r"), "kept going");
    shell.types(CTRL_D);
    assert_eq!(shell.exit_code(), Some(0));
}
