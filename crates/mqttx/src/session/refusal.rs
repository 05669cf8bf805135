//! What the end of a connection means: try again, somewhere else, or stop.

use mqttx_proto::ReasonCode;
use mqttx_proto::{CloseCause, Refusal};

use crate::error::{Error, ErrorKind};
use crate::transport::{Endpoint, Scheme};

/// Redirects that are followed without a connection in between.
pub(crate) const MAX_HOPS: u8 = 3;

/// What to do next.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Try again with growing delays.
    Retry,
    /// Connect to the first of these that answers, at once.
    Follow(Vec<Endpoint>),
    /// A retry will hardly change it.
    GiveUp,
    /// Another client took the session over: coming back would take it in turn.
    TakenOver,
    /// It was our wish.
    Requested,
}

/// Judges why the core ended a connection; `hops` redirects were followed already. `scheme` is how the server is reached,
/// and others to which it sends us: a connection that was encrypted stays so.
pub(crate) fn judge(cause: &CloseCause, hops: u8, scheme: Scheme) -> Verdict {
    match cause {
        CloseCause::Requested => Verdict::Requested,
        CloseCause::Refused(refusal) => match refusal.reason {
            ReasonCode::USE_ANOTHER_SERVER | ReasonCode::SERVER_MOVED => {
                redirect(refusal, hops, scheme)
            }
            ReasonCode::SERVER_UNAVAILABLE
            | ReasonCode::SERVER_BUSY
            | ReasonCode::QUOTA_EXCEEDED
            | ReasonCode::CONNECTION_RATE_EXCEEDED => Verdict::Retry,
            _ => Verdict::GiveUp,
        },
        CloseCause::ServerDisconnect(refusal) => match refusal.reason {
            ReasonCode::USE_ANOTHER_SERVER | ReasonCode::SERVER_MOVED => {
                redirect(refusal, hops, scheme)
            }
            ReasonCode::SESSION_TAKEN_OVER => Verdict::TakenOver,
            _ => Verdict::Retry,
        },
        _ => Verdict::Retry,
    }
}

/// A server reference is a list of `host` or `host:port`, separated by spaces (section 4.11).
fn redirect(refusal: &Refusal, hops: u8, scheme: Scheme) -> Verdict {
    let list = refusal.server_reference.as_deref().unwrap_or_default();
    let references = list.split_whitespace();
    let endpoints: Vec<_> = references
        .map_while(|reference| Endpoint::parse_as(reference, scheme).ok())
        .take_while(|endpoint| endpoint.scheme().is_encrypted() || !scheme.is_encrypted())
        .collect();
    if endpoints.is_empty() || hops >= MAX_HOPS {
        return Verdict::GiveUp;
    }
    Verdict::Follow(endpoints)
}

/// The error that tells of it; `None` when it was our wish.
pub(crate) fn error_of(cause: &CloseCause) -> Option<Error> {
    let error = match cause {
        CloseCause::Requested => return None,
        CloseCause::Refused(refusal) => refused("CONNECT", refusal).with_code("connection.refused"),
        CloseCause::ServerDisconnect(refusal) => {
            let text = format!("the server disconnected: {}", refusal.reason);
            let text = match &refusal.reason_string {
                Some(reason) => format!("{text}: {reason}"),
                None => text,
            };
            let error = Error::new(ErrorKind::Connection, text)
                .with_code("connection.server_disconnect")
                .with_reason(refusal.reason);
            with_reference(error, refusal)
        }
        CloseCause::Protocol(fault) => {
            Error::protocol(cause.to_string()).with_reason(fault.reason).with_source(*fault)
        }
        CloseCause::HandshakeTimeout => {
            Error::connection(cause.to_string()).with_code("connection.timeout")
        }
        CloseCause::KeepAliveTimeout => {
            Error::connection(cause.to_string()).with_code("connection.keep_alive.timeout")
        }
        _ => Error::connection(cause.to_string()),
    };
    Some(error.with_temporary(!matches!(
        judge(cause, 0, Scheme::Tcp),
        Verdict::GiveUp | Verdict::TakenOver
    )))
}

fn refused(what: &str, refusal: &Refusal) -> Error {
    let error = Error::refused(what, refusal.reason, refusal.reason_string.as_deref());
    with_reference(error, refusal)
}

fn with_reference(error: Error, refusal: &Refusal) -> Error {
    match &refusal.server_reference {
        Some(server) => error.with_context("server reference", server),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(reason: ReasonCode, server: Option<&str>) -> Refusal {
        Refusal { reason, reason_string: None, server_reference: server.map(str::to_owned) }
    }

    #[test]
    fn only_busy_servers_are_asked_again() {
        for (code, retried) in
            [(0x88, true), (0x89, true), (0x97, true), (0x9F, true), (0x87, false), (0x85, false)]
        {
            let cause = CloseCause::Refused(refusal(ReasonCode::new(code), None));
            assert_eq!(
                matches!(judge(&cause, 0, Scheme::Tcp), Verdict::Retry),
                retried,
                "{code:#x}"
            );
            let error = error_of(&cause).expect("an error");
            assert_eq!(error.is_temporary(), retried);
            assert_eq!(error.reason_code(), Some(ReasonCode::new(code)));
        }
    }

    #[test]
    fn redirects_are_followed_up_to_the_limit() {
        let to = |server| CloseCause::Refused(refusal(ReasonCode::SERVER_MOVED, server));
        let Verdict::Follow(endpoints) =
            judge(&to(Some("other:1884 third a:b:c fourth")), 2, Scheme::Tcp)
        else {
            panic!("followed")
        };
        let endpoints: Vec<_> = endpoints.iter().map(|e| (e.host(), e.port())).collect();
        assert_eq!(endpoints, [("other", 1884), ("third", 1883)]);
        assert!(matches!(judge(&to(Some("other")), MAX_HOPS, Scheme::Tcp), Verdict::GiveUp));
        assert!(matches!(judge(&to(Some("a:b:c")), 0, Scheme::Tcp), Verdict::GiveUp));
        assert!(matches!(judge(&to(None), 0, Scheme::Tcp), Verdict::GiveUp));
    }

    #[test]
    fn a_takeover_is_not_answered_with_a_takeover() {
        let taken = refusal(ReasonCode::SESSION_TAKEN_OVER, None);
        let cause = CloseCause::ServerDisconnect(taken);
        assert!(matches!(judge(&cause, 0, Scheme::Tcp), Verdict::TakenOver));
        let other = CloseCause::ServerDisconnect(refusal(ReasonCode::SERVER_SHUTTING_DOWN, None));
        assert!(matches!(judge(&other, 0, Scheme::Tcp), Verdict::Retry));
        assert!(error_of(&CloseCause::Requested).is_none());
    }
}
