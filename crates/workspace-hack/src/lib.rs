//! Empty. Each crate has it as a dev-dependency: it asks for all dependencies of the workspace, so
//! that cargo gives them the same features for `cargo test -p one` as for `make test`, and what one
//! of them built the other uses. `make demo` does not know it.
