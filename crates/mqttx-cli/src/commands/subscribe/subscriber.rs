//! The run of `sub`: filters out, messages in.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use mqttx::proto::{QoS, ReasonCode, split_shared};
use mqttx::{Error, Route, Session};
use tokio::time::Instant;

use super::Plan;
use super::printer::Printer;
use crate::client::{Client, Notice, failure, say_dropped};
use crate::exit::{Failure, Outcome, TIMED_OUT, warn};
use crate::signal::StopSignals;

/// How long the server has to finish a QoS 2 flow after the last message.
const LAST_FLOW: Duration = Duration::from_secs(10);

/// How long a message that is being printed may delay the end.
const LAST_LINE: Duration = Duration::from_millis(500);

/// Subscribes what the plan says and prints what comes.
pub(super) struct Subscriber {
    plan: Arc<Plan>,
    client: Client,
    printer: Arc<Printer>,
    routes: Vec<Route>,
    /// Refused filters leave; with the last one the command ends.
    wanted: BTreeSet<String>,
    /// Refusals that were not said yet.
    refusals: Vec<Refusal>,
}

struct Refusal {
    filter: String,
    reason: ReasonCode,
    text: Option<String>,
}

/// Why the command ends well.
enum End {
    Signal,
    Complete,
    Answered,
    TimeIsOver,
}

impl Subscriber {
    pub(super) fn new(plan: Plan) -> Result<Self, Failure> {
        let client = Client::new(&plan.connection)?;
        let printer = Arc::new(Printer::new(&plan.style, plan.retained, plan.count));
        let routes = everything(&plan.filters)
            .iter()
            .map(|filter| route(client.session(), filter, &printer))
            .collect::<Result<_, _>>()
            .map_err(|error| failure(&error))?;
        let wanted = plan.filters.iter().cloned().collect();
        Ok(Self { plan: Arc::new(plan), client, printer, routes, wanted, refusals: Vec::new() })
    }

    pub(super) async fn run(mut self, mut signals: StopSignals) -> Outcome {
        let mut time = std::pin::pin!(until(self.plan.wait));
        let result = tokio::select! {
            biased;
            () = signals.next() => Ok(End::Signal),
            end = self.receive() => end,
            () = &mut time => Ok(End::TimeIsOver),
        };
        let result = match result {
            Err(failure) => self.print_rest(failure).await,
            end => end,
        };
        self.stop_printing().await;
        let outcome = match result {
            Ok(End::Complete) => tokio::select! {
                () = signals.next() => Ok(ExitCode::SUCCESS),
                () = &mut time => Ok(ExitCode::from(TIMED_OUT)),
                finished = self.last_flow() => finished.map(|()| ExitCode::SUCCESS),
            },
            Ok(End::Signal | End::Answered) => Ok(ExitCode::SUCCESS),
            Ok(End::TimeIsOver) => Ok(ExitCode::from(TIMED_OUT)),
            Err(failure) => Err(failure),
        };
        self.client.disconnect().await;
        // Only now: a message in the queue of a route that is gone counts as handled.
        self.routes.clear();
        // Refusals that came together with the last message.
        for refusal in self.client.refusals() {
            self.noticed(refusal)?;
        }
        self.judge_refusals()?;
        outcome
    }

    async fn receive(&mut self) -> Result<End, Failure> {
        let printer = Arc::clone(&self.printer);
        let mut finished = std::pin::pin!(printer.finished());
        let asking = ask(self.client.session().clone(), Arc::clone(&self.plan));
        let mut asking = std::pin::pin!(asking);
        let (mut answered, mut ready) = (false, false);
        loop {
            // Refusals are told before the session is ready, and not always before the answer is here.
            if answered && ready && self.plan.exit_after_subscribe {
                return Ok(End::Answered);
            }
            tokio::select! {
                biased;
                result = &mut finished => return result.map(|()| End::Complete),
                notice = self.client.notice() => {
                    ready |= matches!(notice, Notice::Ready);
                    self.noticed(notice)?;
                }
                outcome = &mut asking, if !answered => {
                    answered = true;
                    outcome.map_err(|error| failure(&error))?;
                }
            }
        }
    }

    fn noticed(&mut self, notice: Notice) -> Result<(), Failure> {
        match notice {
            Notice::Ended(failure) => Err(failure),
            Notice::Connected | Notice::MessageRefused { .. } => Ok(()),
            Notice::MessagesDropped { count, reason, topic } => {
                say_dropped(count, reason, topic.as_deref());
                Ok(())
            }
            Notice::Ready => self.judge_refusals(),
            Notice::FilterRefused { filter, reason, text } => {
                self.refusals.push(Refusal { filter, reason, text });
                Ok(())
            }
        }
    }

    /// Says what was refused; an error when nothing is left.
    fn judge_refusals(&mut self) -> Result<(), Failure> {
        let refusals = std::mem::take(&mut self.refusals);
        let Some(first) = refusals.first() else { return Ok(()) };
        for refusal in &refusals {
            self.wanted.remove(&refusal.filter);
        }
        if self.wanted.is_empty() {
            let failure = Failure::refused(first.reason, first.text());
            return Err(match refusals.len() {
                1 => failure,
                all => failure.and(format_args!("refused in all: {all} filters")),
            });
        }
        for refusal in &refusals {
            warn(format_args!("warning: {}", refusal.text()));
        }
        Ok(())
    }

    /// Waits until what was printed is acknowledged to the end, over reconnects.
    async fn last_flow(&mut self) -> Result<(), Failure> {
        let session = self.client.session().clone();
        let mut finished = std::pin::pin!(session.wait_released(LAST_FLOW));
        loop {
            tokio::select! {
                biased;
                result = &mut finished => return result.map_err(|error| {
                    failure(&error).of("the last message is printed, but its acknowledgement is not finished")
                }),
                notice = self.client.notice() => if let Notice::Ended(failure) = notice {
                    return Err(failure);
                },
            }
        }
    }

    /// Prints what arrived before the session ended. If that was all that was asked for, and nothing
    /// of it needs an acknowledgement, the end is a good one.
    async fn print_rest(&self, failure: Failure) -> Result<End, Failure> {
        let printing = || self.routes.iter().any(has_unprinted);
        wait_while(printing).await;
        let acknowledged = self.plan.options.qos == QoS::AtMostOnce;
        if acknowledged && self.printer.is_complete() { Ok(End::Complete) } else { Err(failure) }
    }

    async fn stop_printing(&self) {
        wait_while(|| !self.printer.stop()).await;
    }
}

/// Whether messages wait, or one is in the printer's hands.
fn has_unprinted(route: &Route) -> bool {
    let stats = route.stats();
    stats.received > stats.handled + stats.filtered + stats.dropped + stats.failed
}

impl Refusal {
    fn text(&self) -> String {
        let text = self.text.as_deref().map_or_else(String::new, |text| format!(": {text}"));
        format!("filter '{}' refused: {}{text}", self.filter, self.reason)
    }
}

/// All filters in one SUBSCRIBE, all of `-U` in one UNSUBSCRIBE, both asked for before the connection
/// is.
async fn ask(session: Session, plan: Arc<Plan>) -> Result<(), Error> {
    let properties = &plan.connection.properties;
    let subscribe = async {
        let filters: Vec<_> = plan.filters.iter().map(|f| (f.as_str(), plan.options)).collect();
        if !filters.is_empty() {
            session.subscribe_many(&filters, properties.subscribe.as_ref()).await?;
        }
        Ok(())
    };
    let unsubscribe = async {
        let filters: Vec<_> = plan.unsubscribe.iter().map(String::as_str).collect();
        if filters.is_empty() {
            return Ok(());
        }
        let codes = session.unsubscribe_many(&filters, properties.unsubscribe.as_ref()).await?;
        for (filter, code) in filters.iter().zip(codes).filter(|(_, code)| code.is_error()) {
            warn(format_args!("warning: -U '{filter}' refused: {code}"));
        }
        Ok(())
    };
    let connect = async {
        session.connect();
        Ok::<_, Error>(())
    };
    tokio::try_join!(biased; subscribe, unsubscribe, connect).map(|_| ())
}

/// A route for whatever the server sends: a kept session may have more subscriptions than this
/// command line.
fn route(session: &Session, filter: &str, printer: &Arc<Printer>) -> Result<Route, Error> {
    let printer = Arc::clone(printer);
    session
        .route(filter)
        .subscribe(false)
        .manual_ack(true)
        .handle(move |message| printer.handle(message))
}

/// Filters that match every topic once: wildcards leave out topics that begin with `$`
/// `[MQTT-4.7.2-1]`, so each such tree that is asked for has a filter of its own.
fn everything(filters: &[String]) -> BTreeSet<String> {
    let mut all = BTreeSet::from(["#".to_owned()]);
    for filter in filters {
        let filter = split_shared(filter).map_or(filter.as_str(), |shared| shared.filter);
        let first = filter.split('/').next().unwrap_or_default();
        if first.starts_with('$') {
            all.insert(format!("{first}/#"));
        }
    }
    all
}

/// Waits until the printer has done its part; a stalled stdout must not keep the command.
async fn wait_while(busy: impl Fn() -> bool) {
    let idle = async {
        while busy() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let _ = tokio::time::timeout(LAST_LINE, idle).await;
}

async fn until(wait: Option<Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep_until(Instant::now() + wait).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::everything;

    #[test]
    fn every_topic_has_exactly_one_route() {
        let filters = ["a/+", "$SYS/a", "$share/g/$SYS/b", "$share/g/x/#", "$own/#", "#"];
        let all = everything(&filters.map(str::to_owned));
        assert_eq!(all.into_iter().collect::<Vec<_>>(), ["#", "$SYS/#", "$own/#"]);
    }
}
