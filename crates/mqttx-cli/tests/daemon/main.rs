//! `mqttx run` and `mqttx check-config` between brokers whose every byte the test decides.

mod check;
mod stop;
mod support;
