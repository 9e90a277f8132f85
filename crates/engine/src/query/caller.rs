//! A platform and who asks it: what statements are run with, as each is checked for what it does.

use std::sync::Arc;

use common::Result;

use crate::access::principal::{self, Action, Principal};
use crate::inner::Inner;

#[derive(Clone)]
pub struct Caller {
    pub inner: Arc<Inner>,
    pub principal: Principal,
}

impl Caller {
    /// Refuses what the caller may not do.
    pub fn may(&self, action: Action, object: Option<&str>) -> Result<()> {
        principal::check(&self.principal, action, object)
    }
}
