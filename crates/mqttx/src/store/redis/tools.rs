//! Looking into a store, over connections of one's own.

use std::collections::BTreeMap;

use ::redis::{Pipeline, Value};
use mqttx_proto::Record;

use super::address::{Host, Kind};
use super::connect::{Connection, SlotMap, text};
use super::fault::{Fault, away};
use super::keys::Keys;
use super::opened::{Parts, bytes, list, messages_of, pairs, time_of};
use super::settings::Settings;
use crate::error::Error;
use crate::store::inspect::{Inspection, StoredSession};

/// Sessions whose figures are asked for at once.
const AT_ONCE: usize = 200;

pub(super) async fn inspect(settings: &Settings) -> Result<Inspection, Error> {
    settings.check()?;
    let mut inspection = Inspection::default();
    for host in masters(settings).await? {
        let mut connection = connect(settings, &host).await?;
        let names = sessions(settings, &mut connection).await?;
        for names in names.chunks(AT_ONCE) {
            let found = figures(settings, &mut connection, names).await?;
            inspection.sessions.extend(found);
        }
    }
    inspection.sessions.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    inspection.sessions.dedup_by(|one, other| one.name == other.name);
    inspection.bytes = inspection.sessions.iter().map(|session| session.bytes).sum();
    Ok(inspection)
}

pub(super) async fn read(
    settings: &Settings,
    session: &str,
    visit: &mut (dyn FnMut(&Record<'_>, Option<u64>) + Send),
) -> Result<bool, Error> {
    settings.check()?;
    let keys = Keys::new(&settings.prefix, session);
    let host = match settings.address.kind {
        Kind::Cluster => {
            let slots = slots(settings).await?;
            slots.node(keys.slot()).cloned().unwrap_or_else(|| settings.address.hosts[0].clone())
        }
        _ => settings.address.hosts[0].clone(),
    };
    let mut connection = connect(settings, &host).await?;
    let mut pipeline = Pipeline::new();
    // One picture of the session, not one of each key.
    pipeline.cmd("MULTI");
    let [state, messages, queue, assigned, received, filters] = keys.all();
    for (command, key) in [
        ("HGETALL", state),
        ("HGETALL", messages),
        ("ZCARD", queue),
        ("HGETALL", assigned),
        ("SMEMBERS", received),
        ("HGETALL", filters),
    ] {
        pipeline.cmd(command).arg(key);
    }
    pipeline.cmd("EXEC");
    let answer = send(&mut connection, &pipeline).await?.pop().unwrap_or_default();
    let Ok([state, messages, _, assigned, received, filters]) =
        <[Value; 6]>::try_from(list(answer))
    else {
        return Err(Error::store("Redis does not show the session").with_session(session));
    };
    let parts = Parts {
        known: true,
        state: pairs(state).into_iter().collect(),
        messages: messages_of(messages),
        assigned: pairs(assigned).into_iter().map(|(_, assignment)| assignment).collect(),
        received: list(received).into_iter().map(bytes).collect(),
        filters: pairs(filters),
        ..Parts::default()
    };
    if parts.state.is_empty() {
        return Ok(false);
    }
    let times: BTreeMap<_, _> =
        parts.messages.iter().map(|(sequence, stored)| (*sequence, time_of(stored))).collect();
    for record in parts.records(&mut Vec::new()).iter().flatten() {
        let time = match record {
            Record::Enqueue { sequence, .. } => times.get(&sequence).copied().flatten(),
            _ => None,
        };
        visit(&record, time);
    }
    Ok(true)
}

async fn connect(settings: &Settings, host: &Host) -> Result<Connection, Error> {
    Connection::open(&settings.address, host).await.map_err(|fault| error_of(fault, host))
}

async fn send(connection: &mut Connection, pipeline: &Pipeline) -> Result<Vec<Value>, Error> {
    let answers = connection.send(pipeline, 0, std::time::Duration::from_secs(60)).await;
    let host = connection.host.clone();
    let answers = answers.map_err(|fault| error_of(fault, &host))?;
    let refused = answers.iter().find_map(|answer| match answer {
        Value::ServerError(error) => Some(error_of(Fault::of_reply(error, &host), &host)),
        _ => None,
    });
    refused.map_or(Ok(answers), Err)
}

fn error_of(fault: Fault, host: &Host) -> Error {
    match fault {
        Fault::Final(error) | Fault::Away(error) => error,
        other => away(&format!("{other:?}"), host),
    }
}

async fn slots(settings: &Settings) -> Result<SlotMap, Error> {
    let hosts = &settings.address.hosts;
    SlotMap::load(&settings.address, hosts).await.map_err(|fault| error_of(fault, &hosts[0]))
}

async fn masters(settings: &Settings) -> Result<Vec<Host>, Error> {
    match settings.address.kind {
        Kind::Cluster => Ok(slots(settings).await?.nodes()),
        _ => Ok(vec![settings.address.hosts[0].clone()]),
    }
}

async fn sessions(settings: &Settings, connection: &mut Connection) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    let mut cursor = "0".to_owned();
    loop {
        let mut pipeline = Pipeline::new();
        let pattern = Keys::pattern(&settings.prefix);
        pipeline.cmd("SCAN").arg(&cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(1000);
        let answer = send(connection, &pipeline).await?.pop().unwrap_or_default();
        let mut answer = list(answer).into_iter();
        cursor = answer.next().as_ref().and_then(text).unwrap_or("0").to_owned();
        let keys = list(answer.next().unwrap_or_default()).into_iter().map(bytes);
        let keys = keys.filter_map(|key| String::from_utf8(key).ok());
        names.extend(keys.filter_map(|key| Keys::session_of(&settings.prefix, &key)));
        if cursor == "0" {
            names.sort_unstable();
            names.dedup();
            return Ok(names);
        }
    }
}

async fn figures(
    settings: &Settings,
    connection: &mut Connection,
    names: &[String],
) -> Result<Vec<StoredSession>, Error> {
    let mut pipeline = Pipeline::new();
    for name in names {
        let keys = Keys::new(&settings.prefix, name);
        let [_, _, queue, assigned, received, filters] = keys.all();
        pipeline.cmd("ZCARD").arg(queue).cmd("HLEN").arg(assigned).cmd("SCARD").arg(received);
        pipeline.cmd("HKEYS").arg(filters).cmd("HKEYS").arg(assigned);
        for priority in 0..4_u8 {
            let end = if priority < 3 { vec![b'(', (priority + 1) << 6] } else { vec![b'+'] };
            let first =
                pipeline.cmd("ZRANGEBYLEX").arg(queue).arg(&[b'[', priority << 6][..]).arg(end);
            first.arg("LIMIT").arg(0).arg(1);
        }
    }
    let mut answers = send(connection, &pipeline).await?.into_iter();
    let mut found = Vec::new();
    let mut oldest = Vec::new();
    for name in names {
        let mut next = || answers.next().unwrap_or_default();
        let mut number = || if let Value::Int(number) = next() { number as u64 } else { 0 };
        let (queued, in_flight, received) = (number(), number(), number());
        let filters = list(next()).into_iter().map(bytes);
        let subscriptions = filters.filter(|field| field.first() == Some(&b's')).count() as u64;
        let mut first: Vec<Vec<u8>> = list(next()).into_iter().map(bytes).collect();
        (0..4).for_each(|_| first.extend(list(next()).into_iter().map(bytes)));
        oldest.push(first);
        let name = name.clone();
        found.push(StoredSession {
            name,
            queued,
            in_flight,
            received,
            subscriptions,
            bytes: 0,
            oldest_unix_ms: None,
        });
    }
    ages_and_sizes(settings, connection, &mut found, &oldest).await?;
    Ok(found)
}

/// The first message of each lane and those in flight are the oldest. A server that does not tell sizes leaves them at 0.
async fn ages_and_sizes(
    settings: &Settings,
    connection: &mut Connection,
    sessions: &mut [StoredSession],
    oldest: &[Vec<Vec<u8>>],
) -> Result<(), Error> {
    let mut pipeline = Pipeline::new();
    for (session, oldest) in sessions.iter().zip(oldest) {
        let keys = Keys::new(&settings.prefix, &session.name);
        for key in keys.all() {
            pipeline.cmd("MEMORY").arg("USAGE").arg(key);
        }
        for name in oldest {
            pipeline.cmd("HGET").arg(&keys.all()[1]).arg(&name[..]);
        }
    }
    let patience = std::time::Duration::from_secs(60);
    let answers = connection.send(&pipeline, 0, patience).await;
    let mut answers = answers.map_err(|fault| error_of(fault, &connection.host))?.into_iter();
    for (session, oldest) in sessions.iter_mut().zip(oldest) {
        for answer in answers.by_ref().take(6) {
            session.bytes += if let Value::Int(bytes) = answer { bytes as u64 } else { 0 };
        }
        let times =
            answers.by_ref().take(oldest.len()).filter_map(|answer| time_of(&bytes(answer)));
        session.oldest_unix_ms = times.min();
    }
    Ok(())
}
