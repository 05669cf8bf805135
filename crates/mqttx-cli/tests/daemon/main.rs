//! `mqttx run` and `mqttx check-config` between brokers whose every byte the test decides.

mod check;
mod log;
mod process;
mod reload;
mod stop;
mod support;
mod systemd;
