//! `mqttx bench conn`: how fast clients connect, and what an idle one costs.

use std::process::ExitCode;
use std::time::Instant;

use super::ConnectArgs;
use super::clients::{Clients, progress};
use super::report::{Connects, Usage};
use crate::client::failure;
use crate::commands::block_on;
use crate::exit::{Failure, Outcome};
use crate::flags::{Connection, PersistFlags};
use crate::signal::StopSignals;

pub(super) fn run(args: ConnectArgs) -> Outcome {
    let connection = Connection::resolve(args.connection, PersistFlags { no_clean: false }, &[])?;
    let (flags, rate, hold) = (args.clients, args.connect_rate, args.hold);
    block_on(async move {
        let mut signals = StopSignals::new()?;
        let (before, start) = (Usage::now(), Instant::now());
        let clients = Clients::start(&flags, &connection, rate)?;
        let bar = progress(flags.clients.into(), "connected");
        let up = |clients: &Clients| {
            clients.sessions.iter().filter(|session| session.is_connected()).count() as u64
        };
        let (connected, missing) = tokio::select! {
            (connected, missing) = clients.connected(&bar) => {
                (connected, missing.map(|error| failure(&error)))
            }
            () = signals.next() => (up(&clients), Some(Failure::runtime("stopped by a signal"))),
        };
        let time = start.elapsed();
        bar.finish_and_clear();
        if let (Some(hold), None) = (hold, &missing) {
            tokio::select! {
                () = tokio::time::sleep(hold) => {}
                () = signals.next() => {}
            }
        }
        let all = u64::from(flags.clients);
        let lost = connected.saturating_sub(up(&clients));
        let errors = all - connected + lost;
        let after = Usage::now();
        clients.stop().await;
        Connects { clients: all, connected, errors, time, before, after }.print(flags.json)?;
        match missing {
            Some(failure) => {
                Err(failure.of(format_args!("{connected} of {all} clients are connected")))
            }
            None if lost > 0 => Err(Failure::runtime(format_args!("{lost} connections were lost"))),
            None => Ok(ExitCode::SUCCESS),
        }
    })
}
