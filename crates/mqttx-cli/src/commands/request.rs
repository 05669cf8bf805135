//! `mqttx rr`: a request and its response.

use std::cell::OnceCell;
use std::process::ExitCode;
use std::time::Duration;

use clap::ArgGroup;
use mqttx::proto::{Properties, QoS, Version, validate_topic};
use mqttx::{Error, Message, Publish, Route, Session};
use tokio::time::Instant;

use crate::client::{Client, Notice, failure, say_dropped};
use crate::commands::block_on;
use crate::exit::{Failure, Outcome, TIMED_OUT};
use crate::flags::{
    Connection, ConnectionFlags, Packet, PayloadFlags, PersistFlags, StyleFlags, parse_qos,
    parse_seconds,
};
use crate::output;
use crate::signal::StopSignals;

/// How long the last acknowledgements may take once the response is there.
const LAST_FLOW: Duration = Duration::from_secs(2);

/// Longer than any command runs.
const FOREVER: Duration = Duration::from_secs(10 * 365 * 86_400);

/// Send a request and print its response (MQTT 5)
///
/// Subscribes the response topic, publishes the request with it and with correlation data, and prints the
/// message that comes back with the same correlation data. Ends with 0 then, with 27 when the time of -W is
/// over.
///
/// Example:
///   mqttx rr -h broker -t recipes/get -e answers/to/me -m 17 -q 1 -W 5
#[derive(clap::Args, Clone, Debug)]
#[command(verbatim_doc_comment)]
#[command(group = ArgGroup::new("payload").args(PayloadFlags::NAMES).required(true))]
pub(crate) struct Args {
    /// Topic of the request; may also stand in the URL
    #[arg(short = 't', long, value_name = "TOPIC", allow_hyphen_values = true)]
    topic: Option<String>,

    /// Topic to which the response is to be published
    #[arg(short = 'e', long, value_name = "TOPIC", allow_hyphen_values = true)]
    response_topic: String,

    #[command(flatten)]
    payload: PayloadFlags,

    /// Delivery guarantee of request and response: 0 at most once, 1 at least once, 2 exactly once
    #[arg(short = 'q', long, value_name = "QOS", default_value = "0", value_parser = parse_qos)]
    qos: QoS,

    /// The server keeps the request for later subscribers
    #[arg(short = 'r', long)]
    retain: bool,

    /// End with 27 after so many seconds without a response
    #[arg(short = 'W', long, value_name = "SECS", value_parser = parse_seconds)]
    wait: Option<Duration>,

    #[command(flatten)]
    style: StyleFlags,

    #[command(flatten)]
    persist: PersistFlags,

    #[command(flatten)]
    connection: ConnectionFlags,
}

/// What is to be asked, and over which connection.
#[derive(Debug)]
struct Plan {
    request: Publish,
    response_topic: String,
    wait: Option<Duration>,
    style: StyleFlags,
    connection: Connection,
}

impl Args {
    /// Checks what does not need a connection.
    fn check(self) -> Result<Plan, Failure> {
        let connection = Connection::resolve(self.connection, self.persist, &[Packet::Publish])?;
        if connection.version == Version::V311 {
            return Err(Failure::usage(
                "rr needs MQTT 5: 3.1.1 has no response topic and no correlation data",
            ));
        }
        let Some(topic) = self.topic.or_else(|| connection.topic.clone()) else {
            return Err(Failure::usage("the topic is missing: give -t, or one in the URL"));
        };
        for (flag, topic) in [("-t", &topic), ("-e", &self.response_topic)] {
            validate_topic(topic)
                .map_err(|error| Failure::usage(format_args!("{flag} '{topic}': {error}")))?;
        }
        let properties = connection.properties.publish.clone();
        check_response_topic(&properties)?;
        let request = Publish::new(topic, self.payload.read()?)
            .qos(self.qos)
            .retain(self.retain)
            .properties(properties);
        Ok(Plan {
            request,
            response_topic: self.response_topic,
            wait: self.wait,
            style: self.style,
            connection,
        })
    }
}

fn check_response_topic(properties: &Properties) -> Result<(), Failure> {
    if properties.as_ref().response_topic().is_some() {
        return Err(Failure::usage("-e and -D publish response-topic say the same: give -e"));
    }
    Ok(())
}

/// Asks, and prints the answer.
pub(crate) fn run(args: Args) -> Outcome {
    let plan = args.check()?;
    block_on(async move {
        let signals = StopSignals::new()?;
        let client = Client::new(&plan.connection)?;
        exchange(client, plan, signals).await
    })
}

async fn exchange(mut client: Client, plan: Plan, mut signals: StopSignals) -> Outcome {
    let session = client.session().clone();
    let _others = leave_alone(&client, &plan.response_topic)?;
    let topic = plan.request.topic.clone();
    // The response topic stays subscribed until the connection ends.
    let requester = OnceCell::new();
    let asking = async {
        // Asked for before the connection is, so that it comes first.
        let granted = session.requester(&plan.response_topic, plan.request.qos);
        let connected = async { session.connect() };
        let (granted, ()) = tokio::join!(biased; granted, connected);
        let requester = requester.get_or_init(|| granted);
        let requester = requester.as_ref().map_err(Error::clone)?;
        requester.request(plan.request, FOREVER).await
    };
    let mut asking = std::pin::pin!(asking);
    let mut waiting = std::pin::pin!(until(plan.wait));
    let timeout = plan.connection.timeout;
    let mut all_time = std::pin::pin!(until(timeout));
    let outcome = loop {
        tokio::select! {
            biased;
            () = signals.next() => {
                let text = format!("stopped without a response, topic {topic}");
                break Err(Failure::runtime(text));
            }
            answer = &mut asking => break match answer {
                Ok(response) => print(&response, &plan.style).map(|()| ExitCode::SUCCESS),
                Err(error) => Err(failure(&error)),
            },
            () = &mut waiting => break Ok(ExitCode::from(TIMED_OUT)),
            () = &mut all_time => break Err(out_of_time(&session, timeout, &topic)),
            notice = client.notice() => match notice {
                Notice::Ended(failure) => break Err(failure),
                Notice::MessagesDropped { count, reason, topic } => {
                    say_dropped(count, reason, topic.as_deref());
                }
                _ => {}
            },
        }
    };
    if outcome.as_ref().is_ok_and(|code| *code == ExitCode::SUCCESS) {
        // Acknowledgements are finished both ways before the connection ends. The response was printed: a
        // server that does not finish is not waited for.
        let _ = tokio::join!(session.flush(LAST_FLOW), session.wait_released(LAST_FLOW));
    }
    client.disconnect().await;
    outcome
}

fn out_of_time(session: &Session, timeout: Option<Duration>, topic: &str) -> Failure {
    let seconds = timeout.unwrap_or_default().as_secs_f64();
    let text = format!("no response within {seconds} s, topic {topic}");
    match session.last_error() {
        Some(last) if !session.is_connected() => Failure::runtime(format_args!("{text}: {last}")),
        _ => Failure::runtime(text),
    }
}

/// What a kept session brings besides is not ours to acknowledge: the server keeps it.
fn leave_alone(client: &Client, response_topic: &str) -> Result<Route, Failure> {
    let response_topic = response_topic.to_owned();
    let others = client.session().route("#").subscribe(false).manual_ack(true);
    let others = others.inline(move |message| {
        if message.topic() == response_topic {
            message.ack();
        }
    });
    others.map_err(|error| failure(&error))
}

fn print(response: &Message, style: &StyleFlags) -> Result<(), Failure> {
    output::print_message(response, &style.style(), style.no_newline, &mut Vec::new())
}

async fn until(wait: Option<Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep_until(Instant::now() + wait).await,
        None => std::future::pending().await,
    }
}
