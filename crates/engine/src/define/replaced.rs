//! A view that is made anew, with another definition or by `rebuild`, has all of history to read
//! first. Until it has caught up, its predecessor goes on and serves; it is removed afterwards.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::define::registry::{Entry, Registry};
use crate::define::retired::remove_retired;
use crate::define::view::RunningView;
use crate::flows::pipeline::Pipeline;
use crate::inner::Inner;
use crate::stores::blocking::blocking;

/// A new definition with little history takes effect when it has caught up, not before.
const SHORT: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(20);

/// Gives pipelines a moment to catch up.
pub(crate) async fn wait_shortly(pipelines: &[Arc<Pipeline>]) {
    let until = Instant::now() + SHORT;
    while !pipelines.iter().all(|p| is_done(p)) && Instant::now() < until {
        tokio::time::sleep(LOOK).await;
    }
}

/// Until nobody serves in the place of another.
pub(crate) async fn end_replaced(inner: Arc<Inner>) {
    loop {
        let done = inner.registry_mut().take_done();
        let retired = inner.clone();
        let is_over = inner.registry().serving.is_empty();
        if !done.is_empty() {
            let removed = blocking(move || {
                drop(done);
                remove_retired(&retired)
            });
            if let Err(e) = removed.await {
                tracing::warn!("state of views that were replaced is still on disk: {e}");
            }
        }
        if is_over || inner.check_open().is_err() {
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Whether readers can be given what it has: its rows, or why there are none.
fn is_done(pipeline: &Pipeline) -> bool {
    let status = pipeline.status();
    status.caught_up || status.stopped().is_some()
}

impl Registry {
    /// What readers of a view get.
    pub fn readable(&self, view: &str) -> Option<&RunningView> {
        let new = self.get(view)?;
        Some(self.previous(view).unwrap_or(new))
    }

    /// The predecessor of a view that has not caught up.
    pub fn previous(&self, view: &str) -> Option<&RunningView> {
        let serves = self.serving.get(view)?.of();
        serves.filter(|_| !self.is_done(view))
    }

    fn is_done(&self, view: &str) -> bool {
        self.get::<RunningView>(view).is_none_or(|view| is_done(&view.pipeline))
    }

    /// The old of two serves on if the new one is not ready; else it is given back.
    pub fn serve_on(&mut self, old: Entry) -> Option<Entry> {
        let Some(view) = old.of::<RunningView>() else { return Some(old) };
        let can_serve = view.pipeline.status().stopped().is_none() && is_done(&view.pipeline);
        let name = old.name().to_string();
        // One that came after it and never caught up has nothing to show.
        if can_serve && !self.is_done(&name) && !self.serving.contains_key(&name) {
            self.serving.insert(name, old);
            return None;
        }
        Some(old)
    }

    fn take_done(&mut self) -> Vec<Entry> {
        let over: Vec<String> =
            self.serving.keys().filter(|name| self.is_done(name)).cloned().collect();
        over.iter().filter_map(|name| self.serving.remove(name)).collect()
    }
}
