//! What an expression uses, and how its cost grows with the payload: known before the first message.
//!
//! CEL always ends, but loops in loops take as long as they like. The *degree* of an expression says how often it
//! looks at the whole payload: 1 is some times, 2 once for each element. A loop over the elements of an element
//! costs no more than one over all of them, so that the degree grows only where a loop's body looks at something
//! large besides its own element: the payload, the user properties, the element of a loop around it.

use ::cel::common::ast::{ComprehensionExpr, EntryExpr, Expr, LiteralValue};
use ::cel::parser::Expression;

use super::scope::VARIABLES;
use crate::manager::near;

/// What was found in an expression that may be used.
#[derive(Debug, PartialEq)]
pub(super) struct Found {
    pub(super) degree: u8,
    /// The regular expressions.
    pub(super) patterns: Vec<String>,
}

/// # Errors
/// It uses something that does not exist, or costs too much.
pub(super) fn check(expression: &Expression) -> Result<Found, String> {
    let mut walk = Walk { loops: Vec::new(), patterns: Vec::new() };
    let seen = walk.visit(expression)?;
    if seen.degree > 2 {
        return Err("the loops in it may take too long: at most one of them may look at \
                    something besides its own elements, such as the payload"
            .to_owned());
    }
    Ok(Found { degree: seen.degree, patterns: walk.patterns })
}

/// Refuses what parser and evaluation would need too much stack for.
///
/// # Errors
/// Brackets stand in one another too deep, too many prefixes stand in a row, or too many operators in the whole: the operands
/// of `a + b + c` stand in one another, too.
pub(super) fn nesting(source: &str) -> Result<(), String> {
    let (mut depth, mut prefixes, mut operators) = (0_usize, 0_usize, 0_usize);
    let (mut quote, mut escaped, mut was_operator) = (None, false, false);
    for byte in source.bytes() {
        // Such as `&&` is one.
        let is_operator = quote.is_none() && OPERATORS.contains(&byte);
        operators += usize::from(is_operator && !was_operator);
        was_operator = is_operator;
        match (quote, byte) {
            (None, b'\'' | b'"') => quote = Some(byte),
            (Some(open), _) if open == byte && !escaped => quote = None,
            _ => {}
        }
        escaped = byte == b'\\' && !escaped;
        match byte {
            b'(' | b'[' | b'{' | b'?' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        match byte {
            b'!' | b'-' => prefixes += 1,
            b' ' => {}
            _ => prefixes = 0,
        }
        if depth > MAX_NESTING || prefixes > MAX_NESTING {
            return Err(format!("an expression may be nested {MAX_NESTING} deep"));
        }
        if operators > MAX_OPERATORS {
            return Err(format!("an expression may have {MAX_OPERATORS} operators"));
        }
    }
    Ok(())
}

/// What an expression and its parts look at.
#[derive(Clone, Copy, Default)]
struct Seen {
    degree: u8,
    /// The message's large variables.
    message: bool,
    /// Bit n: the element of the loop n around it.
    elements: u64,
}

impl Seen {
    fn and(self, other: Self) -> Self {
        Self {
            degree: self.degree.max(other.degree),
            message: self.message || other.message,
            elements: self.elements | other.elements,
        }
    }
}

struct Walk<'e> {
    loops: Vec<&'e ComprehensionExpr>,
    patterns: Vec<String>,
}

impl<'e> Walk<'e> {
    fn visit(&mut self, expression: &'e Expression) -> Result<Seen, String> {
        match &expression.expr {
            Expr::Ident(name) => self.name(name),
            Expr::Select(select) => self.visit(&select.operand),
            Expr::Call(call) => {
                self.function(&call.func_name, call.target.as_deref(), &call.args)?;
                let mut seen = self.visit_all(&call.args)?;
                if let Some(target) = &call.target
                    && !is_namespace(target)
                {
                    seen = seen.and(self.visit(target)?);
                }
                Ok(seen)
            }
            Expr::List(list) => self.visit_all(&list.elements),
            Expr::Map(map) => {
                let mut seen = Seen::default();
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        seen = seen.and(self.visit(&entry.key)?).and(self.visit(&entry.value)?);
                    }
                }
                Ok(seen)
            }
            Expr::Comprehension(comprehension) => self.comprehension(comprehension),
            Expr::Literal(_) => Ok(Seen::default()),
            Expr::Struct(made) => Err(format!("there is no type '{}'", made.type_name)),
            Expr::Unspecified => Err("a part of the expression is missing".to_owned()),
        }
    }

    fn visit_all(&mut self, expressions: &'e [Expression]) -> Result<Seen, String> {
        expressions.iter().try_fold(Seen::default(), |seen, e| Ok(seen.and(self.visit(e)?)))
    }

    fn comprehension(&mut self, comprehension: &'e ComprehensionExpr) -> Result<Seen, String> {
        let range = self.visit(&comprehension.iter_range)?;
        let init = self.visit(&comprehension.accu_init)?;
        if self.loops.len() >= MAX_LOOPS {
            return Err(format!("loops may stand {MAX_LOOPS} deep in one another"));
        }
        let own = 1_u64 << self.loops.len();
        self.loops.push(comprehension);
        let body = self.visit(&comprehension.loop_cond)?;
        let body = body.and(self.visit(&comprehension.loop_step)?);
        let body = body.and(self.visit(&comprehension.result)?);
        let collected = match collected(comprehension) {
            Some(element) => self.visit(element)?,
            None => Seen::default(),
        };
        self.loops.pop();
        if collected.message || collected.elements & !own != 0 {
            return Err("'map' may make new values from the element it runs over only: \
                        otherwise they may need too much memory"
                .to_owned());
        }
        let looks_elsewhere = body.message || body.elements & !own != 0;
        let degree = body.degree.max(1).saturating_add(u8::from(looks_elsewhere));
        let seen = range.and(init).and(body);
        Ok(Seen { degree: degree.max(seen.degree), elements: seen.elements & !own, ..seen })
    }

    fn name(&self, name: &str) -> Result<Seen, String> {
        let name = name.trim_start_matches('.');
        for (n, around) in self.loops.iter().enumerate().rev() {
            if around.iter_var == name || around.iter_var2.as_deref() == Some(name) {
                return Ok(Seen { degree: 0, message: false, elements: 1 << n });
            }
            if around.accu_var == name {
                return Ok(Seen::default());
            }
        }
        if VARIABLES.contains(&name) {
            // One level, one number: nothing that grows.
            let message = !matches!(name, "levels" | "qos" | "retain" | "topic");
            return Ok(Seen { degree: u8::from(message), message, elements: 0 });
        }
        if TYPES.contains(&name) {
            return Ok(Seen::default());
        }
        Err(unknown("variable", name, &VARIABLES))
    }

    fn function(
        &mut self,
        name: &str,
        target: Option<&Expression>,
        args: &[Expression],
    ) -> Result<(), String> {
        if name == "matches" {
            let pattern = args.last().filter(|_| args.len() + usize::from(target.is_some()) == 2);
            return match pattern.map(|pattern| &pattern.expr) {
                Some(Expr::Literal(LiteralValue::String(text))) => {
                    self.patterns.push(text.inner().to_owned());
                    Ok(())
                }
                _ => {
                    Err("matches() takes a text and a pattern, and the pattern is a literal"
                        .to_owned())
                }
            };
        }
        let is_operator = !name.starts_with(|c: char| c.is_ascii_alphabetic());
        let full = match target.filter(|target| is_namespace(target)) {
            Some(_) => format!("optional.{name}"),
            None => name.to_owned(),
        };
        if is_operator || FUNCTIONS.contains(&&*full) {
            return Ok(());
        }
        let mut known: Vec<&str> = FUNCTIONS.into_iter().chain(["matches"]).collect();
        known.sort_unstable();
        Err(unknown("function", &full, &known))
    }
}

/// What is known instead, and what may have been meant.
fn unknown(what: &str, name: &str, known: &[&str]) -> String {
    let all = known.join(", ");
    match near(name, known.iter().copied()).first() {
        Some(nearest) => {
            format!("unknown {what} '{name}': known are {all}; did you mean '{nearest}'?")
        }
        None => format!("unknown {what} '{name}': known are {all}"),
    }
}

/// What `map` adds to its result for each element; `None` where the elements themselves are kept, or nothing is.
fn collected(comprehension: &ComprehensionExpr) -> Option<&Expression> {
    let mut step = &comprehension.loop_step;
    loop {
        let Expr::Call(call) = &step.expr else { return None };
        match (&*call.func_name, &*call.args) {
            ("_?_:_", [_, kept, _]) => step = kept,
            ("_+_", [_, added]) => {
                let Expr::List(list) = &added.expr else { return None };
                return list.elements.first();
            }
            _ => return None,
        }
    }
}

fn is_namespace(target: &Expression) -> bool {
    matches!(&target.expr, Expr::Ident(name) if name == "optional")
}

const MAX_NESTING: usize = 64;
/// A stack of 2 MiB is enough for twice as many, also without optimization.
const MAX_OPERATORS: usize = 500;
const OPERATORS: &[u8] = b"+-*/%<>=!&|.[(";
const MAX_LOOPS: usize = 8;

const TYPES: [&str; 11] = [
    "bool",
    "bytes",
    "double",
    "int",
    "list",
    "map",
    "null_type",
    "optional_type",
    "string",
    "type",
    "uint",
];

const FUNCTIONS: [&str; 19] = [
    "bool",
    "bytes",
    "contains",
    "double",
    "dyn",
    "endsWith",
    "hasValue",
    "int",
    "optional.none",
    "optional.of",
    "optional.ofNonZeroValue",
    "or",
    "orValue",
    "size",
    "startsWith",
    "string",
    "type",
    "uint",
    "value",
];
