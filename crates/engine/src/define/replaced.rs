//! A view that is made anew, with another definition or by `rebuild`, has all of history to read
//! first. Until it has caught up, its predecessor goes on and serves; it is removed afterwards.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::define::registry::{Registry, ViewEntry};
use crate::define::retired::remove_retired;
use crate::flows::pipeline::Pipeline;
use crate::inner::Inner;
use crate::stores::blocking::blocking;

/// A new definition with little history takes effect when it has caught up, not before.
const SHORT: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(20);

/// Gives pipelines a moment to catch up.
pub(crate) async fn wait_shortly(pipelines: &[&Pipeline]) {
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
    pub fn readable(&self, view: &str) -> Option<&ViewEntry> {
        let new = self.views.get(view)?;
        self.previous(view).or(Some(new))
    }

    /// The predecessor of a view that has not caught up.
    pub fn previous(&self, view: &str) -> Option<&ViewEntry> {
        let is_done = self.views.get(view).is_none_or(|new| is_done(&new.pipeline));
        self.serving.get(view).filter(|_| !is_done)
    }

    /// Takes the new views in; those that neither run nor serve any more are given back.
    pub fn replace_views(
        &mut self,
        new: BTreeMap<String, ViewEntry>,
        gone: &dyn Fn(&str) -> bool,
    ) -> Vec<ViewEntry> {
        let replaced = |name: &String| gone(name) || new.contains_key(name);
        let old: Vec<_> = self.views.extract_if(.., |name, _| replaced(name)).collect();
        self.views.extend(new);
        let dropped = self.serving.extract_if(.., |name, _| gone(name));
        let mut ended: Vec<ViewEntry> = dropped.map(|(_, view)| view).collect();
        ended.extend(old.into_iter().filter_map(|(name, view)| self.serve_on(name, view)));
        ended
    }

    /// The old of two serves on if the new one is not ready; else it is given back.
    fn serve_on(&mut self, name: String, old: ViewEntry) -> Option<ViewEntry> {
        let can_serve = old.pipeline.status().stopped().is_none();
        let is_needed = self.views.get(&name).is_some_and(|new| !is_done(&new.pipeline));
        // One that came after it and never caught up has nothing to show.
        if can_serve && is_needed && !self.serving.contains_key(&name) && is_done(&old.pipeline) {
            self.serving.insert(name, old);
            return None;
        }
        Some(old)
    }

    fn take_done(&mut self) -> Vec<ViewEntry> {
        let Registry { views, serving, .. } = self;
        let is_over = |name: &str| views.get(name).is_none_or(|new| is_done(&new.pipeline));
        serving.extract_if(.., |name, _| is_over(name)).map(|(_, old)| old).collect()
    }
}
