//! An object in use, as far as every kind has it.

use std::any::Any;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;

use crate::define::facts::Described;
use crate::flows::pipeline::Pipeline;

/// An object in use.
pub trait Running: Any + Send + Sync {
    /// Takes in nothing more and sends nothing more from here on; its pipeline goes on.
    fn stop(&mut self) -> BoxFuture<'_, ()> {
        std::future::ready(()).boxed()
    }

    fn pipeline(&self) -> Option<&Arc<Pipeline>> {
        None
    }

    /// As DESCRIBE shows it; nothing when it can't be selected from.
    fn columns(&self) -> Vec<Described> {
        vec![]
    }
}
