//! What each operator is told: a file for each, with all that decides whether saved state is its
//! own (`digest`). The operators themselves are `stream/src/<operator>.rs`, their planning is
//! `sql/stream_plan/<operator>.rs`.

mod aggregate;
mod calc;
mod expand;
mod join;
mod key;
mod on_close;
mod over;
mod source;
mod top_n;
mod union;
mod unnest;
mod values;

use std::sync::Arc;

use datafusion_physical_expr::PhysicalExpr;

pub use aggregate::{Aggregate, Arg, Call};
pub use calc::{Calc, Step};
pub use expand::{Expand, GroupingSet};
pub use join::Join;
pub use key::{Key, OrderBy};
pub use on_close::OnClose;
pub use over::{Over, OverCall};
pub use source::{LateRule, Source, Watermark};
pub use top_n::TopN;
pub use union::Union;
pub use unnest::{Unnest, UnnestColumn};
pub use values::Values;

pub type Expr = Arc<dyn PhysicalExpr>;

/// An operator of a graph.
#[derive(Clone, Debug)]
pub enum NodeKind {
    Source(Source),
    Calc(Calc),
    Unnest(Unnest),
    Expand(Expand),
    Aggregate(Aggregate),
    Over(Over),
    TopN(TopN),
    Join(Join),
    Union(Union),
    Values(Values),
    OnClose(OnClose),
}

impl NodeKind {
    pub(crate) fn digest(&self) -> String {
        match self {
            Self::Source(of) => of.digest(),
            Self::Calc(of) => of.digest(),
            Self::Unnest(of) => of.digest(),
            Self::Expand(of) => of.digest(),
            Self::Aggregate(of) => of.digest(),
            Self::Over(of) => of.digest(),
            Self::TopN(of) => of.digest(),
            Self::Join(of) => of.digest(),
            Self::Union(of) => of.digest(),
            Self::Values(of) => of.digest(),
            Self::OnClose(of) => of.digest(),
        }
    }
}

fn list<T: std::fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|i| i.to_string()).collect();
    format!("[{}]", items.join("; "))
}
