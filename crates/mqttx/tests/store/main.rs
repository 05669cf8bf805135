//! Sessions whose state outlives them, and stores that are slow, full, away or broken.

mod forwarders;
mod manual;
mod sessions;
mod trouble;
