//! `mqttx store`: what is in a store. It only reads.

mod entries;
mod list;
mod reader;
mod verify;

use clap::Subcommand;

use super::block_on;
use crate::exit::{Failure, Outcome};
use crate::stores::StoreUrl;
use reader::Reader;

/// Show what is in a store, without changing it
///
/// STORE is the directory of a file store, or redis://HOST[:PORT][/DB]. A directory that a
/// process uses is refused, unless --read-anyway.
///
/// Examples:
///   mqttx store ls /var/lib/gateway
///   mqttx store show plant /var/lib/gateway
///   mqttx store verify /var/lib/gateway && cp -a /var/lib/gateway /backup
#[derive(clap::Args, Clone, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Clone, Debug)]
enum Command {
    /// List the sessions: how much waits, how old, how large
    Ls(Where),
    /// Print the state of one session, a JSON object a line
    Show(One),
    /// Print the state of one session or of all, a JSON object a line
    #[command(override_usage = "mqttx store export [OPTIONS] [NAME] <STORE>")]
    Export(OneOrAll),
    /// Check every record; ends with 0 if nothing is damaged, else with 1
    Verify(Where),
}

/// A store.
#[derive(clap::Args, Clone, Debug)]
struct Where {
    /// A directory, or redis://HOST[:PORT][/DB]
    #[arg(value_name = "STORE", value_parser = parse_place)]
    store: StoreUrl,

    #[command(flatten)]
    how: How,
}

/// A session in a store.
#[derive(clap::Args, Clone, Debug)]
struct One {
    /// The session: a client id, or its name in the daemon's file
    #[arg(value_name = "NAME", allow_hyphen_values = true)]
    name: String,

    /// A directory, or redis://HOST[:PORT][/DB]
    #[arg(value_name = "STORE", value_parser = parse_place)]
    store: StoreUrl,

    #[command(flatten)]
    how: How,
}

/// A session in a store, or all.
#[derive(clap::Args, Clone, Debug)]
struct OneOrAll {
    /// The session (all of them without a name), then a directory, or redis://HOST[:PORT][/DB]
    #[arg(value_names = ["NAME", "STORE"], num_args = 1..=2, required = true, action = clap::ArgAction::Set)]
    words: Vec<String>,

    #[command(flatten)]
    how: How,
}

#[derive(clap::Args, Clone, Copy, Debug)]
struct How {
    /// Write JSON, as show and export always do
    #[arg(long)]
    json: bool,

    /// Also read a directory that a process uses; what is being written is seen in part
    #[arg(long)]
    read_anyway: bool,
}

/// A directory needs no `file:` here.
fn parse_place(text: &str) -> Result<StoreUrl, String> {
    if text.is_empty() {
        Err("the directory is missing".to_owned())
    } else if text.starts_with("file:") || text.contains("://") {
        StoreUrl::parse(text)
    } else {
        Ok(StoreUrl::File(text.into()))
    }
}

/// Runs one of the subcommands.
pub(crate) fn run(args: Args) -> Outcome {
    block_on(async move {
        match args.command {
            Command::Ls(Where { store, how }) => list::run(&open(&store, how)?, how.json).await,
            Command::Verify(Where { store, how }) => {
                verify::run(&open(&store, how)?, how.json).await
            }
            Command::Show(One { name, store, how }) => {
                entries::run(&open(&store, how)?, Some(&name)).await
            }
            Command::Export(OneOrAll { words, how }) => {
                let (name, place) = match words.as_slice() {
                    [place] => (None, place),
                    [name, place] => (Some(name.as_str()), place),
                    _ => return Err(Failure::usage("export takes a name and a store, or a store")),
                };
                let store = parse_place(place).map_err(Failure::usage)?;
                entries::run(&open(&store, how)?, name).await
            }
        }
    })
}

fn open(store: &StoreUrl, how: How) -> Result<Reader, Failure> {
    Reader::new(store, how.read_anyway)
}
