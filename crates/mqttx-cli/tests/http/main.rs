//! The daemon over HTTP, between brokers whose every byte the test decides.

mod access;
mod api;
mod client;
mod daemon;
mod dashboard;
mod limits;
mod reload;
mod scrape;
