//! The life of connections: begun, accepted, ended, and what comes next.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use mqttx_proto::{Connected, PropertiesRef, ReasonCode};

use super::access::{Failure, Prepared};
use super::attempt::Attempt;
use super::auth::Auth;
use super::link::{End, Link};
use super::{Driver, Phase, Wait};
use crate::error::{Error, ErrorKind};
use crate::event::EventKind;
use crate::options::OnRefusal;
use crate::router::MessageSource;
use crate::session::refusal::{Judge, Verdict, error_of, judge_ours};
use crate::session::shared::{Wish, now};
use crate::session::status::SessionStatus;
use crate::transport::{ConnectError, Endpoint, Scheme, Stream};

impl Driver {
    /// The application changed its mind.
    pub(super) fn on_wish(&mut self, now: Instant, wish: &Wish) {
        let at_rest = matches!(self.phase, Phase::Resting);
        if *wish == Wish::Reconnected && !matches!(self.phase, Phase::Open(_)) {
            self.fulfil_reconnect();
        }
        if matches!(wish, Wish::Connected | Wish::Reconnected) && !self.store_failed {
            self.reopen_store();
        }
        match (wish, &self.phase) {
            (Wish::Idle, _) => {}
            (Wish::Connected, _) if at_rest => {
                self.shared.set_status(SessionStatus::Connecting);
                self.plan.start_over();
                self.wait(now, Duration::ZERO);
            }
            (Wish::Connected, _) => {}
            (Wish::Reconnected, Phase::Open(_)) => {
                self.send_disconnect(ReasonCode::NORMAL_DISCONNECTION, PropertiesRef::EMPTY);
            }
            (Wish::Reconnected, _) => {
                self.plan.start_over();
                self.wait(now, Duration::ZERO);
            }
            (Wish::Disconnected(with), Phase::Open(_)) => {
                self.send_disconnect(with.0, with.1.as_ref());
            }
            (Wish::Removed, Phase::Open(_)) => {
                self.send_disconnect(ReasonCode::NORMAL_DISCONNECTION, PropertiesRef::EMPTY);
            }
            (Wish::Disconnected(_), _) => self.rest(SessionStatus::Disconnected),
            (Wish::Removed, _) => self.phase = Phase::Finished,
        }
    }

    /// The attempt that begins now is what was wished for; a wish that came since then stays.
    fn fulfil_reconnect(&self) {
        let mut state = self.shared.lock();
        if state.wish == Wish::Reconnected {
            state.wish = Wish::Connected;
        }
    }

    fn send_disconnect(&self, reason: ReasonCode, properties: PropertiesRef<'_>) {
        self.shared.lock().core.disconnect(reason, properties);
    }

    /// Waits for `delay` before the next attempt.
    fn wait(&mut self, now: Instant, delay: Duration) {
        self.phase = Phase::Waiting(Box::new(Wait { until: now + delay, admitted: false }));
    }

    fn rest(&mut self, status: SessionStatus) {
        self.phase = Phase::Resting;
        self.shared.set_status(status);
    }

    /// The delay is over: the process-wide gate says when the attempt may start.
    pub(super) fn drive_waiting(&mut self, now: Instant) -> bool {
        let Phase::Waiting(wait) = &mut self.phase else { return false };
        if wait.until > now || self.opening.is_some() {
            return false;
        }
        if !wait.admitted {
            wait.admitted = true;
            wait.until = self.shared.services.gate.reserve(now);
            if wait.until > now {
                return false;
            }
        }
        self.begin(now);
        true
    }

    fn begin(&mut self, now: Instant) {
        self.take_options();
        let options = &self.options;
        let endpoint = match self.plan.begin(options) {
            Ok(endpoint) => endpoint,
            Err(error) => {
                let error = Error::config(error.to_string()).with_source(error);
                return self.fail(Some(error));
            }
        };
        let attempt = self.plan.attempt();
        let status = if self.plan.connected_before || attempt > 1 {
            SessionStatus::Reconnecting { attempt }
        } else {
            SessionStatus::Connecting
        };
        let broker = endpoint.to_string();
        let question = self.ask(&broker, attempt);
        let attempted = Attempt::new(now, options, endpoint, question);
        self.phase = Phase::Connecting(Box::new(attempted));
        let (which, redirect) = self.plan.place();
        {
            let mut state = self.shared.lock();
            (state.broker, state.redirect) = (which, redirect);
        }
        self.shared.set_status(status);
        self.shared.emit(EventKind::SessionConnecting { broker, attempt });
    }

    /// What is asked for now counts from this attempt on.
    fn take_options(&mut self) {
        let mut state = self.shared.lock();
        if let Some(client_id) = state.new_client_id.take() {
            state.core.set_client_id(&client_id);
        }
        if Arc::ptr_eq(&self.options, &state.options) {
            return;
        }
        self.options = Arc::clone(&state.options);
        state.core.set_config(self.options.config());
        drop(state);
        self.plan.first_broker();
    }

    pub(super) fn drive_connecting(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let Phase::Connecting(attempt) = &mut self.phase else { return false };
        match attempt.poll(cx, &self.options) {
            Poll::Pending => return false,
            Poll::Ready(Ok((stream, prepared))) => {
                let limit = self.options.connect_timeout;
                if let Some(dialed) = attempt.until().and_then(|until| until.checked_sub(limit)) {
                    let took = self::now().saturating_duration_since(dialed);
                    self.shared.services.counters.connect.record_time(took);
                }
                // Where the attempt was, there is room for the link.
                self.phase = Phase::Resting;
                self.open(now, stream, prepared);
            }
            Poll::Ready(Err(Failure::Transport(error))) => self.on_connect_failed(now, error),
            Poll::Ready(Err(Failure::Access(error))) => self.on_access_failed(now, error),
        }
        true
    }

    fn on_connect_failed(&mut self, now: Instant, failed: ConnectError) {
        self.shared.services.counters.connects.count(None);
        let error = self.transport_error("cannot connect", failed.code, failed.error);
        let error = Some(error.with_temporary(!failed.permanent));
        if failed.permanent {
            self.report_end(error.as_ref());
            self.after_end(now, Verdict::GiveUp, error, None);
        } else {
            self.after_failure(now, error);
        }
    }

    /// Who the session is could not be found out.
    fn on_access_failed(&mut self, now: Instant, error: Error) {
        let error = self.located(error);
        self.report_end(Some(&error));
        self.phase = Phase::Resting;
        let verdict = judge_ours(&error, &self.options.reconnect.on);
        self.after_end(now, verdict, Some(error), None);
    }

    /// The transport is up: CONNECT goes out.
    fn open(&mut self, now: Instant, stream: Stream, prepared: Option<Box<Prepared>>) {
        let endpoint = self.plan.endpoint(&self.options).ok();
        let id = endpoint.as_ref().map_or(0, Endpoint::id);
        let options = &self.options;
        let (answers, running) = match prepared {
            Some(prepared) => (Some(prepared.answers), prepared.running),
            None => (None, None),
        };
        let config = match options.config_for(endpoint.as_ref(), answers.as_ref()) {
            Ok(config) => config,
            Err(error) => return self.fail(Some(error)),
        };
        let unverified = endpoint.filter(|endpoint| {
            let tls = options.tls.as_ref();
            endpoint.scheme().is_encrypted() && tls.is_some_and(|t| t.danger_accept_invalid_certs)
        });
        if let Some(endpoint) = unverified {
            let broker = endpoint.to_string();
            tracing::warn!(session = %self.shared.name, broker, "the server's certificate is not checked");
            self.shared.emit(EventKind::TlsUnverified { broker });
        }
        let mut link = Box::new(Link::new(stream, now));
        link.auth = running.map(|running| Box::new(Auth::new(running)));
        self.phase = Phase::Open(link);
        let mut state = self.shared.lock();
        state.core.set_config(config);
        state.core.handle_connected(now, id);
        // Credentials and will are needed for CONNECT only.
        state.core.set_config(options.config());
    }

    /// CONNACK accepted the connection.
    pub(super) fn on_connected(&mut self, now: Instant, connected: &Connected) {
        let Phase::Open(link) = &mut self.phase else { return };
        let counters = &self.shared.services.counters;
        counters.connects.count(Some(ReasonCode::SUCCESS));
        counters.handshake.record_time(now.saturating_duration_since(link.since()));
        link.set_online(now);
        // Many sessions wait for a long time from here on: they do not keep the memory of CONNECT.
        link.traffic.transmit.shrink();
        let options = &self.options;
        self.held.start(now.checked_add(options.unrouted_hold));
        if self.plan.connected_before {
            self.shared.origin.counters.record_reconnect();
        }
        self.plan.connected();
        let client_id = {
            let mut state = self.shared.lock();
            state.last_error = None;
            state.core.client_id().to_owned()
        };
        self.shared.set_status(SessionStatus::Connected);
        self.shared.emit(EventKind::SessionConnected {
            broker: self.broker(),
            session_present: connected.session_present,
            client_id,
        });
    }

    /// The connection is over.
    pub(super) fn end_link(&mut self, now: Instant, end: End) {
        let Phase::Open(mut link) = std::mem::replace(&mut self.phase, Phase::Resting) else {
            return;
        };
        let (wish, sinks) = {
            let mut state = self.shared.lock();
            if link.traffic.written > 0 {
                state.core.handle_written(now, link.traffic.written);
            }
            state.core.handle_disconnected();
            (state.wish.clone(), state.sinks.all())
        };
        sinks.into_iter().for_each(|(sink, tag)| sink.left(tag));
        let lasted = link.online_since().map(|since| now.saturating_duration_since(since));
        let stable = lasted.is_some_and(|lasted| lasted >= self.options.reconnect.stable_after);
        let (failure, renewal) = link.auth.take().map_or((None, false), |auth| auth.end());
        drop(link);
        self.shared.router.link_lost(&self.source);
        let freed = self.held.link_lost();
        self.shared.unpark(freed);
        self.shared.unhandled.store(self.held.len(), Ordering::Release);
        let (verdict, error) = match end {
            End::Closed(cause) => {
                let judge = Judge {
                    on: &self.options.reconnect.on,
                    hops: if stable { 0 } else { self.plan.hops },
                    here: self.plan.endpoint(&self.options).ok(),
                    encrypts: self.options.dialer().tls.is_some(),
                    failure: failure.as_ref(),
                };
                (judge.judge(&cause), failure.or_else(|| error_of(&cause)))
            }
            End::Lost(error) => {
                let ConnectError { code, permanent, error } = error.into();
                // TLS 1.3 tells only after the handshake that our certificate is refused.
                let refused = permanent && lasted.is_none();
                let verdict = if refused { Verdict::GiveUp } else { Verdict::Retry };
                let what = if refused { "cannot connect" } else { "connection lost" };
                let error = if lasted.is_none() { unanswered(error, self.scheme()) } else { error };
                let error = self.transport_error(what, code, error);
                (verdict, Some(error.with_temporary(!refused)))
            }
        };
        let error = error.map(|error| self.located(error));
        self.count_end(lasted.is_some(), error.as_ref());
        let asked = !matches!(wish, Wish::Idle | Wish::Connected);
        self.report_end(error.as_ref().filter(|_| !asked));
        if self.shared.lock().abandon_renewal(renewal) {
            self.shared.changed.notify_waiters();
        }
        if stable {
            // Only now: until here the plan says where the connection was.
            self.plan.not_redirected();
        }
        match wish {
            Wish::Removed => self.phase = Phase::Finished,
            Wish::Disconnected(_) => self.rest(SessionStatus::Disconnected),
            Wish::Reconnected => {
                self.fulfil_reconnect();
                self.plan.start_over();
                self.wait(now, Duration::ZERO);
            }
            Wish::Idle | Wish::Connected => {
                let failure = self.shared.lock().storage.failure().cloned();
                match failure.filter(|_| std::mem::take(&mut self.store_failed)) {
                    Some(error) => self.fail_store(error),
                    None => self.after_end(now, verdict, error, lasted),
                }
            }
        }
    }

    /// What comes after a connection that nobody wanted to end.
    fn after_end(
        &mut self,
        now: Instant,
        verdict: Verdict,
        error: Option<Error>,
        lasted: Option<Duration>,
    ) {
        let options = &self.options;
        match verdict {
            Verdict::Follow { endpoints, permanent } => {
                let references: Vec<_> = endpoints.iter().map(Endpoint::to_string).collect();
                let server_reference = references.join(" ");
                self.plan.follow(endpoints, permanent);
                self.shared.emit(EventKind::SessionRedirected { server_reference, permanent });
                if options.auto_reconnect {
                    self.reconnect_after(now, Duration::ZERO);
                } else {
                    self.fail(error);
                }
            }
            Verdict::GiveUp if options.on_refusal == OnRefusal::Retry => {
                self.after_end(now, Verdict::RetrySlowly, error, lasted);
            }
            Verdict::RetrySlowly if options.auto_reconnect => {
                let delay = self.plan.refused(options);
                self.reconnect_after(now, delay);
            }
            Verdict::GiveUp | Verdict::Stop | Verdict::RetrySlowly => self.fail(error),
            // Ours without a wish: the inbound buffer was full, and has room again.
            Verdict::Requested => self.reconnect_after(now, Duration::ZERO),
            Verdict::Retry => match lasted {
                Some(lasted) if options.auto_reconnect => {
                    let delay = self.plan.lost(options, lasted);
                    self.reconnect_after(now, delay);
                }
                _ => self.after_failure(now, error),
            },
        }
    }

    /// An attempt failed, or a connection was lost that is not to come back.
    fn after_failure(&mut self, now: Instant, error: Option<Error>) {
        let opened = matches!(self.phase, Phase::Connecting(_));
        if opened {
            // The end of a link was reported already.
            self.report_end(error.as_ref());
        }
        if self.options.auto_reconnect {
            let delay = self.plan.failed(&self.options);
            self.reconnect_after(now, delay);
        } else {
            self.fail(error);
        }
    }

    fn reconnect_after(&mut self, now: Instant, delay: Duration) {
        let attempt = self.plan.attempt() + 1;
        self.wait(now, delay);
        self.shared.set_status(SessionStatus::Reconnecting { attempt });
        self.shared.emit(EventKind::SessionReconnecting { attempt, delay });
    }

    /// The session stays down until somebody calls.
    pub(super) fn fail(&mut self, error: Option<Error>) {
        let mut state = self.shared.lock();
        if error.is_some() {
            state.last_error = error;
        }
        self.phase = Phase::Resting;
        if state.wish_changed {
            // Somebody called since this turn began: the next one does what they want.
            return;
        }
        state.wish = Wish::Idle;
        drop(state);
        self.shared.set_status(SessionStatus::Failed);
    }

    /// Counts an accepted connection that ended, or an attempt that was not accepted.
    fn count_end(&self, accepted: bool, error: Option<&Error>) {
        if !accepted && error.is_none() {
            // Given up before an answer.
            return;
        }
        let counters = &self.shared.services.counters;
        let counts = if accepted { &counters.disconnects } else { &counters.connects };
        // Without an error we asked for it.
        counts.count(error.map_or(Some(ReasonCode::SUCCESS), Error::reason_code));
    }

    /// Counts and tells the end of a connection or attempt.
    fn report_end(&self, error: Option<&Error>) {
        if let Some(error) = error {
            self.shared.origin.counters.record_error();
            self.shared.lock().last_error = Some(error.clone());
            tracing::debug!(session = %self.shared.name, %error, "connection ended");
        }
        let reason = error.and_then(Error::reason_code);
        self.shared.emit(EventKind::SessionDisconnected { error: error.cloned(), reason });
    }

    fn transport_error(&self, what: &str, code: &'static str, error: io::Error) -> Error {
        let text = format!("{what}: {error}");
        self.located(Error::new(ErrorKind::Connection, text).with_code(code).with_source(error))
    }

    pub(super) fn located(&self, error: Error) -> Error {
        if error.session().is_some() {
            return error;
        }
        error.with_session(&*self.shared.name).with_context("broker", self.broker())
    }

    /// How the broker is reached at which the connection is, or is being made.
    fn scheme(&self) -> Scheme {
        let endpoint = self.plan.endpoint(&self.options);
        endpoint.map_or(Scheme::Tcp, |endpoint| endpoint.scheme())
    }

    /// Where the connection is, or is being made, without credentials.
    fn broker(&self) -> String {
        let endpoint = self.plan.endpoint(&self.options);
        endpoint.map_or_else(|_| String::new(), |endpoint| endpoint.to_string())
    }
}

/// What the end of a connection may mean that comes instead of an answer to CONNECT.
fn unanswered(error: io::Error, scheme: Scheme) -> io::Error {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof => {
            let ask = match scheme {
                Scheme::Tcp => "does it want TLS, or another version of MQTT?",
                Scheme::Tls => "does it want a client certificate, or another version of MQTT?",
                _ => "does it want another version of MQTT?",
            };
            let text = format!("{error}, instead of answering CONNECT: {ask}");
            io::Error::new(error.kind(), text)
        }
        _ => error,
    }
}
