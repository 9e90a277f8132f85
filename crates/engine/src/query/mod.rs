//! From a statement to its answer: tables, pages, the threads that compute.
//! Must not know: how a definition is put into effect.

pub mod caller;
pub mod compute;
pub mod interrupt;
pub mod lazy_scan;
pub mod names;
pub mod outcome;
pub mod run;
pub mod running;
pub mod show;
pub mod tables;
pub mod values;
pub mod view_page;
pub mod view_pages;
pub mod write;
