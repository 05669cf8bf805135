//! How much larger than the message the values of an expression may become.
//!
//! A `map` over what a `map` made, each adding its element to itself, doubles with every step: thirty of them need more
//! memory than there is. So every part of an expression has a factor, which says how often the payload may be in its value.

use ::cel::common::ast::{EntryExpr, Expr, LiteralValue};
use ::cel::parser::Expression;

/// # Errors
/// A value may have more than [`MOST`] times the size of the payload.
pub(super) fn check(expression: &Expression) -> Result<(), String> {
    Walk { variables: Vec::new() }.visit(expression).map(|_| ())
}

struct Walk<'e> {
    /// Those of the loops around, with their factors.
    variables: Vec<(&'e str, usize)>,
}

impl<'e> Walk<'e> {
    fn visit(&mut self, expression: &'e Expression) -> Result<usize, String> {
        let factor = match &expression.expr {
            Expr::Ident(name) => self.variable(name),
            Expr::Literal(LiteralValue::String(_) | LiteralValue::Bytes(_)) => 1,
            // A number, or a bool.
            Expr::Literal(_) => 0,
            Expr::Struct(_) | Expr::Unspecified => 1,
            Expr::Select(select) => self.visit(&select.operand)?,
            Expr::List(list) => self.sum(&list.elements)?,
            Expr::Map(map) => {
                let mut sum = 0_usize;
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        let entry =
                            self.visit(&entry.key)?.saturating_add(self.visit(&entry.value)?);
                        sum = sum.saturating_add(entry);
                    }
                }
                sum
            }
            Expr::Call(call) => {
                let target = call.target.as_deref().map_or(Ok(0), |target| self.visit(target))?;
                let sum = self.sum(&call.args)?.saturating_add(target);
                if SMALL.contains(&&*call.func_name) { 1 } else { sum }
            }
            Expr::Comprehension(comprehension) => {
                let range = self.visit(&comprehension.iter_range)?;
                self.visit(&comprehension.accu_init)?;
                let outer = self.variables.len();
                self.variables.push((&comprehension.iter_var, range));
                self.variables.extend(comprehension.iter_var2.as_deref().map(|name| (name, range)));
                // What it had before is made of the same elements.
                self.variables.push((&comprehension.accu_var, 0));
                self.visit(&comprehension.loop_cond)?;
                let step = self.visit(&comprehension.loop_step)?;
                self.visit(&comprehension.result)?;
                self.variables.truncate(outer);
                step
            }
        };
        if factor > MOST {
            return Err(format!(
                "a value in it may become more than {MOST} times as large as the payload"
            ));
        }
        Ok(factor)
    }

    fn sum(&mut self, expressions: &'e [Expression]) -> Result<usize, String> {
        expressions.iter().try_fold(0_usize, |sum, e| Ok(sum.saturating_add(self.visit(e)?)))
    }

    fn variable(&self, name: &str) -> usize {
        let name = name.trim_start_matches('.');
        let known = self.variables.iter().rev().find(|(known, _)| *known == name);
        known.map_or(1, |(_, factor)| *factor)
    }
}

/// For a payload of 1 MiB this is 256 MiB; what expressions really do is a small part of it.
const MOST: usize = 256;

/// What gives a bool or a number, whatever it looks at.
const SMALL: [&str; 26] = [
    "_==_",
    "_!=_",
    "_<_",
    "_<=_",
    "_>_",
    "_>=_",
    "_&&_",
    "_||_",
    "!_",
    "-_",
    "_-_",
    "_*_",
    "_/_",
    "_%_",
    "@in",
    "@not_strictly_false",
    "bool",
    "contains",
    "double",
    "endsWith",
    "hasValue",
    "int",
    "matches",
    "size",
    "startsWith",
    "uint",
];
