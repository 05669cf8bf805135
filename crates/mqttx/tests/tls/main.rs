//! Sessions over TLS, against servers whose certificates the tests make.
#![cfg(feature = "tls")]

mod connect;
mod hostile;
mod material;
mod refusals;
mod reload;
mod support;
