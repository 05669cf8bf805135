//! `[forwarders]`, and what they have to do with the sessions.

use mqttx::{ForwarderBuilder, ForwarderOptions, ForwarderSource, ForwarderTarget, find_cycles};

use super::extract::{extract, place_of, report_problems};
use super::layout::{Layout, Part};
use super::near;
use super::report::Report;
use super::rules::{self, RuleSections};
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
        match builder((part, &readable), section, report).build() {
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
    let mut named: Vec<(String, &str)> = Vec::new();
    for (n, source) in section.from.iter().enumerate() {
        named.push((format!("from[{n}].session"), &source.session));
    }
    for (n, target) in section.to.iter().enumerate() {
        named.push((format!("to[{n}].session"), &target.session));
        for (m, session) in target.failover.iter().enumerate() {
            named.push((format!("to[{n}].failover[{m}]"), session));
        }
    }
    if let Some(letters) = &section.dead_letter {
        named.push(("dead_letter.session".to_owned(), &letters.session));
    }
    for (path, name) in named.into_iter().filter(|(_, name)| !name.is_empty()) {
        if !sessions.iter().any(|session| session.name == *name) {
            let known = sessions.iter().map(|session| session.name.as_str());
            report.add(part.file, &place_of(part, &path), near::unknown("session", name, known));
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

fn builder(
    parts: (&Part<'_>, &Part<'_>),
    section: ForwarderSection,
    report: &mut Report<'_>,
) -> ForwarderBuilder {
    let mut builder = ForwarderBuilder::new(&*parts.0.name).enabled(section.enabled);
    if let Some(window) = section.window {
        builder = builder.window(window);
    }
    if let Some(qos0_queue) = section.qos0_queue {
        builder = builder.qos0_queue(qos0_queue);
    }
    if let Some(timeout) = section.ack_timeout {
        builder = builder.ack_timeout(timeout);
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
        let target = to.failover.into_iter().fold(target, ForwarderTarget::failover);
        builder =
            builder.to(to.map.into_iter().fold(target, |target, (from, to)| target.map(from, to)));
    }
    let rules = RuleSections {
        filter: section.filter,
        on_filter_error: section.on_filter_error,
        transform: section.transform,
        metadata: section.metadata,
        max_hops: section.max_hops,
        rate_limit: section.rate_limit,
        dead_letter: section.dead_letter,
    };
    rules::add(builder, rules, parts, report)
}
