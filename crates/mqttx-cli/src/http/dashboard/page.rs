//! The files of the page. They are in the program, use nothing from elsewhere and hold no secret: what is shown comes from
//! the API, which asks for the token.

use axum::extract::Path;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;

use super::super::reply;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// Only the page's own files and the API; nothing inline, nobody's frame, and no script makes HTML of text.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// Name, type, content.
type File = (&'static str, &'static str, &'static str);

macro_rules! files {
    ($($name:literal: $kind:expr,)*) => {
        &[$(($name, $kind, include_str!(concat!("page/", $name))),)*]
    };
}

const FILES: &[File] = files! {
    "icon.svg": SVG,
    "theme.css": CSS,
    "layout.css": CSS,
    "controls.css": CSS,
    "flows.css": CSS,
    "sessions.css": CSS,
    "log.css": CSS,
    "main.js": SCRIPT,
    "api.js": SCRIPT,
    "stream.js": SCRIPT,
    "model.js": SCRIPT,
    "dom.js": SCRIPT,
    "format.js": SCRIPT,
    "theme.js": SCRIPT,
    "dialogs.js": SCRIPT,
    "notices.js": SCRIPT,
    "summary.js": SCRIPT,
    "charts.js": SCRIPT,
    "flows.js": SCRIPT,
    "view.js": SCRIPT,
    "sessions.js": SCRIPT,
    "detail.js": SCRIPT,
    "log.js": SCRIPT,
    "keys.js": SCRIPT,
};

/// `/`.
pub(in crate::http) async fn index() -> Response {
    dressed(HTML, include_str!("page/index.html"))
}

/// `/dashboard/NAME`.
pub(in crate::http) async fn file(Path(name): Path<String>) -> Response {
    match FILES.iter().find(|(known, ..)| *known == name) {
        Some((_, kind, content)) => dressed(kind, content),
        None => reply::error(StatusCode::NOT_FOUND, "the dashboard has no such file"),
    }
}

fn dressed(kind: &'static str, content: &'static str) -> Response {
    let mut response = reply::typed(StatusCode::OK, kind, content);
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    for (name, value) in [
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What follows `before` up to the quote.
    fn named<'a>(text: &'a str, before: &'a str) -> impl Iterator<Item = &'a str> {
        text.split(before).skip(1).filter_map(|rest| rest.split(['"', '\'']).next())
    }

    #[test]
    fn every_file_that_the_page_asks_for_is_there_and_no_other() {
        let index = include_str!("page/index.html");
        let mut asked: Vec<&str> = named(index, "\"/dashboard/").collect();
        for (_, _, content) in FILES.iter().filter(|(_, kind, _)| *kind == SCRIPT) {
            asked.extend(named(content, "from \"./"));
        }
        for name in &asked {
            assert!(FILES.iter().any(|(known, ..)| known == name), "{name} is not there");
        }
        for (name, ..) in FILES {
            assert!(asked.contains(name), "{name} is not asked for");
        }
    }

    #[test]
    fn nothing_comes_from_elsewhere_and_nothing_is_inline() {
        let index = include_str!("page/index.html");
        for banned in ["http://", "https://", "<style", " style=", " onclick", "javascript:"] {
            assert!(!index.contains(banned), "{banned}");
        }
        assert_eq!(index.matches("<script").count(), 1);
        for (name, _, content) in FILES {
            let content = content.replace("http://www.w3.org/2000/svg", "");
            for banned in ["http://", "https://", "innerHTML", "eval(", "@import"] {
                assert!(!content.contains(banned), "{name}: {banned}");
            }
        }
    }
}
