//! mqttx, through its public interface only.

mod control;
mod forward;
mod latency;
mod local;
mod many;
mod publish;
mod receive;

use std::sync::Arc;

use mqttx::{
    FileStore, Outbox, QoS, Session, SessionBuilder, SessionManager, SessionOptions, TlsOptions,
    Version,
};

use self::local::Local;
use crate::child::{LONG, Task};
use crate::contestant::{self, Variant};
use crate::workload::Work;

pub(super) fn run(task: Task) -> Result<(), String> {
    // The plain rows run on what `#[tokio::main]` gives: a worker for each core.
    let runtime = match task.contestant.variant {
        Variant::CurrentThread => {
            tokio::runtime::Builder::new_current_thread().enable_all().build()
        }
        _ => tokio::runtime::Builder::new_multi_thread().enable_all().build(),
    };
    let task = Arc::new(task);
    let work = async move {
        match task.case.work {
            Work::Publish | Work::Durable => publish::run(&task).await,
            Work::Receive => receive::run(&task).await,
            Work::Forward => forward::run(&task).await,
            Work::Latency(_) => latency::run(&task).await,
            Work::Connect => many::connect(&task).await,
            Work::Idle => many::idle(&task).await,
            Work::Metrics => control::metrics(&task).await,
            Work::Lifecycles => control::lifecycles(&task).await,
        }
        .map_err(|error| format!("mqttx: {error}"))
    };
    runtime.expect("a runtime").block_on(work)
}

/// A manager with the connected sessions of the task.
async fn connected(
    task: &Task,
    sessions: usize,
) -> Result<(SessionManager, Vec<Session>), mqttx::Error> {
    let manager = SessionManager::builder().connect_rate(0).build();
    let store =
        (task.contestant.variant == Variant::FileStore).then(|| FileStore::new(task.directory()));
    let local = task.case.local.then(|| Local::shared(task.contestant.version));
    let sessions = (0..sessions)
        .map(|number| {
            let mut options = options(task, number);
            if task.case.work == Work::Durable {
                // A file store would take what is beyond, too: it has room for more than memory.
                let messages = Some(task.case.window.into());
                options = options.outbox(Outbox { messages, ..Outbox::default() });
            }
            if let Some(store) = &store {
                options = options.storage(store.clone());
            }
            let mut options = options.build()?;
            // One for all: what sessions have in common is kept once.
            options.transport = local.clone();
            manager.add_session(options)
        })
        .collect::<Result<Vec<_>, _>>()?;
    manager.wait_for_all_sessions(LONG).await?;
    Ok((manager, sessions))
}

/// The options of a session: the version and the window of the task, everything else by default.
fn options(task: &Task, number: usize) -> SessionBuilder {
    let version = match task.contestant.version {
        contestant::Version::V311 => Version::V311,
        contestant::Version::V5 => Version::V5,
    };
    let authority = task.authority();
    let scheme = if authority.is_some() { "mqtts" } else { "mqtt" };
    let options =
        SessionOptions::quick_connect(format!("s{number}"), format!("{scheme}://{}", task.peer))
            .client_id(format!("s{number}"))
            .protocol(version)
            .max_in_flight(task.case.window);
    let options = match task.case.local_address(number) {
        Some(address) => options.bind(address),
        None => options,
    };
    match authority {
        Some(pem) => options.tls(TlsOptions::new().ca(pem)),
        None => options,
    }
}

fn qos(task: &Task) -> QoS {
    match task.case.qos {
        0 => QoS::AtMostOnce,
        1 => QoS::AtLeastOnce,
        _ => QoS::ExactlyOnce,
    }
}
