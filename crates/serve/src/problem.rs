//! `common::Error` as problem details (RFC 9457). Every refusal of every route leaves through here,
//! so that a client meets one shape of error only.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use common::{Error, Kind};
use serde_json::Value;

/// An error on its way out. `members` are added to the problem; `status` overrides the kind's.
#[derive(Debug)]
pub struct Problem {
    error: Error,
    status: Option<StatusCode>,
    members: Option<Value>,
}

pub type Answer<T> = Result<T, Problem>;

impl Problem {
    pub fn status(error: Error, status: StatusCode) -> Problem {
        Problem { error, status: Some(status), members: None }
    }

    /// Adds the members of an object to the problem.
    pub fn with_members(error: Error, members: Value) -> Problem {
        Problem { error, status: None, members: Some(members) }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Problem {
        Problem { error, status: None, members: None }
    }
}

impl From<Vec<Error>> for Problem {
    /// The first one speaks for all; the others stand in the member `problems`.
    fn from(errors: Vec<Error>) -> Problem {
        let all: Vec<Value> = errors.iter().map(Error::to_json).collect();
        let first = errors.into_iter().next();
        let error = first.unwrap_or_else(|| Error::internal("failed without saying why"));
        let members = (all.len() > 1).then(|| serde_json::json!({ "problems": all }));
        Problem { error, status: None, members }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Problem { error, status, members } = self;
        let of_kind = StatusCode::from_u16(error.kind().http_status());
        let status = status.or(of_kind.ok()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if matches!(error.kind(), Kind::Internal | Kind::Io | Kind::Corrupt) {
            tracing::error!(%error, "a request failed");
        }
        let mut body = error.to_json();
        body["status"] = status.as_u16().into();
        if let (Value::Object(body), Some(Value::Object(members))) = (&mut body, members) {
            body.extend(members);
        }
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if error.kind().may_retry() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    async fn json(problem: Problem) -> (StatusCode, bool, Value) {
        let response = problem.into_response();
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        let retry = response.headers().contains_key(header::RETRY_AFTER);
        let status = response.status();
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, retry, serde_json::from_slice(&bytes).unwrap())
    }

    #[tokio::test]
    async fn says_status_kind_and_whether_to_retry() {
        let (status, retry, body) = json(Error::unavailable("busy").into()).await;
        assert_eq!((status.as_u16(), retry), (503, true));
        assert_eq!(body["code"], "unavailable");
        let e = Error::unsupported("no");
        let (status, retry, body) = json(Problem::status(e, StatusCode::METHOD_NOT_ALLOWED)).await;
        assert_eq!((status.as_u16(), retry), (405, false));
        assert_eq!(body["status"], 405);
    }

    #[tokio::test]
    async fn many_errors_are_all_there() {
        let errors = vec![Error::syntax("one"), Error::invalid("two")];
        let (_, _, body) = json(errors.into()).await;
        assert_eq!(body["detail"], "one");
        assert_eq!(body["problems"][1]["detail"], "two");
    }
}
