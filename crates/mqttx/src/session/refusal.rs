//! What the end of a connection means: try again, somewhere else, or stop.

use mqttx_proto::ReasonCode;
use mqttx_proto::{CloseCause, Refusal};

use crate::error::{Error, ErrorKind};
use crate::options::{Reaction, Reactions};
use crate::transport::Endpoint;

/// Redirects that are followed without a connection in between.
pub(crate) const MAX_HOPS: u8 = 3;
/// Addresses of one server reference that are tried. They are tried without a delay, and the text has room for thousands.
const MAX_REFERENCES: usize = 8;

/// What to do next.
#[derive(Debug, PartialEq)]
pub(crate) enum Verdict {
    /// Try again with growing delays.
    Retry,
    /// Try the other brokers, then again at the longest delay.
    RetrySlowly,
    /// Connect to the first of these that answers, at once.
    Follow {
        endpoints: Vec<Endpoint>,
        /// The first of them is the first one from now on.
        permanent: bool,
    },
    /// A retry will hardly change it: `on_refusal` says what follows.
    GiveUp,
    /// Stay away until somebody calls.
    Stop,
    /// It was our wish.
    Requested,
}

impl Verdict {
    /// The reaction that was asked for, where there is nothing to follow.
    fn of(reaction: Option<Reaction>) -> Option<Self> {
        match reaction? {
            Reaction::Retry => Some(Self::Retry),
            Reaction::RetrySlowly => Some(Self::RetrySlowly),
            Reaction::Stop => Some(Self::Stop),
            Reaction::Follow => None,
        }
    }
}

/// Judges why the core ended a connection.
pub(crate) struct Judge<'a> {
    /// What was asked for.
    pub(crate) on: &'a Reactions,
    /// Redirects that were followed already.
    pub(crate) hops: u8,
    /// Where the connection was.
    pub(crate) here: Option<Endpoint>,
    /// Whether there are settings for TLS: without them an encrypted address cannot be followed.
    pub(crate) encrypts: bool,
    /// What failed in our own part of an authentication.
    pub(crate) failure: Option<&'a Error>,
}

impl Judge<'_> {
    pub(crate) fn judge(&self, cause: &CloseCause) -> Verdict {
        let (refusal, refused) = match cause {
            CloseCause::Requested => return Verdict::Requested,
            CloseCause::Authentication(_) => {
                let bad = Verdict::of(self.on.bad_credentials).unwrap_or(Verdict::GiveUp);
                return self.failure.map_or(bad, |failure| judge_ours(failure, self.on));
            }
            CloseCause::Refused(refusal) => (refusal, true),
            CloseCause::ServerDisconnect(refusal) => (refusal, false),
            _ => return Verdict::Retry,
        };
        let on = self.on;
        let by_default = if refused { Verdict::GiveUp } else { Verdict::Retry };
        match refusal.reason {
            ReasonCode::BAD_USER_NAME_OR_PASSWORD
            | ReasonCode::NOT_AUTHORIZED
            | ReasonCode::BAD_AUTHENTICATION_METHOD => {
                Verdict::of(on.bad_credentials).unwrap_or(by_default)
            }
            ReasonCode::BANNED => Verdict::of(on.banned).unwrap_or(by_default),
            ReasonCode::SESSION_TAKEN_OVER if !refused => {
                Verdict::of(on.taken_over).unwrap_or(Verdict::Stop)
            }
            ReasonCode::QUOTA_EXCEEDED => Verdict::of(on.quota).unwrap_or(Verdict::Retry),
            _ if has_moved(refusal) => {
                Verdict::of(on.server_moved).unwrap_or_else(|| self.redirect(refusal))
            }
            ReasonCode::SERVER_UNAVAILABLE
            | ReasonCode::SERVER_BUSY
            | ReasonCode::CONNECTION_RATE_EXCEEDED => Verdict::Retry,
            _ => by_default,
        }
    }

    /// A server reference is a list of `host` or `host:port`, separated by spaces (section 4.11).
    fn redirect(&self, refusal: &Refusal) -> Verdict {
        let list = refusal.server_reference.as_deref().unwrap_or_default();
        let refer = |reference| {
            let to = self.here.as_ref()?.refer(reference)?;
            (self.encrypts || !to.scheme().is_encrypted()).then_some(to)
        };
        let endpoints: Vec<_> =
            list.split_whitespace().map_while(refer).take(MAX_REFERENCES).collect();
        if endpoints.is_empty() || self.hops >= MAX_HOPS {
            return Verdict::GiveUp;
        }
        Verdict::Follow { endpoints, permanent: refusal.reason == ReasonCode::SERVER_MOVED }
    }
}

fn has_moved(refusal: &Refusal) -> bool {
    matches!(refusal.reason, ReasonCode::USE_ANOTHER_SERVER | ReasonCode::SERVER_MOVED)
}

/// Judges why credentials could not be had, or an exchange could not go on.
pub(crate) fn judge_ours(error: &Error, on: &Reactions) -> Verdict {
    if error.is_temporary() {
        return Verdict::Retry;
    }
    Verdict::of(on.bad_credentials).unwrap_or(Verdict::GiveUp)
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
        CloseCause::Authentication(_) => Error::bad_authentication(cause.to_string()),
        CloseCause::AuthenticationTimeout => {
            Error::authentication(cause.to_string()).with_code("authentication.timeout")
        }
        CloseCause::KeepAliveTimeout => {
            Error::connection(cause.to_string()).with_code("connection.keep_alive.timeout")
        }
        _ => Error::connection(cause.to_string()),
    };
    // Whatever was asked for: by itself, another try will hardly change these.
    let judge =
        Judge { on: &Reactions::NONE, hops: MAX_HOPS, here: None, encrypts: false, failure: None };
    let leads_on = matches!(cause, CloseCause::Refused(to) | CloseCause::ServerDisconnect(to)
        if has_moved(to) && to.server_reference.is_some());
    let lasting = !leads_on && matches!(judge.judge(cause), Verdict::GiveUp | Verdict::Stop);
    Some(error.with_temporary(!lasting))
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

    fn judged(cause: &CloseCause, on: &Reactions, hops: u8) -> Verdict {
        let here = "mqtt://user:secret@here".parse().ok();
        Judge { on, hops, here, encrypts: false, failure: None }.judge(cause)
    }

    fn refused(code: u8) -> CloseCause {
        CloseCause::Refused(refusal(ReasonCode::new(code), None))
    }

    fn disconnected(code: u8) -> CloseCause {
        CloseCause::ServerDisconnect(refusal(ReasonCode::new(code), None))
    }

    #[test]
    fn only_busy_servers_are_asked_again() {
        for (code, retried) in
            [(0x88, true), (0x89, true), (0x97, true), (0x9F, true), (0x87, false), (0x85, false)]
        {
            let cause = refused(code);
            let verdict = if retried { Verdict::Retry } else { Verdict::GiveUp };
            assert_eq!(judged(&cause, &Reactions::NONE, 0), verdict, "{code:#x}");
            let error = error_of(&cause).expect("an error");
            assert_eq!(error.is_temporary(), retried);
            assert_eq!(error.reason_code(), Some(ReasonCode::new(code)));
        }
    }

    #[test]
    fn each_cause_has_its_own_reaction() {
        let (stop, slowly) = (Some(Reaction::Stop), Some(Reaction::RetrySlowly));
        let none = Reactions::NONE;
        let retry = Some(Reaction::Retry);
        for (code, connack, disconnect, on, reaction) in [
            (
                0x86,
                Verdict::GiveUp,
                None,
                Reactions { bad_credentials: retry, ..none },
                Verdict::Retry,
            ),
            (
                0x87,
                Verdict::GiveUp,
                Some(Verdict::Retry),
                Reactions { bad_credentials: slowly, ..none },
                Verdict::RetrySlowly,
            ),
            (
                0x8C,
                Verdict::GiveUp,
                Some(Verdict::Retry),
                Reactions { bad_credentials: stop, ..none },
                Verdict::Stop,
            ),
            (
                0x8A,
                Verdict::GiveUp,
                None,
                Reactions { banned: slowly, ..none },
                Verdict::RetrySlowly,
            ),
            (
                0x97,
                Verdict::Retry,
                Some(Verdict::Retry),
                Reactions { quota: slowly, ..none },
                Verdict::RetrySlowly,
            ),
            (
                0x9C,
                Verdict::GiveUp,
                Some(Verdict::GiveUp),
                Reactions { server_moved: stop, ..none },
                Verdict::Stop,
            ),
            (
                0x9D,
                Verdict::GiveUp,
                Some(Verdict::GiveUp),
                Reactions { server_moved: retry, ..none },
                Verdict::Retry,
            ),
        ] {
            assert_eq!(judged(&refused(code), &none, 0), connack, "{code:#x} by default");
            assert_eq!(judged(&refused(code), &on, 0), reaction, "{code:#x}");
            let others = Reactions { taken_over: stop, ..none };
            assert_eq!(judged(&refused(code), &others, 0), connack, "{code:#x} is another cause");
            if let Some(by_default) = disconnect {
                assert_eq!(judged(&disconnected(code), &none, 0), by_default, "{code:#x}");
                assert_eq!(judged(&disconnected(code), &on, 0), reaction, "{code:#x}");
            }
        }
    }

    #[test]
    fn redirects_are_followed_up_to_the_limit() {
        let to = |server| CloseCause::Refused(refusal(ReasonCode::SERVER_MOVED, server));
        let none = &Reactions::NONE;
        let Verdict::Follow { endpoints, permanent: true } =
            judged(&to(Some("other:1884 third a:b:c fourth")), none, 2)
        else {
            panic!("followed")
        };
        let found: Vec<_> = endpoints.iter().map(|e| (e.host(), e.port())).collect();
        assert_eq!(found, [("other", 1884), ("third", 1883)]);
        assert!(endpoints.iter().all(|endpoint| endpoint.username() == Some("user")));
        for (cause, hops) in
            [(Some("other"), MAX_HOPS), (Some("a:b:c"), 0), (Some("mqtts://other"), 0), (None, 0)]
        {
            assert_eq!(judged(&to(cause), none, hops), Verdict::GiveUp, "{cause:?}");
        }
        let many = "other ".repeat(5000);
        let Verdict::Follow { endpoints, .. } = judged(&to(Some(&many)), none, 0) else {
            panic!("followed")
        };
        assert_eq!(endpoints.len(), MAX_REFERENCES, "they are tried without a delay");
        let another = refusal(ReasonCode::USE_ANOTHER_SERVER, Some("other"));
        let verdict = judged(&CloseCause::ServerDisconnect(another), none, 0);
        assert!(matches!(verdict, Verdict::Follow { permanent: false, .. }));
        let stays = Reactions { server_moved: Some(Reaction::Retry), ..*none };
        assert_eq!(judged(&to(Some("other")), &stays, 0), Verdict::Retry);
    }

    #[test]
    fn a_takeover_is_not_answered_with_a_takeover() {
        let none = &Reactions::NONE;
        assert_eq!(judged(&disconnected(0x8E), none, 0), Verdict::Stop);
        let back = Reactions { taken_over: Some(Reaction::RetrySlowly), ..*none };
        assert_eq!(judged(&disconnected(0x8E), &back, 0), Verdict::RetrySlowly);
        assert_eq!(judged(&disconnected(0x8B), none, 0), Verdict::Retry);
        assert!(error_of(&CloseCause::Requested).is_none());
    }

    #[test]
    fn our_own_failures_say_themselves_whether_they_last() {
        let cause = CloseCause::Authentication(String::new());
        let on = Reactions { bad_credentials: Some(Reaction::RetrySlowly), ..Reactions::NONE };
        for (error, by_default, asked) in [
            (Error::authentication("away"), Verdict::Retry, Verdict::Retry),
            (Error::bad_authentication("wrong"), Verdict::GiveUp, Verdict::RetrySlowly),
        ] {
            assert_eq!(judge_ours(&error, &Reactions::NONE), by_default);
            let judge =
                Judge { on: &on, hops: 0, here: None, encrypts: false, failure: Some(&error) };
            assert_eq!(judge.judge(&cause), asked);
        }
        let judge = Judge { on: &on, hops: 0, here: None, encrypts: false, failure: None };
        assert_eq!(judge.judge(&cause), Verdict::RetrySlowly);
    }
}
