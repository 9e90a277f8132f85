//! The only place that writes to the terminal. A reader that went away (`watershed sql … | head`)
//! ends the program quietly.

use std::io::{ErrorKind, IsTerminal, Write};

/// A line, or several, to stdout.
pub fn say(text: &str) {
    bytes(format!("{text}\n").as_bytes());
}

/// Bytes to stdout, as they are.
pub fn bytes(bytes: &[u8]) {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(bytes).and_then(|()| out.flush());
    if let Err(e) = written
        && e.kind() == ErrorKind::BrokenPipe
    {
        std::process::exit(0);
    }
}

/// A line, or several, to stderr.
pub fn complain(text: &str) {
    // Nobody is left to tell when this fails.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Colours on stderr: only for people, and not when they asked for none.
pub fn colours() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

/// Whether a person sits at stdin and stdout.
pub fn interactive() -> bool {
    std::io::stdin().is_terminal() && std::io::stdout().is_terminal()
}
