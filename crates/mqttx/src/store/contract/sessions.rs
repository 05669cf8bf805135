//! Many sessions in one store.

use super::super::Store;
use super::probe::Probe;
use super::records::{assign, done, enqueue, low, received, subscribe};

/// Every session name is one of its own, whatever characters it has.
///
/// # Panics
/// When two sessions get into each other's way, or a name cannot be used.
pub async fn odd_session_names_are_kept_apart(store: &dyn Store) {
    let long = "long ".repeat(200);
    let wide = "\u{1F980}".repeat(1000);
    let names = [
        " ",
        ".",
        "..",
        "../odd",
        "odd/",
        "/odd",
        "odd",
        "Odd",
        "ODD",
        "odd:",
        "odd:m",
        "odd::m",
        "odd\\",
        "odd%2F",
        "odd_",
        "odd\n",
        "odd ",
        " odd",
        "{odd}",
        "odd{",
        "}odd{",
        "{}",
        "{}{odd}",
        "*",
        "odd*",
        "?",
        "[odd]",
        "\"odd\"",
        "'odd'",
        "~",
        "$(odd)",
        "-odd",
        "con",
        "odd.lock",
        "öd\u{308}d",
        "ödd",
        "\u{1}\u{7f}\u{fffd}",
        &long,
        &long[1..],
        &wide,
        &wide[4..],
    ];
    let mut probes = Vec::new();
    for name in names {
        let mut probe = Probe::new(store, name).await;
        probe.submit(&[enqueue(low(0), name.as_bytes()), subscribe(name.trim())]);
        probes.push(probe);
    }
    for mut probe in probes {
        probe.synced().await;
        let mut probe = probe.reopen_at_once().await;
        probe.keep(&[assign(low(0), 1, 1)]).await;
        probe.reopen_at_once().await;
    }
}

/// `count` sessions at once, each with its own state and its own positions.
///
/// # Panics
/// When something is missing, or in another session.
pub async fn many_sessions_share_a_store(store: &dyn Store, count: u16) {
    let mut probes = Vec::new();
    for n in 0..count {
        probes.push(Probe::new(store, &format!("many-{n:05}")).await);
    }
    for round in 0..10 {
        for (n, probe) in probes.iter_mut().enumerate() {
            let payload = format!("message {round} of session {n}");
            probe.submit(&[enqueue(low(round), payload.as_bytes()), received(1 + n as u16)]);
            probe.submit(&[assign(low(round), 1 + round as u16, round)]);
        }
        for probe in &mut probes {
            probe.synced().await;
        }
    }
    for (n, probe) in probes.iter_mut().enumerate() {
        (0..n as u64 % 10).for_each(|number| probe.submit(&[done(low(number))]));
    }
    let mut models = Vec::new();
    for probe in probes {
        models.push(probe.model.clone());
    }
    store.close().await;
    for (n, model) in models.into_iter().enumerate() {
        Probe::open(store, &format!("many-{n:05}"), model).await;
    }
}
