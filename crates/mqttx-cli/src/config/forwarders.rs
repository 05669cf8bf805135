//! `[forwarders]`, and what they have to do with the sessions.

use mqttx::{ForwarderBuilder, ForwarderOptions, ForwarderSource, ForwarderTarget, find_cycles};

use super::extract::{extract, place_of, report_problems};
use super::layout::{Layout, Part};
use super::near;
use super::report::Report;
use super::sections::ForwarderSection;
use super::sessions::SessionEntry;

pub(super) fn read(
    layout: &Layout<'_>,
    sessions: &[SessionEntry],
    report: &mut Report<'_>,
) -> Vec<ForwarderOptions> {
    let mut forwarders: Vec<(&Part<'_>, ForwarderOptions)> = Vec::new();
    for part in &layout.forwarders {
        let mut readable = part.clone();
        let Some(section) = extract::<ForwarderSection>(&mut readable, report) else { continue };
        if !report.is_complete() {
            continue;
        }
        check_sessions(&readable, &section, sessions, report);
        match builder(&part.name, section).build() {
            Ok(options) => forwarders.push((part, options)),
            Err(errors) => report_problems("forwarders", part, &readable, &errors, report),
        }
    }
    check_circles(&forwarders, sessions, report);
    forwarders.into_iter().map(|(_, options)| options).collect()
}

fn check_sessions(
    part: &Part<'_>,
    section: &ForwarderSection,
    sessions: &[SessionEntry],
    report: &mut Report<'_>,
) {
    let from = section.from.iter().map(|source| &source.session).enumerate();
    let to = section.to.iter().map(|target| &target.session).enumerate();
    let all = from.map(|(n, name)| ("from", n, name)).chain(to.map(|(n, name)| ("to", n, name)));
    for (side, n, name) in all.filter(|(_, _, name)| !name.is_empty()) {
        if !sessions.iter().any(|session| session.name == *name) {
            let known = sessions.iter().map(|session| session.name.as_str());
            let place = place_of(part, &format!("{side}[{n}].session"));
            report.add(part.file, &place, near::unknown("session", name, known));
        }
    }
}

fn check_circles(
    forwarders: &[(&Part<'_>, ForwarderOptions)],
    sessions: &[SessionEntry],
    report: &mut Report<'_>,
) {
    let all: Vec<&ForwarderOptions> = forwarders.iter().map(|(_, options)| options).collect();
    let version = |name: &str| {
        let session = sessions.iter().find(|session| session.name == name)?;
        session.options.as_ref().map(|options| options.protocol)
    };
    for cycle in find_cycles(&all, version) {
        let first = cycle.steps.first().map(|(forwarder, _)| forwarder.as_str());
        if let Some((part, _)) = forwarders.iter().find(|(part, _)| Some(&*part.name) == first) {
            report.add(part.file, &place_of(part, "to"), cycle.to_string());
        }
    }
}

fn builder(name: &str, section: ForwarderSection) -> ForwarderBuilder {
    let mut builder = ForwarderBuilder::new(name).enabled(section.enabled);
    if let Some(window) = section.window {
        builder = builder.window(window);
    }
    if let Some(qos0_queue) = section.qos0_queue {
        builder = builder.qos0_queue(qos0_queue);
    }
    for from in section.from {
        builder =
            builder.from(ForwarderSource::new(from.session).topics(from.topics).qos(from.qos));
    }
    for to in section.to {
        let target =
            ForwarderTarget::new(to.session).qos(to.qos).retain(to.retain).required(to.required);
        let target = match to.topic {
            Some(topic) => target.topic(topic),
            None => target,
        };
        builder =
            builder.to(to.map.into_iter().fold(target, |target, (from, to)| target.map(from, to)));
    }
    builder
}
