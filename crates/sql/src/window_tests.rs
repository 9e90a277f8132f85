//! Time windows as Spark has them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use crate::testing::{rows, state};

/// Dates are left out of results, and what surrounds the times of a window.
async fn check(cases: &[(&str, &str)]) {
    let state = state().await;
    let mut wrong = vec![];
    for (sql, want) in cases {
        let got = rows(&state, sql).await;
        let got = got.replace("2024-01-01T", "").replace("{start: ", "[").replace(", end: ", "-");
        let got = got.replace('}', ")").replace('Z', "");
        if got != *want {
            wrong.push(format!("{sql}\n  got  {got}\n  want {want}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

const FIVE: &str = "[00:00:00-00:05:00) | 2 ; [00:05:00-00:10:00) | 2 ; [00:15:00-00:20:00) | 1";

#[tokio::test]
async fn tumbling() {
    check(&[
        ("SELECT window(ts, '5 minutes') AS w, count(*) FROM events GROUP BY w ORDER BY w", FIVE),
        ("SELECT window(ts, '5 minutes') AS w, count(*) FROM events GROUP BY 1 ORDER BY 1", FIVE),
        ("SELECT window, count(*) FROM events GROUP BY window(ts, INTERVAL '5 minutes') ORDER BY 1", FIVE),
        ("SELECT window, count(*) FROM events GROUP BY window(ts, INTERVAL 5 MINUTES) ORDER BY 1", FIVE),
        ("SELECT tumble(ts, '5 minutes') AS w, count(*) FROM events GROUP BY w ORDER BY w", FIVE),
        ("SELECT w, count(*) FROM (SELECT *, window(ts, '5 minutes') w FROM events) GROUP BY w ORDER BY w",
         FIVE),
        ("SELECT k, window.start, window.end, count(*) FROM events
            GROUP BY k, window(ts, '5 minutes') ORDER BY k, start",
         "a | 00:00:00 | 00:05:00 | 2 ; a | 00:05:00 | 00:10:00 | 1 ; a | 00:15:00 | 00:20:00 | 1 ; \
          b | 00:05:00 | 00:10:00 | 1"),
        ("SELECT window(ts, '5 minutes') w, count(*) FROM events GROUP BY window(ts, '5 minutes')
            HAVING w.start > TIMESTAMP '2024-01-01 00:00:00' ORDER BY w.start",
         "[00:05:00-00:10:00) | 2 ; [00:15:00-00:20:00) | 1"),
        ("SELECT w.start AS s, k, count(*) FROM (SELECT *, window(ts, '5 minutes') w FROM events)
            GROUP BY k, w ORDER BY w.start, k",
         "00:00:00 | a | 2 ; 00:05:00 | a | 1 ; 00:05:00 | b | 1 ; 00:15:00 | a | 1"),
        ("SELECT window(ts, '5 minutes').start AS s, max(v) FROM events
            GROUP BY window(ts, '5 minutes') ORDER BY window.start",
         "00:00:00 | 2 ; 00:05:00 | 5 ; 00:15:00 | 6"),
        // A window over a window's view.
        ("SELECT w, max(s) FROM (SELECT k, window(ts, '5 minutes') w, sum(v) s FROM events
            GROUP BY k, window(ts, '5 minutes')) GROUP BY w ORDER BY 1",
         "[00:00:00-00:05:00) | 3 ; [00:05:00-00:10:00) | 5 ; [00:15:00-00:20:00) | 6"),
        ("SELECT window(ts, '5 minutes', '5 minutes', '1 minute').start FROM events ORDER BY 1",
         "00:01:00 ; 00:01:00 ; 00:01:00 ; 00:06:00 ; 00:11:00"),
        ("SELECT window(TIMESTAMP '1969-12-31 23:59:59', '5 minutes')",
         "[1969-12-31T23:55:00-1970-01-01T00:00:00)"),
        ("SELECT count(*) FROM events", "6"),
        // NULL times leave, also without GROUP BY.
        ("SELECT count(*) FROM (SELECT window(ts, '5 minutes') FROM events)", "5"),
        ("SELECT count(*) FROM events GROUP BY window(ts, '1 day')", "5"),
    ])
    .await;
}

#[tokio::test]
async fn sliding_and_sessions() {
    check(&[
        ("SELECT k, window, sum(v) FROM events GROUP BY k, window(ts, '10 minutes', '5 minutes')
            HAVING window.start >= TIMESTAMP '2024-01-01 00:00:00' ORDER BY k, window",
         "a | [00:00:00-00:10:00) | 8 ; a | [00:05:00-00:15:00) | 5 ; a | [00:10:00-00:20:00) | 6 ; \
          a | [00:15:00-00:25:00) | 6 ; b | [00:00:00-00:10:00) | 3 ; b | [00:05:00-00:15:00) | 3"),
        ("SELECT hop(ts, '5 minutes', '10 minutes') AS w, count(*) FROM events WHERE v = 3 GROUP BY w ORDER BY w",
         "[00:00:00-00:10:00) | 1 ; [00:05:00-00:15:00) | 1"),
        // 00:04:59 + 5 minutes is 00:09:59: exactly at the gap still belongs to the session.
        ("SELECT k, session_window.start, session_window.end, sum(v) FROM events
            GROUP BY k, session_window(ts, '5 minutes') ORDER BY k, start",
         "a | 00:01:00 | 00:14:59 | 8 ; a | 00:15:00 | 00:20:00 | 6 ; b | 00:05:00 | 00:10:00 | 3"),
        ("SELECT k, session_window.start, session_window.end, sum(v) FROM events WHERE v IS NOT NULL
            GROUP BY k, session_window(ts, INTERVAL 5 MINUTES) ORDER BY k, start",
         "a | 00:01:00 | 00:14:59 | 8 ; a | 00:15:00 | 00:20:00 | 6 ; b | 00:05:00 | 00:10:00 | 3"),
    ])
    .await;
}
