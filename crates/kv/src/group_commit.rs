//! Group commit: batches that come while one is synced are written and synced together by the next,
//! so twenty pipelines share one sync. What a batch is promised stays: all of it or nothing, and
//! durable when it returns. When a group can't be written, each of it is tried by itself, so that
//! each has its own answer.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use common::{Error, Kind, Result};

use crate::Kv;
use crate::batch::Change;

/// Bytes of a group, unless its first batch alone has more.
const GROUP_BYTES_MAX: u64 = 16 << 20;

#[derive(Default)]
pub(crate) struct GroupCommit {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Vec<Arc<Waiting>>,
    is_writing: bool,
    /// Groups written since the opening, and the batches in them.
    written: (u64, u64),
}

struct Waiting {
    changes: Arc<Vec<Change>>,
    bytes: u64,
    outcome: Mutex<Option<Result<()>>>,
}

impl Waiting {
    fn settle(&self, outcome: Result<()>) {
        *self.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
    }

    fn outcome(&self) -> Option<Result<()>> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl GroupCommit {
    /// Returns when the changes are durable. Whoever comes first writes for all that wait.
    pub fn commit(&self, kv: &Kv, changes: Arc<Vec<Change>>, bytes: u64) -> Result<()> {
        let own = Arc::new(Waiting { changes, bytes, outcome: Mutex::default() });
        let mut state = self.lock();
        state.waiting.push(own.clone());
        loop {
            if let Some(outcome) = own.outcome() {
                return outcome;
            }
            if state.is_writing {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            state.is_writing = true;
            let group = next_group(&mut state.waiting);
            state.written.0 += 1;
            state.written.1 += group.len() as u64;
            drop(state);
            let writing = Writing { queue: self, group };
            write(kv, &writing.group);
            drop(writing);
            state = self.lock();
        }
    }

    /// Groups written since the opening, and the batches in them.
    #[cfg(test)]
    pub fn written(&self) -> (u64, u64) {
        self.lock().written
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The oldest ones, in order.
fn next_group(waiting: &mut Vec<Arc<Waiting>>) -> Vec<Arc<Waiting>> {
    let mut bytes = 0;
    let fits = |w: &Arc<Waiting>| {
        bytes += w.bytes;
        bytes <= GROUP_BYTES_MAX
    };
    let n = waiting.iter().map(fits).take_while(|fits| *fits).count().max(1);
    waiting.drain(..n.min(waiting.len())).collect()
}

fn write(kv: &Kv, group: &[Arc<Waiting>]) {
    let one = |w: &Waiting| kv.write(&[&w.changes], w.bytes);
    if let [alone] = group {
        return alone.settle(one(alone));
    }
    let changes: Vec<&[Change]> = group.iter().map(|w| w.changes.as_slice()).collect();
    match kv.write(&changes, group.iter().map(|w| w.bytes).sum()) {
        Ok(()) => group.iter().for_each(|w| w.settle(Ok(()))),
        // Nothing was written; less may fit.
        Err(e) if e.kind() == Kind::Exhausted => group.iter().for_each(|w| w.settle(one(w))),
        // In doubt. Changes are absolute: what is there already is there once. That nothing of a
        // batch was written can't be said any more.
        Err(_) => group.iter().for_each(|w| {
            w.settle(one(w).map_err(|e| match e.kind() {
                Kind::Exhausted => Error::new(Kind::Io, e.to_string()).caused_by(e),
                _ => e,
            }));
        }),
    }
}

/// Lets the next one write, also when this one panics.
struct Writing<'a> {
    queue: &'a GroupCommit,
    group: Vec<Arc<Waiting>>,
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let lost = || Err(Error::internal("the thread that wrote for others has ended"));
            self.group.iter().for_each(|w| w.settle(lost()));
        }
        self.queue.lock().is_writing = false;
        self.queue.changed.notify_all();
    }
}
