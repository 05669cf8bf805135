//! Private test peers for mqttx: brokers to test against, none of which shares code with mqttx.
//!
//! | peer | for |
//! |---|---|
//! | [`ScriptedBroker`] | byte for byte what a broker sends and expects |
//! | [`Mosquitto`] | the widespread broker, as a process that can be killed and restarted |
//! | [`Redis`], [`RedisSentinel`], [`RedisCluster`] | a store as processes that can be killed, frozen and restarted |
//! | `InProcessBroker` (feature `in-process`) | a second, independent broker without a process |
//! | [`WebSocketFront`], [`UnixFront`] | another way to one of these peers |
//! | [`HttpProxy`], [`SocksProxy`] | proxies, which tell what they were asked for |
//! | [`ClosedPort`] | a port where nobody listens |
//! | [`Cutter`] | a connection that ends after any byte |
//! | [`TlsFront`] | TLS in front of any of these, with certificates of a [`Pki`] |
//! | [`Chromium`] | a real browser without a window |
//! | [`Exposition`] | what a scraper reads, strictly |
//! | [`ScramServer`] | the server's part of SCRAM-SHA-256, for a scripted broker |
//! | [`LoadPeer`] | counting and flooding at the speed of the socket |

mod chromium;
mod exposition;
mod front;
#[cfg(feature = "in-process")]
mod in_process;
mod load;
mod mosquitto;
mod notation;
mod pki;
mod port;
mod redis;
mod scram;
mod scripted;
mod temp_dir;
mod tls_front;
mod wire;

pub use chromium::Chromium;
pub use exposition::{Exposition, Family, Sample};
pub use front::{Cutter, HttpProxy, SocksProxy, UnixFront, WebSocketFront};
#[cfg(feature = "in-process")]
pub use in_process::InProcessBroker;
pub use load::{Counters, Flood, LoadOptions, LoadPeer};
pub use mosquitto::{Mosquitto, MosquittoBuilder};
pub use notation::{hex, shown};
pub use pki::{Identity, Pki};
pub use port::{ClosedPort, free_address};
pub use redis::{Redis, RedisBuilder, RedisCluster, RedisSentinel};
pub use scram::{ScramServer, authentication_data};
pub use scripted::{Peer, ScriptedBroker};
pub use temp_dir::TempDir;
pub use tls_front::{Handshake, TlsFront, TlsFrontBuilder};
