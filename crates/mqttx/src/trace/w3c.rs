//! The two values of W3C Trace Context, and their place among the user properties of a message.

use memchr::memmem;
use mqttx_proto::{Properties, PropertiesRef, Property};
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

/// The user property that names trace and span: `00-TRACE-SPAN-FLAGS`.
pub(super) const TRACEPARENT: &str = "traceparent";

/// The user property with what tracing systems say of the trace.
pub(super) const TRACESTATE: &str = "tracestate";

/// What a message says of its trace.
#[derive(PartialEq, Debug)]
pub(super) enum Found {
    Nothing,
    /// A `traceparent` that is none, or more than one: as if there was nothing.
    Malformed,
    Parent(SpanContext),
}

/// Looks for the context of a message; without one it allocates nothing.
pub(super) fn read(properties: PropertiesRef<'_>) -> Found {
    if !may_be_in(properties) {
        return Found::Nothing;
    }
    let (mut parent, mut state) = (None, String::new());
    for (name, value) in properties.user_properties() {
        match name {
            TRACEPARENT if parent.is_some() => return Found::Malformed,
            TRACEPARENT => parent = Some(value),
            // Several are one list.
            TRACESTATE if state.is_empty() => value.clone_into(&mut state),
            TRACESTATE => {
                state.push(',');
                state.push_str(value);
            }
            _ => {}
        }
    }
    match parent.map(|parent| (parse(parent), parse_state(&state))) {
        None => Found::Nothing,
        Some((None, _)) => Found::Malformed,
        Some((Some((trace, span, flags)), state)) => {
            Found::Parent(SpanContext::new(trace, span, flags, true, state))
        }
    }
}

/// A quick look at the encoded properties of a message, whether it belongs to a trace: `false` is certain.
pub(crate) fn may_be_in(properties: PropertiesRef<'_>) -> bool {
    let bytes = properties.as_bytes();
    bytes.len() > TRACEPARENT.len() && memmem::find(bytes, TRACEPARENT.as_bytes()).is_some()
}

/// A `traceparent` of version 00, or what a later version has in common with it.
fn parse(value: &str) -> Option<(TraceId, SpanId, TraceFlags)> {
    let mut fields = value.get(..LEN)?.split('-');
    let version = hex(fields.next()?, 2)?;
    let trace = TraceId::from(hex(fields.next()?, 32)?);
    let span = SpanId::from(u64::try_from(hex(fields.next()?, 16)?).ok()?);
    let flags = u8::try_from(hex(fields.next()?, 2)?).ok()? & KNOWN_FLAGS;
    let end = value.get(LEN..)?;
    let fits = match version {
        0 => end.is_empty(),
        0xff => false,
        _ => end.is_empty() || end.starts_with('-'),
    };
    let valid = fits && trace != TraceId::INVALID && span != SpanId::INVALID;
    (valid && fields.next().is_none()).then_some((trace, span, TraceFlags::new(flags)))
}

fn hex(text: &str, digits: usize) -> Option<u128> {
    let lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let valid = text.len() == digits && text.bytes().all(lower);
    valid.then(|| u128::from_str_radix(text, 16).ok())?
}

/// A list that is none, or too long, is left out; the trace goes on without it.
fn parse_state(list: &str) -> TraceState {
    let members = list.split(',').filter(|member| !member.trim().is_empty()).count();
    if members == 0 || members > MAX_MEMBERS {
        return TraceState::NONE;
    }
    list.parse().unwrap_or(TraceState::NONE)
}

/// The list of a message as it came, if it is one by the letter of the recommendation: not every such list can be a
/// [`TraceState`], whose keys have one `@` with at most 13 characters behind it.
pub(super) fn kept_state(properties: PropertiesRef<'_>) -> Option<String> {
    let lists = properties.user_properties().filter(|(name, _)| *name == TRACESTATE);
    let members = lists.flat_map(|(_, list)| list.split(',')).map(|m| m.trim_matches([' ', '\t']));
    let members: Vec<&str> = members.filter(|member| !member.is_empty()).collect();
    let valid = (1..=MAX_MEMBERS).contains(&members.len()) && members.iter().all(|m| is_member(m));
    valid.then(|| members.join(","))
}

/// `KEY=VALUE`, as section 3.3.1 of Trace Context, level 2, has it.
fn is_member(member: &str) -> bool {
    let Some((key, value)) = member.split_once('=') else { return false };
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let sizes = 1..=MAX_BYTES;
    sizes.contains(&key.len())
        && key.bytes().all(|byte| letter(byte) || b"_-*/@".contains(&byte))
        && key.bytes().next().is_some_and(letter)
        && sizes.contains(&value.len())
        && value.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'=')
}

/// The value of `traceparent` for what a span does.
pub(super) fn traceparent(trace: TraceId, span: SpanId, flags: TraceFlags) -> String {
    format!("00-{trace}-{span}-{:02x}", flags.to_u8() & KNOWN_FLAGS)
}

/// Puts the two values in the place of those that are there; empty ones leave no property.
pub(super) fn replace(properties: &mut Properties, traceparent: &str, tracestate: &str) {
    let ours = |name: &str| name == TRACEPARENT || name == TRACESTATE;
    if properties.as_ref().user_properties().any(|(name, _)| ours(name)) {
        let old = std::mem::take(properties);
        for property in old.as_ref() {
            if !matches!(property, Property::UserProperty(name, _) if ours(name)) {
                // It was there before.
                let _ = properties.push(property);
            }
        }
    }
    for (name, value) in [(TRACEPARENT, traceparent), (TRACESTATE, tracestate)] {
        if !value.is_empty() {
            // A list that fitted a property before, or one of at most 32 members.
            let _ = properties.user_property(name, value);
        }
    }
}

/// The length of a `traceparent` of version 00.
const LEN: usize = 55;

/// *sampled*, and *random trace id*.
const KNOWN_FLAGS: u8 = 0x03;

/// The most members of a `tracestate`.
const MAX_MEMBERS: usize = 32;

/// Of a key, and of a value.
const MAX_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn list(pairs: &[(&str, &str)]) -> Properties {
        let mut list = Properties::new();
        for (name, value) in pairs {
            list.user_property(name, value).unwrap();
        }
        list
    }

    fn state_of(lists: &[&str]) -> String {
        let mut pairs = vec![(TRACEPARENT, GOOD)];
        pairs.extend(lists.iter().map(|list| (TRACESTATE, *list)));
        match read(list(&pairs).as_ref()) {
            Found::Parent(parent) => parent.trace_state().header(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_context_is_read_and_written() {
        let Found::Parent(parent) = read(list(&[("own", "1"), (TRACEPARENT, GOOD)]).as_ref())
        else {
            panic!("there is one")
        };
        assert!(parent.is_remote() && parent.is_sampled() && parent.is_valid());
        assert_eq!(traceparent(parent.trace_id(), parent.span_id(), parent.trace_flags()), GOOD);
    }

    #[test]
    fn what_is_no_traceparent_is_malformed() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        for value in [
            "",
            "x",
            &GOOD[..54],
            &format!("{GOOD}-"),
            &format!("{GOOD} "),
            &format!("ff-{trace}-00f067aa0ba902b7-01"),
            &format!("01-{trace}-00f067aa0ba902b7-01x"),
            &format!("00-{trace}-0000000000000000-01"),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            &GOOD.to_uppercase(),
            &GOOD.replace('-', "_"),
            &format!("00-+{}-00f067aa0ba902b7-01", &trace[1..]),
            &format!("00-{trace}-00f067aa0ba902b-701"),
            "00-4bf92f3577b34da6a3ce929d0e0e473é-00f067aa0ba902b7-1",
        ] {
            let found = read(list(&[(TRACEPARENT, value), (TRACESTATE, "a=1")]).as_ref());
            assert_eq!(found, Found::Malformed, "{value:?}");
        }
        let twice = list(&[(TRACEPARENT, GOOD), (TRACEPARENT, GOOD)]);
        assert_eq!(read(twice.as_ref()), Found::Malformed);
    }

    #[test]
    fn a_later_version_counts_for_what_is_known_of_it() {
        for value in
            [GOOD.replacen("00", "cc", 1), format!("{}-more", GOOD.replacen("00", "01", 1))]
        {
            let found = read(list(&[(TRACEPARENT, &value)]).as_ref());
            assert!(matches!(found, Found::Parent(_)), "{value}");
        }
    }

    #[test]
    fn without_a_context_there_is_nothing() {
        for pairs in [&[][..], &[("k", "v")], &[(TRACESTATE, "a=1")], &[("k", TRACEPARENT)]] {
            assert_eq!(read(list(pairs).as_ref()), Found::Nothing);
        }
    }

    #[test]
    fn a_tracestate_is_one_list_and_left_out_when_it_is_none() {
        assert_eq!(state_of(&["a=1,b=2"]), "a=1,b=2");
        assert_eq!(state_of(&["a=1", " b=2 ,"]), "a=1,b=2");
        for bad in ["a", "A=1", "a=1,,b", "é=1"] {
            assert_eq!(state_of(&[bad]), "", "{bad}");
        }
        let members = |n: usize| (0..n).map(|n| format!("k{n}=1")).collect::<Vec<_>>().join(",");
        assert_eq!(state_of(&[&members(32)]), members(32));
        assert_eq!(state_of(&[&members(33)]), "");
    }

    #[test]
    fn a_list_that_no_trace_state_can_be_is_kept_if_it_is_one() {
        let kept = |list: &str| kept_state(self::list(&[(TRACESTATE, list)]).as_ref());
        let longest = format!("{}@{}", "t".repeat(241), "v".repeat(14));
        for valid in
            ["a=1", "1a@b@c=x y", &format!("{longest}=1"), &format!("a={}", "v".repeat(256))]
        {
            assert_eq!(kept(valid).as_deref(), Some(valid));
        }
        assert_eq!(kept(" a=1 ,,\tb=2").as_deref(), Some("a=1,b=2"));
        let long = [format!("t{longest}=1"), format!("a={}", "v".repeat(257))];
        let bad = ["", ",", "a", "a=", "=1", "A=1", "@a=1", "a=1=2", "é=1", "a=é", "a=1,b"];
        for bad in bad.into_iter().chain(long.iter().map(String::as_str)) {
            assert_eq!(kept(bad), None, "{bad}");
        }
        let members = |n: usize| vec!["k=1"; n].join(",");
        assert!(kept(&members(32)).is_some() && kept(&members(33)).is_none());
    }

    #[test]
    fn the_values_replace_those_that_are_there() {
        let mut carried =
            list(&[(TRACESTATE, "a=1"), ("own", "1"), (TRACEPARENT, "x"), (TRACEPARENT, "y")]);
        replace(&mut carried, GOOD, "b=2");
        assert_eq!(carried, list(&[("own", "1"), (TRACEPARENT, GOOD), (TRACESTATE, "b=2")]));
        replace(&mut carried, "", "");
        assert_eq!(carried, list(&[("own", "1")]));
    }
}
