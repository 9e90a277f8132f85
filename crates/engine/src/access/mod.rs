//! Who may log in, and who may do what. One place decides: `principal::check`.
//! Must not know: a door.

pub mod principal;
pub mod secrets;
pub mod users;
