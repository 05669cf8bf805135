//! `/metrics`.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use mqttx::{ConfigMetrics, Detail, JsonExporter, PrometheusExporter, TextFormat};
use regex::{Regex, RegexBuilder};

use super::{Site, reply};

/// What an expression of a request may come to.
const REGEX_BYTES: usize = 1 << 20;

pub(super) async fn show(
    State(site): State<Arc<Site>>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let wanted: Option<Regex> = match query.get("session") {
        None => None,
        Some(pattern) => match RegexBuilder::new(pattern).size_limit(REGEX_BYTES).build() {
            Ok(regex) => Some(regex),
            Err(error) => return reply::error(StatusCode::BAD_REQUEST, &not_a_regex(&error)),
        },
    };
    let facts = site.facts();
    let matching = |name: &str| wanted.as_ref().is_some_and(|regex| regex.is_match(name));
    let detail = match &wanted {
        Some(_) => Detail::Matching(&matching),
        None => Detail::UpTo(facts.per_session_limit),
    };
    let mut snapshot = site
        .sessions
        .snapshot_of(&detail)
        .with_forwarders(&site.forwarders)
        .with_process()
        .with_config(ConfigMetrics { successful: facts.successful, loaded: facts.loaded });
    for (name, store) in &facts.stores {
        snapshot = snapshot.with_store(name.as_str(), &**store);
    }
    let accepted = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let (kind, chunks) = match Kind::accepted(accepted.unwrap_or_default()) {
        Kind::Text(format) => {
            let exporter = PrometheusExporter::new("mqtt").format(format);
            (format.content_type(), exporter.chunks(snapshot))
        }
        Kind::Json => ("application/json", JsonExporter::new("mqtt").chunks(snapshot)),
    };
    let chunks = chunks.map(|chunk| Ok::<_, std::convert::Infallible>(Bytes::from(chunk)));
    reply::typed(StatusCode::OK, kind, Body::from_stream(futures_util::stream::iter(chunks)))
}

/// What is wrong with the expression, without the picture of it, which takes several lines.
fn not_a_regex(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    let why = last.strip_prefix("error: ").unwrap_or(last);
    format!("session is not a regular expression: {why}")
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Kind {
    Text(TextFormat),
    Json,
}

impl Kind {
    /// The one that the client likes best (RFC 9110, section 12.5.1); the plain text for whoever names none of them.
    fn accepted(accept: &str) -> Self {
        let mut best = (Self::Text(TextFormat::Prometheus), 0.0);
        for part in accept.split(',') {
            let mut parameters = part.split(';').map(str::trim);
            let kind = match parameters.next().unwrap_or_default().to_ascii_lowercase().as_str() {
                "application/openmetrics-text" => Self::Text(TextFormat::OpenMetrics),
                "application/json" => Self::Json,
                "text/plain" => Self::Text(TextFormat::Prometheus),
                _ => continue,
            };
            let quality = parameters.find_map(|p| p.strip_prefix("q=")?.parse().ok());
            let quality: f32 = quality.unwrap_or(1.0);
            if quality > best.1 {
                best = (kind, quality);
            }
        }
        best.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_the_one_that_is_liked_best() {
        let (plain, open) =
            (Kind::Text(TextFormat::Prometheus), Kind::Text(TextFormat::OpenMetrics));
        for (accept, kind) in [
            ("", plain),
            ("*/*", plain),
            ("text/html", plain),
            ("application/json", Kind::Json),
            ("application/openmetrics-text; version=1.0.0", open),
            (
                "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.7,*/*;q=0.1",
                plain,
            ),
            ("text/plain;q=0.3, application/openmetrics-text;q=0.9", open),
            ("application/openmetrics-text;q=0", plain),
        ] {
            assert_eq!(Kind::accepted(accept), kind, "{accept}");
        }
    }
}
