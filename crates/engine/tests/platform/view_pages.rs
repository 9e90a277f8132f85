//! Pages of a view: each row once, whatever the order, with equal rows on both sides of a border.

use engine::{ViewPage, ViewQuery};

use super::support::*;

fn page(bench: &Bench, view: &str, query: ViewQuery) -> ViewPage {
    let (platform, view) = (bench.platform.clone(), view.to_string());
    bench.on(async move { platform.view_rows(&view, query).await }).unwrap()
}

/// All rows, page by page.
fn pages(bench: &Bench, view: &str, order: Option<(String, bool)>, limit: usize) -> Vec<String> {
    let (mut rows, mut after) = (vec![], None);
    for _ in 0..1_000 {
        let query = ViewQuery { order: order.clone(), limit, after, ..Default::default() };
        let page = page(bench, view, query);
        assert!(page.batch.num_rows() <= limit);
        rows.extend(super::support::rows(&page.batch));
        match page.next {
            None => return rows,
            next => after = next,
        }
    }
    panic!("the pages have no end");
}

#[test]
fn every_row_once_with_and_without_an_order() {
    let kinds = "CREATE MATERIALIZED VIEW kinds AS
      SELECT v % 3 AS m, k FROM events UNION SELECT v % 3 AS m, k FROM events;\n";
    let all = "CREATE MATERIALIZED VIEW plain AS SELECT v % 3 AS m FROM events;\n";
    let bench = Bench::new(&format!("{EVENTS}{TOTALS}{kinds}{all}"));
    bench.send("events", &events(0..50));
    bench.until_equal();
    for (view, batch) in [
        ("totals", BATCH),
        ("kinds", "SELECT DISTINCT v % 3, k FROM events"),
        ("plain", "SELECT v % 3 FROM events"),
    ] {
        let expected = bench.sorted(batch);
        bench.until(&format!("SELECT * FROM {view}"), &expected);
        let column = if view == "totals" { "n" } else { "m" };
        for order in [None, Some((column.to_string(), false)), Some((column.to_string(), true))] {
            for limit in [1, 2, 7, 1_000] {
                let mut rows = pages(&bench, view, order.clone(), limit);
                rows.sort();
                assert_eq!(rows, expected, "{view} by {order:?}, {limit} a page");
            }
        }
    }
}

#[test]
fn an_order_is_kept_over_pages_and_filters_find_their_rows() {
    let bench = Bench::new(&format!("{EVENTS}{TOTALS}"));
    bench.send("events", &events(0..50));
    bench.until_equal();
    let expected = bench.sql(&format!("{BATCH} ORDER BY total DESC, k"));
    let rows = pages(&bench, "totals", Some(("total".into(), true)), 2);
    assert_eq!(rows, expected);
    let one = expected[0].split('|').next().unwrap().to_string();
    for filters in
        [vec![("k".to_string(), one.clone())], vec![("k".into(), one), ("n".into(), "-1".into())]]
    {
        let found = filters.len() == 1;
        let query = ViewQuery { filters, limit: 10, ..Default::default() };
        assert_eq!(page(&bench, "totals", query).batch.num_rows(), usize::from(found));
    }
}

/// In SQL there is one zero.
#[test]
fn both_zeros_are_found_by_either() {
    let events = "CREATE TOPIC measures (f DOUBLE, k TEXT) WITH (partitions = 1);
      CREATE MATERIALIZED VIEW latest AS SELECT k, f FROM measures;
      CREATE MATERIALIZED VIEW groups AS SELECT f, count(*) AS n FROM measures GROUP BY f;\n";
    let bench = Bench::new(events);
    bench.send("measures", "{\"f\":0.0,\"k\":\"a\"}\n{\"f\":-0.0,\"k\":\"b\"}\n{\"f\":1}\n");
    bench.until("SELECT count(*) FROM latest", &strings([3]));
    bench.until("SELECT n FROM groups WHERE f = 0", &strings([2]));
    for zero in ["0", "-0.0", "0.0"] {
        for (view, rows) in [("latest", 2), ("groups", 1)] {
            let filters = vec![("f".to_string(), zero.to_string())];
            let query = ViewQuery { filters, limit: 10, ..Default::default() };
            assert_eq!(page(&bench, view, query).batch.num_rows(), rows, "{view} {zero}");
        }
    }
}
