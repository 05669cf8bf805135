//! `pub` and `sub` byte for byte, in both versions, against a broker that follows a script.

mod auth;
mod connect;
mod fault;
mod flow;
mod keep_alive;
mod output;
mod process;
mod publish;
mod reconnect;
mod refusal;
mod request;
mod resume;
mod script;
mod store;
mod subscribe;
