//! Two projects that are pointed to one store: the second is refused by name, the first goes on.

use common::Kind;
use tempfile::TempDir;

use super::support::*;

#[test]
fn a_store_that_another_project_has_open_is_refused() {
    let shared = TempDir::new().unwrap();
    for store in ["log", "lake", "catalog", "views"] {
        let folder = shared.path().join(store);
        let at = match store {
            "catalog" => folder.join("catalog.json"),
            _ => folder.clone(),
        };
        let at = format!("file:{}", at.display());
        let settings = [(store, at.as_str())];
        let first = Place::new(EVENTS, &settings).start();
        first.send("events", &events(0..5));
        let second = Place::new(EVENTS, &settings);
        let project = first.place.path().canonicalize().unwrap();
        let parts = [
            format!("the {store} folder '{}'", folder.canonicalize().unwrap().display()),
            format!("process {} of the project '{}'", std::process::id(), project.display()),
        ];
        let e = second.clone().open().err().unwrap();
        assert_kind(&e, Kind::Conflict, &[&parts[0], &parts[1], &format!("set {store} to")]);
        assert_eq!(first.sql("SELECT count(*) FROM events"), ["5"]);
        first.close();
        // Now it is free.
        second.open().unwrap().close();
    }
}
