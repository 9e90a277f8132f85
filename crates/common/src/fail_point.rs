//! Named places at which a test can end the process, between two steps that a crash must not
//! tear apart. `WATERSHED_FAIL_POINT=once.appended:3` ends it at the third time; release builds
//! have no such places. The simulated twins of the doors stand in `testkit`; this is for what
//! several stores do together.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The variable that names the place.
pub const VARIABLE: &str = "WATERSHED_FAIL_POINT";

struct Armed {
    name: String,
    left: AtomicU64,
}

/// Ends the process here, as `kill -9` would, when a test asked for it.
pub fn fail_point(name: &str) {
    if !cfg!(debug_assertions) {
        return;
    }
    static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
    let armed = ARMED.get_or_init(|| parse(&std::env::var(VARIABLE).ok()?));
    if let Some(armed) = armed
        && armed.name == name
        && armed.left.fetch_sub(1, Ordering::SeqCst) == 1
    {
        std::process::abort();
    }
}

fn parse(text: &str) -> Option<Armed> {
    let (name, times) = text.split_once(':').unwrap_or((text, "1"));
    Some(Armed { name: name.into(), left: AtomicU64::new(times.parse().ok()?) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_place_may_be_counted() {
        let armed = |text: &str| {
            let armed = parse(text).unwrap();
            (armed.name, armed.left.into_inner())
        };
        assert_eq!(armed("a.b"), ("a.b".into(), 1));
        assert_eq!(armed("a.b:3"), ("a.b".into(), 3));
        assert!(parse("a.b:x").is_none());
        // Nobody asked for this one.
        fail_point("nowhere");
    }
}
