//! Requests that are answered before anybody looks at them: every error is JSON, and says what to do instead.

use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

use super::reply;

/// The text of an error that is none of ours.
const TEXT_BYTES: usize = 4096;

/// Says of a wrong method which ones are right, and puts what the framework says of a bad request into our form.
pub(super) async fn explain(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        return wrong_method(response);
    }
    let kind = response.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    if response.status().is_client_error() && kind.is_some_and(|kind| kind.starts_with(b"text/")) {
        let status = response.status();
        let text = to_bytes(response.into_body(), TEXT_BYTES).await.unwrap_or_default();
        return reply::error(status, &String::from_utf8_lossy(&text));
    }
    response
}

fn wrong_method(response: Response) -> Response {
    let allowed = response.headers().get(header::ALLOW).cloned();
    let names = allowed.as_ref().and_then(|allowed| allowed.to_str().ok()).unwrap_or_default();
    let message = match names.split_once(',') {
        Some((first, others)) => format!("this path takes {first} and {}", others.trim()),
        None => format!("this path takes {names} only"),
    };
    let mut refused = reply::error(StatusCode::METHOD_NOT_ALLOWED, &message);
    refused.headers_mut().extend(allowed.map(|allowed| (header::ALLOW, allowed)));
    refused
}

/// Nothing is at the path of the request.
pub(super) async fn no_path() -> Response {
    reply::error(
        StatusCode::NOT_FOUND,
        "there is nothing at this path: GET /api/v1 lists what there is",
    )
}
