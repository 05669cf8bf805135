//! What a forwarder or a route makes of a message. One file per kind.
//!
//! A forwarder transforms a message once, in `Engine::send`, before its targets' rules see it. A transform gives
//! the changed message, nothing (the message is dropped, and counted), or an error that says what was wrong.

mod closure;
mod json;
mod payload;
#[cfg(feature = "filters")]
mod topic;

use std::fmt;
use std::sync::Arc;

use super::fault::{RuleError, RuleFailure};
use super::text::RuleContext;
use crate::message::Publish;

/// Changes messages on their way through a forwarder or a route.
///
/// Made once, applied to every message; clones share what was compiled. Steps run in the order in which they were
/// put together; JSON steps beside each other parse the payload once, and what they do not touch stays byte for byte
/// what it was.
///
/// ```
/// use mqttx::Transform;
///
/// let transform = Transform::set("/site", "a")?
///     .then(Transform::set("/device", "{2}")?)
///     .then(Transform::rename("/temp", "/temperature_c")?)
///     .then(Transform::remove("/debug")?);
/// # let _ = transform;
/// # Ok::<(), mqttx::RuleError>(())
/// ```
#[derive(Clone, Default)]
pub struct Transform(Arc<[Step]>);

#[derive(Clone)]
enum Step {
    Json(json::Edit),
    Payload(payload::PayloadTemplate),
    #[cfg(feature = "filters")]
    Topic(topic::TopicRewrite),
    Closure(closure::Closure),
}

impl Transform {
    /// Puts a value into a JSON payload, in the place of what is there. Objects that are missing on the way are
    /// created; in an array, `-` or the number of elements adds one. In strings, at any depth of `value`, the
    /// placeholders of a [`TopicTemplate`](crate::TopicTemplate) are filled in.
    ///
    /// # Errors
    /// The pointer (RFC 6901) or a string is invalid, or `value` is nothing that JSON can say.
    pub fn set(pointer: &str, value: impl serde::Serialize) -> Result<Self, RuleError> {
        json::Edit::set(pointer, value).map(|step| Self::of(Step::Json(step)))
    }

    /// Moves a value of a JSON payload. One that is missing is no error.
    ///
    /// # Errors
    /// A pointer (RFC 6901) is invalid, or `from` is the whole document.
    pub fn rename(from: &str, to: &str) -> Result<Self, RuleError> {
        json::Edit::rename(from, to).map(|step| Self::of(Step::Json(step)))
    }

    /// Takes a value out of a JSON payload. One that is missing is no error.
    ///
    /// # Errors
    /// The pointer (RFC 6901) is invalid, or the whole document.
    pub fn remove(pointer: &str) -> Result<Self, RuleError> {
        json::Edit::remove(pointer).map(|step| Self::of(Step::Json(step)))
    }

    /// Replaces the payload by a text with placeholders: those of a [`TopicTemplate`](crate::TopicTemplate),
    /// `{payload}` for the payload as it came, and `{/json/pointer}` for a value in it (a string without its
    /// quotes, nothing if it is not there).
    ///
    /// # Errors
    /// Unpaired braces, or an unknown placeholder.
    pub fn payload(template: &str) -> Result<Self, RuleError> {
        payload::PayloadTemplate::new(template).map(|step| Self::of(Step::Payload(step)))
    }

    /// Replaces the topic where a regular expression is found in it. `$1`, `${1}` and `${name}` in `replacement`
    /// stand for what its groups captured, `$$` for a dollar sign. Other topics stay as they are.
    ///
    /// A forwarder's topic maps and `{topic}` see the new topic; `{1}` and `{#}` stay what the source's filter
    /// matched.
    ///
    /// # Errors
    /// The expression is invalid, or too large when compiled (1 MiB).
    #[cfg(feature = "filters")]
    pub fn topic(expression: &str, replacement: &str) -> Result<Self, RuleError> {
        topic::TopicRewrite::new(expression, replacement).map(|step| Self::of(Step::Topic(step)))
    }

    /// Hands the message to `change` and takes what it returns; nothing drops the message, counted. It runs on the
    /// turn of a session and **must not block**. A panic is a failure.
    #[must_use]
    pub fn from_fn(change: impl Fn(Publish) -> Option<Publish> + Send + Sync + 'static) -> Self {
        Self::try_from_fn(move |message| Ok(change(message)))
    }

    /// [`from_fn`](Self::from_fn) for a change that may fail.
    #[must_use]
    pub fn try_from_fn(
        change: impl Fn(Publish) -> Result<Option<Publish>, RuleFailure> + Send + Sync + 'static,
    ) -> Self {
        Self::of(Step::Closure(closure::Closure::new(change)))
    }

    /// This one, then the other.
    #[must_use]
    pub fn then(self, next: Self) -> Self {
        Self::all([self, next])
    }

    /// All of these, in order.
    #[must_use]
    pub fn all(transforms: impl IntoIterator<Item = Self>) -> Self {
        Self(transforms.into_iter().flat_map(|transform| transform.0.to_vec()).collect())
    }

    /// Whether it leaves everything as it is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn of(step: Step) -> Self {
        Self([step].into())
    }

    /// Whether the captures in its templates exist in a filter.
    ///
    /// # Errors
    /// Names the first one that does not.
    pub(crate) fn check(&self, filter: &str) -> Result<(), RuleError> {
        self.0.iter().try_for_each(|step| match step {
            Step::Json(edit) => edit.check(filter),
            Step::Payload(template) => template.check(filter),
            #[cfg(feature = "filters")]
            Step::Topic(_) => Ok(()),
            Step::Closure(_) => Ok(()),
        })
    }

    /// The changed message; `None` if there is none any more.
    ///
    /// # Errors
    /// A step could not do its work.
    pub(crate) fn apply(
        &self,
        cx: &RuleContext<'_>,
        mut message: Publish,
    ) -> Result<Option<Publish>, RuleFailure> {
        let both_json = |a: &Step, b: &Step| matches!((a, b), (Step::Json(_), Step::Json(_)));
        for steps in self.0.chunk_by(both_json) {
            match steps {
                [Step::Payload(template)] => template.apply(cx, &mut message)?,
                #[cfg(feature = "filters")]
                [Step::Topic(rewrite)] => rewrite.apply(&mut message),
                [Step::Closure(closure)] => match closure.apply(message)? {
                    Some(changed) => message = changed,
                    None => return Ok(None),
                },
                edits => {
                    let edits = edits.iter().filter_map(|step| match step {
                        Step::Json(edit) => Some(edit),
                        _ => None,
                    });
                    json::apply(edits, cx, &mut message)?;
                }
            }
        }
        Ok(Some(message))
    }
}

impl fmt::Debug for Transform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut list = f.debug_list();
        for step in &*self.0 {
            match step {
                Step::Json(edit) => list.entry(edit),
                Step::Payload(template) => list.entry(template),
                #[cfg(feature = "filters")]
                Step::Topic(rewrite) => list.entry(rewrite),
                Step::Closure(closure) => list.entry(closure),
            };
        }
        list.finish()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::time::Instant;

    pub(in crate::forward) fn context<'a>(
        filter: &'a str,
        topic: &'a str,
        payload: &'a [u8],
    ) -> RuleContext<'a> {
        let received_at = Instant::now();
        RuleContext { topic, filter, forwarder: "fw", session: "s", received_at, payload }
    }

    fn apply(transform: &Transform, payload: &str) -> Result<Option<String>, RuleFailure> {
        let cx = context("line/+/+", "line/4/dev7", payload.as_bytes());
        let message = Publish::new(cx.topic, payload.to_owned());
        let changed = transform.apply(&cx, message)?;
        Ok(changed.map(|message| String::from_utf8(message.payload.to_vec()).unwrap()))
    }

    fn example() -> Transform {
        Transform::all([
            Transform::set("/site", "a").unwrap(),
            Transform::set("/device", "{2}").unwrap(),
            Transform::rename("/temp", "/temperature_c").unwrap(),
            Transform::remove("/debug").unwrap(),
        ])
    }

    #[test]
    fn steps_run_in_their_order() {
        let out = apply(&example(), r#"{"temp": 31.50, "debug": {"x": 1}}"#).unwrap().unwrap();
        assert_eq!(out, r#"{"site":"a","device":"dev7","temperature_c":31.50}"#);
        let mixed = example()
            .then(Transform::payload("{{\"was\":{payload}}}").unwrap())
            .then(Transform::set("/n", 1).unwrap());
        let out = apply(&mixed, "{}").unwrap().unwrap();
        // A template sees the payload as it stands when its turn comes.
        assert_eq!(out, r#"{"was":{"site":"a","device":"dev7"},"n":1}"#);
    }

    #[test]
    fn no_step_leaves_everything_as_it_is() {
        assert!(Transform::default().is_empty());
        assert_eq!(apply(&Transform::all([]), "x").unwrap().unwrap(), "x");
    }

    #[test]
    fn nothing_in_the_middle_ends_the_chain() {
        let chain =
            Transform::from_fn(|_| None).then(Transform::from_fn(|_| panic!("not reached")));
        assert_eq!(apply(&chain, "x"), Ok(None));
    }

    #[test]
    fn captures_are_checked_in_every_step() {
        assert!(example().check("a/+/+").is_ok());
        assert!(example().check("a/+").unwrap_err().message().contains("only one '+'"));
        let payload = Transform::payload("{#}").unwrap();
        assert!(payload.check("a/+").is_err());
    }

    #[test]
    fn what_a_transform_does_can_be_seen() {
        let text = format!("{:?}", example().then(Transform::from_fn(Some)));
        assert!(
            text.starts_with("[set /site, set /device, rename /temp to /temperature_c"),
            "{text}"
        );
        assert!(text.ends_with("remove /debug, Closure]"), "{text}");
    }
}
