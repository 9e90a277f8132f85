//! `console/src/lib/types.ts` is what the OpenAPI document says; `BLESS=1` rewrites it.

use crate::support::{self, Project, typescript};

#[test]
fn the_types_of_the_console_are_those_of_the_contract() {
    let document = Project::empty().serve(&[]).get("/api/openapi.json").json();
    let path = support::root().join("console/src/lib/types.ts");
    support::golden(&path, &typescript::module(&document));
}
