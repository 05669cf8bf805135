//! Connections: to the server, to the master that the sentinels name, to a node of the cluster.

use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, Pipeline,
    RedisConnectionInfo, Value,
};

use super::address::{Address, Host, Kind};
use super::fault::{Fault, away};
use super::keys::SLOTS;
use crate::error::Error;

/// How long a connection, or an answer without much data, may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes that a second is good for, on the slowest line.
const SLOWEST: usize = 256 << 10;

/// A connection, and where it leads.
#[derive(Clone)]
pub(super) struct Connection {
    pub(super) host: Host,
    inner: MultiplexedConnection,
}

impl Connection {
    /// To `host`, or to the master of it where there are sentinels.
    pub(super) async fn open(address: &Address, host: &Host) -> Result<Self, Fault> {
        match &address.kind {
            Kind::Sentinel { master } => {
                let host = master_of(address, master).await?;
                let mut connection = Self::to(address, &host, true).await?;
                // Sentinels name the old master until they agree about a new one.
                let role = connection.ask(::redis::cmd("ROLE")).await?;
                match role.as_sequence().and_then(|role| text(role.first()?)) {
                    Some("master") => Ok(connection),
                    _ => Err(Fault::Away(away("it is not the master any more", &host))),
                }
            }
            Kind::Single | Kind::Cluster => Self::to(address, host, true).await,
        }
    }

    async fn to(address: &Address, host: &Host, login: bool) -> Result<Self, Fault> {
        let info = info(address, host, login).map_err(Fault::Final)?;
        let config =
            AsyncConnectionConfig::new().set_response_timeout(None).set_connection_timeout(None);
        let connecting = async {
            let client = Client::open(info)?;
            client.get_multiplexed_async_connection_with_config(&config).await
        };
        match tokio::time::timeout(PATIENCE, connecting).await {
            Ok(Ok(inner)) => Ok(Self { host: host.clone(), inner }),
            Ok(Err(error)) => Err(Fault::of_connection(&error, host)),
            Err(_) => Err(Fault::Away(away("it does not answer", host))),
        }
    }

    /// All answers of a pipeline, errors among them.
    pub(super) async fn send(
        &mut self,
        pipeline: &Pipeline,
        bytes: usize,
        patience: Duration,
    ) -> Result<Vec<Value>, Fault> {
        let patience = PATIENCE + patience + Duration::from_secs((bytes / SLOWEST) as u64);
        let answers = self.inner.send_packed_commands(pipeline, 0, pipeline.len());
        match tokio::time::timeout(patience, answers).await {
            Ok(Ok(answers)) if answers.len() == pipeline.len() => Ok(answers),
            Ok(Ok(_)) => Err(Fault::Away(away("answers are missing", &self.host))),
            Ok(Err(error)) => Err(Fault::of_connection(&error, &self.host)),
            Err(_) => Err(Fault::Away(away("it does not answer", &self.host))),
        }
    }

    /// The answer of one command.
    pub(super) async fn ask(&mut self, command: ::redis::Cmd) -> Result<Value, Fault> {
        let mut pipeline = Pipeline::new();
        pipeline.add_command(command);
        match self.send(&pipeline, 0, Duration::ZERO).await?.pop() {
            Some(Value::ServerError(error)) => Err(Fault::of_reply(&error, &self.host)),
            Some(value) => Ok(value),
            None => Err(Fault::Away(away("an answer is missing", &self.host))),
        }
    }
}

/// The cryptography that brokers are reached with, too: the feature `aws-lc-rs` chooses its own, else it is ring's.
fn provider() -> rustls::crypto::CryptoProvider {
    #[cfg(feature = "aws-lc-rs")]
    return rustls::crypto::aws_lc_rs::default_provider();
    #[cfg(not(feature = "aws-lc-rs"))]
    rustls::crypto::ring::default_provider()
}

fn info(address: &Address, host: &Host, login: bool) -> Result<ConnectionInfo, Error> {
    let (name, port) = (host.name.clone(), host.port);
    let target = if address.tls {
        // Without a default, the TLS library does not know by which means to encrypt.
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            let _ = provider().install_default();
        }
        ConnectionAddr::TcpTls { host: name, port, insecure: false, tls_params: None }
    } else {
        ConnectionAddr::Tcp(name, port)
    };
    let mut settings = RedisConnectionInfo::default().set_skip_set_lib_name();
    if login {
        settings = settings.set_db(i64::from(address.database));
        if let Some(password) = &address.password {
            let password = str::from_utf8(password.expose())
                .map_err(|_| Error::config("the password of the Redis store is not UTF-8"))?;
            settings = settings.set_password(password);
        }
        if let Some(username) = &address.username {
            settings = settings.set_username(username);
        }
    }
    let info = target.into_connection_info();
    info.map(|info| info.set_redis_settings(settings)).map_err(|error| {
        Error::config(format!("the address of the Redis store cannot be used: {error}"))
    })
}

/// Asks one sentinel after the other.
async fn master_of(address: &Address, master: &str) -> Result<Host, Fault> {
    let mut fault = Fault::Away(away("there is no sentinel", &address.hosts[0]));
    for sentinel in &address.hosts {
        match ask_sentinel(address, sentinel, master).await {
            Ok(host) => return Ok(host),
            Err(failed) => fault = failed,
        }
    }
    Err(fault)
}

async fn ask_sentinel(address: &Address, sentinel: &Host, master: &str) -> Result<Host, Fault> {
    let mut command = ::redis::cmd("SENTINEL");
    command.arg("get-master-addr-by-name").arg(master);
    let mut connection = Connection::to(address, sentinel, false).await?;
    let answer = match connection.ask(command.clone()).await {
        // This sentinel wants to know who asks.
        Err(Fault::Final(_)) if address.password.is_some() => {
            let plain = Address { database: 0, ..address.clone() };
            Connection::to(&plain, sentinel, true).await?.ask(command).await?
        }
        answer => answer?,
    };
    let found = answer.as_sequence().and_then(|answer| {
        let port = text(answer.get(1)?)?.parse().ok()?;
        Some(Host { name: text(answer.first()?)?.to_owned(), port })
    });
    found.ok_or_else(|| {
        Fault::Away(away(&format!("this sentinel knows no master {master}"), sentinel))
    })
}

/// Which node has which slots.
#[derive(Clone, Debug, Default)]
pub(super) struct SlotMap {
    /// First and last slot, and the master of them.
    ranges: Vec<(u16, u16, Host)>,
}

impl SlotMap {
    pub(super) fn node(&self, slot: u16) -> Option<&Host> {
        let range = self.ranges.iter().find(|(first, last, _)| (*first..=*last).contains(&slot));
        range.map(|(.., host)| host)
    }

    pub(super) fn nodes(&self) -> Vec<Host> {
        let mut hosts: Vec<Host> = self.ranges.iter().map(|(.., host)| host.clone()).collect();
        hosts.sort_unstable();
        hosts.dedup();
        hosts
    }

    /// Asks one node after the other.
    pub(super) async fn load(address: &Address, hosts: &[Host]) -> Result<Self, Fault> {
        let mut fault = Fault::Away(away("there is no node", &address.hosts[0]));
        for host in hosts {
            match Self::ask(address, host).await {
                Ok(slots) => return Ok(slots),
                Err(failed) => fault = failed,
            }
        }
        Err(fault)
    }

    async fn ask(address: &Address, host: &Host) -> Result<Self, Fault> {
        let mut command = ::redis::cmd("CLUSTER");
        command.arg("SLOTS");
        let answer = Connection::to(address, host, true).await?.ask(command).await?;
        let ranges = answer.as_sequence().unwrap_or_default();
        let ranges: Vec<_> = ranges.iter().filter_map(|range| Self::range(range, host)).collect();
        if ranges.is_empty() {
            return Err(Fault::Away(away("it knows no slots of its cluster", host)));
        }
        Ok(Self { ranges })
    }

    fn range(range: &Value, asked: &Host) -> Option<(u16, u16, Host)> {
        let range = range.as_sequence()?;
        let number = |value: Option<&Value>| match value {
            Some(Value::Int(number)) => u16::try_from(*number).ok(),
            _ => None,
        };
        let master = range.get(2)?.as_sequence()?;
        // A node that does not know its own address leaves it out.
        let name = text(master.first()?)
            .filter(|name| !name.is_empty() && *name != "?")
            .unwrap_or(&asked.name);
        let host = Host { name: name.to_owned(), port: number(master.get(1))? };
        let (first, last) = (number(range.first())?, number(range.get(1))?);
        (first <= last && last < SLOTS).then_some((first, last, host))
    }
}

pub(super) fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}
