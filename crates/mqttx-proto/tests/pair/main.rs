//! Two machines, a virtual clock, and a link that can be cut at any byte.
//!
//! `Pair` holds a client session and a small server, moves bytes between them in pieces, and cuts, crashes and forgets as the
//! seeded generator says. A failure prints its seed; `PAIR_SEED=n cargo test -p mqttx-proto --test pair` plays it again.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail")]

mod auth;
mod flows;
mod identity;
mod model;
mod rng;
mod server;
mod short_way;
mod simulation;
mod store;
mod stored;
mod subscribing;
mod wire;
