//! Rows that a view can't compute: dead letters with the reason, and the view is the rest; or the
//! view stops where that was asked for, says so to its readers, and the platform goes on.

use common::Kind;

use super::support::*;

const ORDERS: &str = "CREATE TOPIC orders (id BIGINT NOT NULL, k TEXT, total BIGINT, qty BIGINT)
WITH (partitions = 2, key = 'k');
";

fn order(id: i64, qty: i64) -> String {
    format!("{{\"id\":{id},\"k\":\"{}\",\"total\":{},\"qty\":{qty}}}\n", id % 3, id * 10)
}

/// Each fifth has a quantity of nothing.
fn orders(ids: std::ops::Range<i64>) -> String {
    ids.map(|id| order(id, if id % 5 == 0 { 0 } else { 2 })).collect()
}

/// The good rows in batch, the letters, and readiness.
fn check(bench: &Bench, view: &str, batch: &str, letters: usize) {
    let rows = bench.sorted(batch);
    bench.until(&format!("SELECT * FROM {view}"), &rows);
    let count = format!("SELECT count(*) FROM dead_letters WHERE view = '{view}'");
    bench.until(&count, &strings([letters]));
    // Others may still be catching up.
    bench.wait("the platform is ready", |b| b.platform.ready().is_ok());
}

#[test]
fn they_become_dead_letters_and_the_view_goes_on() {
    let price = "CREATE MATERIALIZED VIEW price AS SELECT id, total / qty AS price FROM orders;\n";
    let sums = "CREATE MATERIALIZED VIEW sums AS
      SELECT k, sum(CAST(total / qty AS BIGINT)) AS s, count(*) AS n FROM orders GROUP BY k;\n";
    let bench = Bench::new(&format!("{ORDERS}{price}{sums}"));
    bench.send("orders", &orders(0..100));
    let good = "SELECT id, total / qty FROM orders WHERE qty <> 0";
    check(&bench, "price", good, 20);
    let good = "SELECT k, sum(CAST(total / qty AS BIGINT)), count(*) FROM orders
                WHERE qty <> 0 GROUP BY k";
    check(&bench, "sums", good, 20);
    let letter = "SELECT kind, reason, CAST(raw AS TEXT) FROM dead_letters
                  WHERE view = 'price' ORDER BY id LIMIT 1";
    let letter = bench.sql(letter).concat();
    assert!(letter.starts_with("compute|division by zero"), "{letter}");
    assert!(letter.contains("\"qty\":0"), "{letter}");
    // More of them, and a restart between.
    let bench = bench.reopen();
    bench.send("orders", &orders(100..200));
    check(&bench, "sums", good, 40);
}

#[test]
fn one_that_only_fails_beside_another_row_is_found() {
    let limits = "CREATE TOPIC limits (k TEXT NOT NULL, least BIGINT) WITH (partitions = 1);\n";
    let over = "CREATE MATERIALIZED VIEW over AS SELECT o.id, l.least FROM orders o
      JOIN limits l ON o.k = l.k AND o.total / l.least > 1;\n";
    let bench = Bench::new(&format!("{ORDERS}{limits}{over}"));
    bench.send("orders", &(1..40).map(|id| order(id, 1)).collect::<String>());
    bench.until("SELECT count(*) FROM orders", &strings([39]));
    bench.send(
        "limits",
        "{\"k\":\"0\",\"least\":5}\n{\"k\":\"1\",\"least\":0}\n{\"k\":\"2\",\"least\":7}\n",
    );
    let good = "SELECT o.id, l.least FROM orders o JOIN (SELECT * FROM limits WHERE least <> 0) l
                ON o.k = l.k AND o.total / l.least > 1";
    let rows = bench.sorted(good);
    assert!(!rows.is_empty());
    // Whichever of a pair came last is left out, so the view has the rest.
    bench.wait("the view has taken all", |b| {
        b.platform.views()[0].lag_events == 0 && b.platform.views()[0].state == "running"
    });
    bench.until("SELECT * FROM over", &rows);
    let letters = bench.sql("SELECT DISTINCT kind FROM dead_letters");
    assert_eq!(letters, ["compute"]);
}

#[test]
fn they_are_found_under_over_top_n_and_session_windows() {
    let topic = "CREATE TOPIC orders (id BIGINT NOT NULL, k TEXT, total BIGINT, qty BIGINT,
      at TIMESTAMP) WITH (partitions = 2, key = 'k');\n";
    let queries = [
        ("running", "SELECT id, sum(total / qty) OVER (PARTITION BY k ORDER BY id) AS s"),
        ("by_price", "SELECT id, row_number() OVER (PARTITION BY k ORDER BY total / qty, id) AS n"),
        ("best", "SELECT id, total / qty AS p"),
        (
            "sessions",
            "SELECT k, session_window(at, INTERVAL 10 SECONDS) AS w, sum(total / qty) AS s",
        ),
    ];
    let ends = [
        "",
        "",
        " ORDER BY total / qty DESC, id LIMIT 7",
        " GROUP BY k, session_window(at, INTERVAL 10 SECONDS)",
    ];
    let query = |i: usize, filter: &str| format!("{} FROM orders{filter}{}", queries[i].1, ends[i]);
    let views =
        (0..4).map(|i| format!("CREATE MATERIALIZED VIEW {} AS {};\n", queries[i].0, query(i, "")));
    let bench = Bench::new(&format!("{topic}{}", views.collect::<String>()));
    let order = |id: i64| {
        let (k, qty) = (id % 3, if id % 5 == 0 { 0 } else { 2 });
        let at = format!("2026-01-01T00:{:02}:{:02}Z", id / 60 % 60, id % 60);
        format!(
            "{{\"id\":{id},\"k\":\"{k}\",\"total\":{},\"qty\":{qty},\"at\":\"{at}\"}}\n",
            id * 10
        )
    };
    bench.send("orders", &(0..60).map(order).collect::<String>());
    for (i, (view, _)) in queries.iter().enumerate() {
        check(&bench, view, &query(i, " WHERE qty <> 0"), 12);
    }
    let bench = bench.reopen();
    bench.send("orders", &(60..90).map(order).collect::<String>());
    for (i, (view, _)) in queries.iter().enumerate() {
        check(&bench, view, &query(i, " WHERE qty <> 0"), 18);
    }
}

/// No row is at fault, and a later one may mend it.
#[test]
fn a_fault_of_a_whole_group_stops_the_view() {
    let share = "CREATE MATERIALIZED VIEW share AS
      SELECT k, sum(total) / (count(*) - 3) AS s FROM orders GROUP BY k;\n";
    let bench = Bench::new(&format!("{ORDERS}{share}"));
    bench.send("orders", &(0..9).map(|id| order(id, 1)).collect::<String>());
    bench.wait("it has stopped", |b| b.platform.views().iter().any(|v| v.state == "failed"));
    assert_eq!(bench.sql("SELECT count(*) FROM dead_letters"), ["0"]);
}

#[test]
fn a_view_that_is_to_stop_tells_its_readers_and_no_one_else() {
    let price = "CREATE MATERIALIZED VIEW price WITH (on_error = 'stop') AS
      SELECT id, total / qty AS price FROM orders;\n";
    let good = "CREATE MATERIALIZED VIEW good AS SELECT id FROM orders;\n";
    let bench = Bench::new(&format!("{ORDERS}{price}{good}"));
    bench.send("orders", &order(1, 1));
    bench.until("SELECT * FROM price", &["1|10.0".into()]);
    bench.send("orders", &order(2, 0));
    bench.wait("it has stopped", |b| b.platform.views().iter().any(|v| v.state == "failed"));
    let e = bench.refused("SELECT * FROM price");
    assert_eq!(e.kind(), Kind::Unavailable);
    assert!(e.message().contains("view 'price' has stopped at epoch"), "{e}");
    assert!(e.message().contains("division by zero"), "{e}");
    assert!(bench.platform.ready().is_ok());
    bench.until("SELECT count(*) FROM good", &strings([2]));
    assert_eq!(bench.sql("SELECT count(*) FROM dead_letters"), ["0"]);
}

#[test]
fn the_last_rows_of_a_stopped_view_can_be_asked_for() {
    let price = "CREATE MATERIALIZED VIEW price WITH (on_error = 'stop') AS
      SELECT id, total / qty AS price FROM orders;\n";
    let settings = [("query.stopped_views", "rows")];
    let bench = Place::new(&format!("{ORDERS}{price}"), &settings).start();
    bench.send("orders", &order(1, 1));
    bench.until("SELECT * FROM price", &["1|10.0".into()]);
    bench.send("orders", &order(2, 0));
    bench.wait("it has stopped", |b| b.platform.views().iter().any(|v| v.state == "failed"));
    assert_eq!(bench.sql("SELECT * FROM price"), ["1|10.0"]);
    let platform = bench.platform.clone();
    let query = engine::ViewQuery { limit: 10, ..Default::default() };
    let page = bench.on(async move { platform.view_rows("price", query).await }).unwrap();
    assert!(page.stopped.unwrap().contains("division by zero"));
}

#[test]
fn what_can_never_run_is_refused_at_create() {
    let bench = Bench::new(ORDERS);
    for query in [
        "SELECT string_agg(k, CAST(qty AS TEXT)) FROM orders",
        "SELECT percentile(total, NULL) FROM orders",
        "SELECT k, string_agg(k, k) FROM orders GROUP BY k",
    ] {
        let e = bench.refused(&format!("CREATE MATERIALIZED VIEW v AS {query}"));
        assert!(!e.message().to_lowercase().contains("assertion"), "{query}: {e}");
        assert_ne!(e.kind(), Kind::Internal, "{query}: {e}");
    }
    let e = bench.refused("CREATE MATERIALIZED VIEW v WITH (on_error = 'ignore') AS SELECT 1");
    assert!(e.hint_text().unwrap_or_default().contains("dead_letter"), "{e:?}");
}
