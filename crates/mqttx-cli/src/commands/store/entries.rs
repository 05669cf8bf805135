//! `mqttx store show` and `export`: the state of sessions, a JSON object a line.

use std::collections::HashMap;
use std::process::ExitCode;

use mqttx::proto::{PacketId, Record, Sequence, StoredMessage};
use mqttx::store::Inspection;

use super::list::print;
use super::reader::Reader;
use crate::config::near;
use crate::exit::{Failure, Outcome, warn};
use crate::output::Received;
use crate::output::json::{self, Object};

/// Bytes that are collected before they are written.
const BLOCK: usize = 64 << 10;

/// Prints one session, or all.
pub(super) async fn run(reader: &Reader, name: Option<&str>) -> Outcome {
    let found = reader.inspect().await?;
    for notice in &found.notices {
        warn(format_args!("warning: {}", notice.text));
    }
    let names: Vec<&str> = match name {
        Some(name) => vec![name],
        None => found.sessions.iter().map(|session| session.name.as_str()).collect(),
    };
    for name in names {
        session(reader, name, &found).await?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn session(reader: &Reader, name: &str, found: &Inspection) -> Result<(), Failure> {
    // What became of a message comes after it: the first pass looks for that.
    let mut flights = HashMap::new();
    let mut grants = HashMap::new();
    let known = reader.read(name, &mut |record, _| note(record, &mut flights, &mut grants)).await?;
    if !known {
        let names = found.sessions.iter().map(|session| session.name.as_str());
        return Err(Failure::runtime(near::unknown("session", name, names)));
    }
    let mut out = Vec::with_capacity(BLOCK);
    let mut written = Ok(());
    reader
        .read(name, &mut |record, written_at| {
            if written.is_ok() {
                write(name, record, written_at, &flights, &grants, &mut out);
                if out.len() >= BLOCK {
                    written = print(&out);
                    out.clear();
                }
            }
        })
        .await?;
    written?;
    print(&out)
}

/// A message that was sent.
#[derive(Clone, Copy)]
struct Flight {
    id: PacketId,
    released: bool,
}

type Flights = HashMap<Sequence, Flight>;
type Grants = HashMap<String, u8>;

fn note(record: &Record<'_>, flights: &mut Flights, grants: &mut Grants) {
    match *record {
        Record::Assign { sequence, id, .. } => {
            flights.insert(sequence, Flight { id, released: false });
        }
        Record::Release { sequence } => {
            if let Some(flight) = flights.get_mut(&sequence) {
                flight.released = true;
            }
        }
        Record::Requeue { sequence } | Record::Done { sequence } => {
            flights.remove(&sequence);
        }
        Record::Granted { filter, code } => {
            grants.insert(filter.to_owned(), code.value());
        }
        Record::Epoch { .. } => grants.clear(),
        _ => {}
    }
}

fn write(
    session: &str,
    record: &Record<'_>,
    written_at: Option<u64>,
    flights: &Flights,
    grants: &Grants,
    out: &mut Vec<u8>,
) {
    let mut line = Object::open(out);
    match *record {
        Record::Enqueue { sequence, ref message } => {
            let flight = flights.get(&sequence).copied();
            message_members(session, sequence, message, flight, &mut line);
            line.optional("written_at", written_at);
            line.optional("expires_at", message.expires_at);
            line.optional("give_up_at", message.give_up_at);
        }
        Record::Received { id } => {
            head("received", session, &mut line);
            line.number("packet_id", id.get().into());
        }
        Record::Subscribe { filter, options, identifier, .. } => {
            head("filter", session, &mut line);
            line.text("filter", filter);
            line.number("qos", options.qos as u64);
            line.flag("no_local", options.no_local);
            line.flag("retain_as_published", options.retain_as_published);
            line.number("retain_handling", options.retain_handling as u64);
            line.optional("identifier", identifier.map(u64::from));
            line.optional("granted", grants.get(filter).map(|&code| code.into()));
        }
        Record::Epoch { epoch, broker, client_id } => {
            head("epoch", session, &mut line);
            line.number("epoch", epoch);
            line.text("broker", &format!("{broker:016x}"));
            line.text("client_id", client_id);
        }
        Record::Connecting => head("connecting", session, &mut line),
        // Part of what they are about.
        _ => {
            line.take_back();
            return;
        }
    }
    line.close();
    out.push(b'\n');
}

fn head(kind: &str, session: &str, line: &mut Object<'_>) {
    line.text("type", kind);
    line.text("session", session);
}

fn message_members(
    session: &str,
    sequence: Sequence,
    message: &StoredMessage<'_>,
    flight: Option<Flight>,
    line: &mut Object<'_>,
) {
    line.text("type", "message");
    let received = Received {
        session,
        topic: message.topic,
        payload: message.payload,
        qos: message.qos,
        retain: message.retain,
        dup: flight.is_some_and(|flight| !flight.released),
        packet_id: flight.map(|flight| flight.id.get()),
        properties: message.properties,
    };
    json::members(&received, line);
    let state = match flight {
        None => "queued",
        Some(Flight { released: false, .. }) => "in-flight",
        Some(_) => "released",
    };
    line.text("state", state);
    line.number("sequence", sequence.number());
    line.number("priority", sequence.priority().get().into());
}

#[cfg(test)]
mod tests {
    use mqttx::proto::{Priority, Properties, QoS, ReasonCode, SubscribeOptions};

    use super::*;

    fn lines(records: &[Record<'_>]) -> Vec<String> {
        let (mut flights, mut grants) = (Flights::new(), Grants::new());
        records.iter().for_each(|record| note(record, &mut flights, &mut grants));
        let mut out = Vec::new();
        for record in records {
            write("s", record, Some(5), &flights, &grants, &mut out);
        }
        String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn messages_carry_their_state() {
        let properties = Properties::new();
        let sequence = |number| Sequence::new(Priority::LOWEST, number);
        let enqueue = |number, payload| Record::Enqueue {
            sequence: sequence(number),
            message: StoredMessage {
                topic: "t",
                payload,
                qos: QoS::ExactlyOnce,
                retain: false,
                properties: properties.as_ref(),
                expires_at: Some(9),
                give_up_at: None,
                origin: None,
            },
        };
        let id = |id| PacketId::new(id).unwrap();
        let records = [
            enqueue(1, b"a"),
            enqueue(2, b"b"),
            enqueue(3, b"\xff"),
            Record::Assign { sequence: sequence(1), id: id(7), order: 1 },
            Record::Assign { sequence: sequence(2), id: id(8), order: 2 },
            Record::Release { sequence: sequence(1) },
        ];
        let line = |dup, packet_id, payload, state, number| {
            format!(
                r#"{{"type":"message","session":"s","topic":"t","qos":2,"retain":false,"dup":{dup},"packet_id":{packet_id},"payload{payload},"state":"{state}","sequence":{number},"priority":0,"written_at":5,"expires_at":9,"give_up_at":null}}"#
            )
        };
        assert_eq!(
            lines(&records),
            [
                line(false, "7", r#"":"a""#, "released", 1),
                line(true, "8", r#"":"b""#, "in-flight", 2),
                line(false, "null", r#"_base64":"/w==""#, "queued", 3),
            ]
        );
    }

    #[test]
    fn filters_ids_and_epochs_have_lines_of_their_own() {
        let properties = Properties::new();
        let records = [
            Record::Subscribe {
                filter: "a/#",
                options: SubscribeOptions { qos: QoS::AtLeastOnce, ..SubscribeOptions::default() },
                identifier: Some(3),
                properties: properties.as_ref(),
            },
            Record::Epoch { epoch: 2, broker: 255, client_id: "me" },
            Record::Granted { filter: "a/#", code: ReasonCode::from(1) },
            Record::Received { id: PacketId::new(5).unwrap() },
        ];
        assert_eq!(
            lines(&records),
            [
                r#"{"type":"filter","session":"s","filter":"a/#","qos":1,"no_local":false,"retain_as_published":false,"retain_handling":0,"identifier":3,"granted":1}"#,
                r#"{"type":"epoch","session":"s","epoch":2,"broker":"00000000000000ff","client_id":"me"}"#,
                r#"{"type":"received","session":"s","packet_id":5}"#,
            ]
        );
    }
}
