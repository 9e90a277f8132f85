//! Whether the platform can be used, and what is wrong with it.

use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use common::{Error, ProblemDetails, Result};

use crate::define::view::RunningView;
use crate::inner::Inner;

/// Why requests would fail now, if they would: the platform is stopping, nobody has looked at
/// the definitions yet, or (after the start) a view has not yet taken in what was there. A view
/// that has stopped says so to its own readers.
pub fn ready(inner: &Arc<Inner>) -> Result<()> {
    inner.check_open()?;
    if !inner.applied.load(Ordering::Relaxed) {
        return Err(Error::unavailable("the project's definitions do not run yet"));
    }
    let was_caught_up = inner.caught_up.load(Ordering::Relaxed);
    for (name, view) in inner.registry().all::<RunningView>() {
        // Views made later do not take the platform out of service, nor does one that fails.
        let status = view.pipeline.status();
        if was_caught_up || status.stopped().is_some() {
            continue;
        }
        if status.state == "starting" {
            return Err(Error::unavailable(format!("view '{name}' is starting"))
                .hint("its state is being read; it takes new events after that"));
        }
        if !status.caught_up {
            let lag = status.lag_events;
            let e = format!("view '{name}' is catching up, {lag} events to go");
            return Err(Error::unavailable(e));
        }
    }
    inner.caught_up.store(true, Ordering::Relaxed);
    Ok(())
}

/// Faults of the project's files; the last good version goes on running beside them.
pub fn set_problems(inner: &Arc<Inner>, problems: &[Error]) {
    let mut now = inner.problems.write().unwrap_or_else(PoisonError::into_inner);
    *now = problems.iter().map(Error::details).collect();
    inner.applied.store(true, Ordering::Relaxed);
}

pub fn problems(inner: &Arc<Inner>) -> Vec<ProblemDetails> {
    let mut problems = inner.problems.read().unwrap_or_else(PoisonError::into_inner).clone();
    problems.extend(inner.log.damage().iter().map(Error::details));
    problems.extend(inner.archive.trouble());
    let external = inner.external.iter().flat_map(|kafka| kafka.troubles());
    problems.extend(external.map(|(topic, why)| match topic.is_empty() {
        true => Error::unavailable(why).details(),
        false => Error::corrupt(format!("topic '{topic}': {why}")).details(),
    }));
    problems
}
