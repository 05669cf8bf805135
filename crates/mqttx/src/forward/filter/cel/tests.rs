use super::*;
use crate::forward::filter::tests::message;
use mqttx_proto::{Properties, QoS};

fn ask_of(expression: &str, message: &MessageView<'_>) -> Result<bool, String> {
    let expression = Expression::new(expression).map_err(|error| error.message().to_owned())?;
    expression.matches(message).map_err(|failure| failure.message().to_owned())
}

fn ask(expression: &str, payload: &str) -> Result<bool, String> {
    ask_of(expression, &message("line/test/x", payload.as_bytes()))
}

#[test]
fn the_message_is_seen_through_its_variables() {
    let doc = r#"{"temp": 31, "tags": ["a", "b"], "n": {"v": 1.5}, "s": "x", "none": null}"#;
    for (expression, expected) in [
        ("payload.temp > 30.0 && levels[1] != 'test'", false),
        ("payload.temp > 30.0 && levels[0] == 'line'", true),
        ("payload.temp == 31.0 && payload.n.v < 2", true),
        ("topic == 'line/test/x' && size(levels) == 3", true),
        ("qos == 1 && !retain", true),
        ("'b' in payload.tags && payload.tags.exists(t, t == 'a')", true),
        ("has(payload.temp) && !has(payload.other)", true),
        ("payload.none == null", true),
        ("payload.?other.?deep.orValue(7) == 7", true),
        ("topic.startsWith('line/') && topic.matches('^line/[a-z]+/x$')", true),
        ("matches(topic, 'y')", false),
        ("int(payload.n.v) == 1 && type(payload.s) == string", true),
        ("levels.all(l, l.size() > 0) && payload.tags.map(t, t + '!')[0] == 'a!'", true),
        ("size(user) == 0", true),
    ] {
        assert_eq!(ask(expression, doc), Ok(expected), "{expression}");
    }
}

#[test]
fn user_properties_are_a_map() {
    let mut properties = Properties::new();
    for (name, value) in [("unit", "C"), ("k", "1"), ("k", "2")] {
        properties.user_property(name, value).unwrap();
    }
    let mut view = message("t", b"");
    (view.properties, view.qos, view.retain) = (properties.as_ref(), QoS::ExactlyOnce, true);
    assert_eq!(
        ask_of("user.unit == 'C' && user['k'] == '2' && retain && qos == 2", &view),
        Ok(true)
    );
    assert_eq!(ask_of("has(user.other) || 'other' in user", &view), Ok(false));
}

#[test]
fn only_expressions_that_come_to_a_payload_that_is_not_json_fail() {
    assert_eq!(ask("levels[0] == 'line'", "hello"), Ok(true));
    assert_eq!(ask("levels[0] == 'other' && payload.x > 1", "hello"), Ok(false));
    let failure = ask("payload.x > 1", "hello").unwrap_err();
    assert!(failure.starts_with("the payload is not JSON: expected value"), "{failure}");
    assert!(ask("payload.x > 1", "").is_err());
}

#[test]
fn what_is_not_a_bool_in_the_end_is_a_failure() {
    assert_eq!(
        ask("payload.x", r#"{"x":1}"#).unwrap_err(),
        "the expression gave a int instead of a bool"
    );
    assert!(ask("payload.x > 1", "{}").unwrap_err().contains("No such key: x"));
    assert!(ask("payload.x > 1", r#"{"x":"a"}"#).is_err());
    assert!(ask("levels[7] == 'x'", "").is_err());
    assert!(ask("1 / int(payload.x) == 1", r#"{"x":0}"#).is_err());
    assert!(ask("payload.x * 2 > 0", r#"{"x":9223372036854775807}"#).is_err());
}

#[test]
fn what_cannot_be_evaluated_is_refused_at_the_start() {
    for (wrong, why) in [
        ("payload.temp >", "column"),
        ("", "column"),
        ("paylod.x == 1", "unknown variable 'paylod': known are levels, payload"),
        ("sise(topic) == 1", "unknown function 'sise': known are bool"),
        ("topic.matches(levels[0])", "literal"),
        ("topic.matches('(')", "unclosed group"),
        ("duration('1s') == duration('1s')", "unknown function 'duration'"),
        ("Foo{a: 1} == 1", "no type 'Foo'"),
        ("paylod.x == 1", "; did you mean 'payload'?"),
        ("sise(topic) == 1", "; did you mean 'size'?"),
        ("wind == 1", "retain, topic, user"),
    ] {
        let error = ask(wrong, "").unwrap_err();
        assert!(error.contains(why), "{wrong}: {error}");
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn loops_look_at_their_own_elements_or_once_at_the_rest() {
    let degree = |source: &str| {
        let program = Env::stdlib().compile(source).unwrap();
        check::check(program.expression()).map(|found| found.degree)
    };
    assert_eq!(degree("topic == 'x'"), Ok(0));
    assert_eq!(degree("payload.a == 1"), Ok(1));
    assert_eq!(degree("payload.a.exists(x, x.b > 1 && x.id == levels[1])"), Ok(1));
    assert_eq!(degree("payload.rows.exists(r, r.cells.exists(c, c.v > 3))"), Ok(1));
    assert_eq!(degree("payload.a.all(x, x < payload.limit)"), Ok(2));
    assert_eq!(degree("payload.rows.exists(r, r.cells.exists(c, c.v > r.limit))"), Ok(2));
    assert_eq!(degree("payload.a.filter(x, x in payload.b).size() > 0"), Ok(2));
    assert_eq!(degree("payload.a.map(x, x.b)[0] == 1"), Ok(1));
    assert!(degree("payload.a.all(x, payload.a.all(y, x != y))").unwrap_err().contains("too long"));
    assert!(degree("payload.a.map(x, payload.a).size() > 0").unwrap_err().contains("memory"));
}

#[test]
fn an_evaluation_is_bounded_by_the_size_of_the_payload() {
    let array = |n: usize| format!("[{}0]", "0,".repeat(n));
    assert_eq!(ask("payload.all(x, x == 0)", &array(100_000)), Ok(true));
    assert!(ask("payload.all(x, x == 0)", &array(600_000)).unwrap_err().contains("1048576"));
    assert_eq!(ask("payload.all(x, x in payload)", &array(1000)), Ok(true));
    assert!(ask("payload.all(x, x in payload)", &array(10_000)).unwrap_err().contains("16384"));
    let deep = "[".repeat(100_000);
    assert!(ask("payload == 1", &deep).is_err());
}

#[test]
fn neither_length_nor_depth_of_an_expression_is_a_problem() {
    assert!(ask(&format!("{}true", " ".repeat(4093)), "").unwrap_err().contains("4096 bytes"));
    assert!(ask(&format!("{}true{}", "(".repeat(2000), ")".repeat(2000)), "").is_err());
    assert!(ask(&format!("{}true", "!".repeat(4000)), "").is_err());
    assert!(ask(&"[".repeat(4000), "").is_err());
    let chain = |part: &str, by: &str, n: usize| vec![part; n].join(by);
    for (by, n) in
        [("+", 2045), ("<", 2045), ("&&", 1360), ("||", 1360), (" in ", 810), ("*", 2045)]
    {
        let error = ask(&chain("1", by, n), "").unwrap_err();
        assert!(error.contains("500 operators") || by == " in ", "{by}: {error}");
    }
    assert_eq!(ask(&format!("{} == 499", chain("1", "+", 499)), ""), Ok(true));
    assert_eq!(ask(&chain("true", "&&", 500), ""), Ok(true));
    assert_eq!(ask(&format!("{} != ''", chain("'+'", "+", 200)), ""), Ok(true));
    assert_eq!(
        ask(&format!("'{}\\'' != ''", "+".repeat(2000)), ""),
        Ok(true),
        "text is no operator"
    );
    for step in [".a", "[0]", ".size()"] {
        assert!(
            ask(&format!("payload{}", step.repeat(4000 / step.len())), "{}").is_err(),
            "{step}"
        );
    }
}

#[test]
fn what_would_grow_with_every_step_is_refused() {
    let doubled = |steps| format!("payload.l{} == []", ".map(a, a + a)".repeat(steps));
    assert_eq!(ask(&doubled(3), r#"{"l":["x"]}"#), Ok(false));
    for steps in [9, 30, 160] {
        assert!(
            ask(&doubled(steps), r#"{"l":["x"]}"#).unwrap_err().contains("256 times"),
            "{steps}"
        );
    }
    let seven = |name: &str| [name; 7].join(" + ");
    let inner = format!(
        "[payload.s].map(a, [{}].map(b, [{}].map(c, {})))",
        seven("a"),
        seven("b"),
        seven("c")
    );
    let error = ask(&format!("{inner} == []"), "{}").unwrap_err();
    assert!(error.contains("256 times"), "{error}");
    let many = ["payload.l.exists(x, x == 'x')"; 90].join(" && ");
    assert_eq!(ask(&many, r#"{"l":["x"]}"#), Ok(true), "what is only looked at does not add up");
    let kept = format!("payload.l{}.size() == 1", ".filter(a, a == 'x')".repeat(100));
    assert_eq!(ask(&kept, r#"{"l":["x"]}"#), Ok(true), "nor what is kept");
    let plain = format!("payload.l{}.size() == 1", ".map(a, a)".repeat(100));
    assert_eq!(ask(&plain, r#"{"l":["x"]}"#), Ok(true));
}
