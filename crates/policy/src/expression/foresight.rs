//! What is known of an expression before a request comes: its parts are evaluated one by one, and those that read
//! what is not known yet leave a part open, unless the others decide without it.

use super::view::View;
use super::{Expression, environment};
use cel::common::ast::{Expr, operators as op};
use cel::common::value::CowVal;
use cel::context::VariableResolver;
use cel::{Context, IdedExpr, Value};
use std::sync::{Arc, Mutex, PoisonError};
use traffic::Exchange;

/// What a condition will be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Foretold {
    /// It holds or not, whatever else the request says.
    Is(bool),
    /// It has no answer, which refuses.
    Fails(String),
    /// It depends on these.
    Depends(Vec<String>),
}

/// What a part is.
enum Part {
    Is(bool),
    Fails(String),
    Open,
}

/// Reads what is known, and notes what else is asked for.
struct Reader<'a> {
    view: View<'a>,
    knows: &'a (dyn Fn(&str) -> bool + Sync),
    missed: Mutex<Vec<String>>,
}

impl VariableResolver for Reader<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        let value = self.view.resolve(variable)?;
        if variable.starts_with('@') || (self.knows)(variable) {
            return Some(value);
        }
        let mut missed = self.missed.lock().unwrap_or_else(PoisonError::into_inner);
        if !missed.iter().any(|name| name == variable) {
            missed.push(variable.to_owned());
        }
        None
    }
}

impl Reader<'_> {
    fn missed(&self) -> Vec<String> {
        self.missed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn forget(&self) {
        self.missed.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Expression {
    /// What the condition will be for a request of which only those names are known that `knows` says, such as
    /// `consumer.groups`.
    #[must_use]
    pub fn foresee(&self, exchange: &Exchange, knows: &(dyn Fn(&str) -> bool + Sync)) -> Foretold {
        let view = View::new(exchange, self);
        let reader = Reader { view, knows, missed: Mutex::default() };
        let mut open = Vec::new();
        match part(&self.expr, &reader, &mut open) {
            Part::Is(flag) => Foretold::Is(flag),
            Part::Fails(why) => Foretold::Fails(format!("`{}` has no answer: {why}", self.text)),
            Part::Open => Foretold::Depends(open),
        }
    }
}

/// Follows the logic of CEL: what one side decides, the other cannot undo, not even by having no answer.
fn part(expr: &IdedExpr, reader: &Reader<'_>, open: &mut Vec<String>) -> Part {
    if let Expr::Call(call) = &expr.expr {
        match (call.func_name.as_str(), call.args.as_slice()) {
            (op::LOGICAL_AND, [a, b]) => return both(false, (a, b), reader, open),
            (op::LOGICAL_OR, [a, b]) => return both(true, (a, b), reader, open),
            (op::LOGICAL_NOT, [a]) => {
                return match part(a, reader, open) {
                    Part::Is(flag) => Part::Is(!flag),
                    other => other,
                };
            }
            (op::CONDITIONAL, [when, a, b]) => {
                let mut of_condition = Vec::new();
                return match part(when, reader, &mut of_condition) {
                    Part::Is(true) => part(a, reader, open),
                    Part::Is(false) => part(b, reader, open),
                    Part::Fails(why) => Part::Fails(why),
                    Part::Open => {
                        let mut of_sides = Vec::new();
                        let sides =
                            (part(a, reader, &mut of_sides), part(b, reader, &mut of_sides));
                        match sides {
                            // It may have no answer, but an answer can only be this one.
                            (Part::Is(a), Part::Is(b)) if a == b => Part::Is(a),
                            _ => {
                                add(open, of_condition);
                                add(open, of_sides);
                                Part::Open
                            }
                        }
                    }
                };
            }
            _ => {}
        }
    }
    leaf(expr, reader, open)
}

fn both(
    decides: bool,
    (a, b): (&IdedExpr, &IdedExpr),
    reader: &Reader<'_>,
    open: &mut Vec<String>,
) -> Part {
    let mut missed = Vec::new();
    let parts = (part(a, reader, &mut missed), part(b, reader, &mut missed));
    match parts {
        (Part::Is(flag), _) | (_, Part::Is(flag)) if flag == decides => Part::Is(decides),
        (Part::Is(_), Part::Is(_)) => Part::Is(!decides),
        (Part::Open, _) | (_, Part::Open) => {
            add(open, missed);
            Part::Open
        }
        (Part::Fails(why), _) | (_, Part::Fails(why)) => Part::Fails(why),
    }
}

fn add(open: &mut Vec<String>, more: Vec<String>) {
    for name in more {
        if !open.contains(&name) {
            open.push(name);
        }
    }
}

fn leaf(expr: &IdedExpr, reader: &Reader<'_>, open: &mut Vec<String>) -> Part {
    reader.forget();
    let mut context = Context::with_env(Arc::clone(environment()));
    context.set_variable_resolver(reader);
    let value = Value::resolve(expr, &context);
    let missed = reader.missed();
    if !missed.is_empty() {
        add(open, missed);
        return Part::Open;
    }
    match value {
        Ok(Value::Bool(flag)) => Part::Is(flag),
        Ok(_) => Part::Fails("it is neither true nor false".to_owned()),
        Err(error) => Part::Fails(error.to_string()),
    }
}
