//! The daemon as a bridge between Mosquittos, as somebody who tries it out would have it: brokers that go down, processes that
//! are killed, circles, poison messages, reloads.
//!
//! `cargo xtask soak` runs the lossy ones with a million messages.

mod daemon;
mod loss;
mod plant;
mod poison;
mod reload;
mod ring;
mod rules;
