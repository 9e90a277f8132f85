//! What the engine does with a kind of object. Each kind is a file of its own beside this one;
//! `kinds.rs` lists them, and all that concerns every object walks that list: definitions, SHOW,
//! DROP, DESCRIBE, `/api/objects`, `/api/status`, `/metrics`.

use std::sync::Arc;

use arrow::array::ArrayRef;
use catalog::{Definition, Topic};
use common::Result;
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::define::decide::{Change, Part};
use crate::define::facts::Family;
use crate::define::infos::Status;
use crate::define::planning::Planning;
use crate::define::prepared::Prepared;
use crate::define::registry::{Entry, Registry};
use crate::inner::Inner;

/// Which columns a topic has together with those of its events.
pub type AsStored<'a> = &'a (dyn Fn(&Topic) -> Result<Topic> + Send + Sync);

/// All faults of a definition, or what is ready to be compared with what runs.
pub type Plan = Result<Box<dyn Planned>, Vec<common::Error>>;

/// A kind of object, as the engine knows it.
pub trait Kind: Send + Sync {
    fn words(&self) -> &'static catalog::Kind;

    /// Plans a definition of this kind against those before it. Needs no data.
    fn plan<'a>(
        &'a self,
        planning: &'a mut Planning,
        definition: Definition,
        as_stored: AsStored<'a>,
    ) -> BoxFuture<'a, Plan>;

    /// All objects of this kind, as REST shows them.
    fn list(&self, inner: &Arc<Inner>) -> Vec<serde_json::Value>;

    /// Columns of SHOW, with a value for each object.
    fn shown(&self, inner: &Arc<Inner>) -> Vec<(&'static str, ArrayRef)>;

    /// What `/metrics` has of these objects.
    fn figures(&self, inner: &Arc<Inner>) -> Vec<Family>;

    /// Sets what `/api/status` says of these objects.
    fn status(&self, _inner: &Arc<Inner>, _to: &mut Status) {}

    /// What they have counted since the start, by the names that `Inner::rate` is asked with.
    fn counters(&self, _registry: &Registry) -> Vec<(String, u64)> {
        vec![]
    }

    /// What was prepared has taken its place, and its predecessor has stopped.
    fn start(&self, _inner: &Inner, _entry: &mut Entry) {}

    /// Another took its place: gives it back to be ended, unless it still has something to do.
    fn replaced(&self, _registry: &mut Registry, old: Entry) -> Option<Entry> {
        Some(old)
    }

    /// What it holds stays when nothing defines it any more, until `DROP`.
    fn outlives_its_definition(&self) -> bool {
        false
    }

    /// Removes what an object of this name has left.
    fn remove<'a>(&self, _inner: &'a Arc<Inner>, _name: &'a str) -> BoxFuture<'a, Result<()>> {
        std::future::ready(Ok(())).boxed()
    }
}

/// A definition that can run.
pub trait Planned: Send {
    fn definition(&self) -> &Definition;

    /// What decides whether it is the same as what runs.
    fn part(&self, inner: &Inner) -> Result<Part>;

    /// Makes everything ready that can fail, beside what runs.
    fn prepare<'a>(
        self: Box<Self>,
        inner: &'a Arc<Inner>,
        change: Change,
        to: &'a mut Prepared,
    ) -> BoxFuture<'a, Result<()>>;
}
