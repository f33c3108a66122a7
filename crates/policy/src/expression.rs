//! Conditions on a request, in the Common Expression Language (CEL).
//!
//! Everything that can be known before a request comes is checked when an expression is compiled: names,
//! functions, types, depth, regular expressions. At run time values are read straight from the
//! exchange, and only those that the evaluation asks for.
//!
//! What there is to ask about:
//!
//! | name | type | meaning |
//! |---|---|---|
//! | `request.method`, `.scheme`, `.host`, `.path` | text | as routed; the path in canonical form |
//! | `request.query`, `.headers`, `.params` | map of text | the first value of each name; header names in any case; parameters of the route's path, decoded |
//! | `consumer.name` | text | empty when nobody was identified |
//! | `consumer.groups` | list of text | empty when nobody was identified |
//! | `consumer.application` | text | the application whose credential was shown; empty if it is the consumer's own |
//! | `consumer.credential` | text | the name of the credential that was shown; empty if it has none |
//! | `claims` | map | what an issuer of tokens says of the caller; empty where none does |
//! | `plan.name`, `.priority` | text | empty when the consumer has no plan; `low`, `normal` or `high` |
//! | `client.address` | text | the address the connection comes from |
//! | `geo.country`, `.asn` | text, number | where the client's address is, by the databases under `geo`; empty and 0 where they do not say |
//! | `tls.version`, `.server_name` | text | empty without TLS |
//!
//! Functions: `size`, `contains`, `startsWith`, `endsWith`, `matches` (with a literal pattern), `int`,
//! `double`, `string`; macros: `has`, `all`, `exists`, `exists_one`, `map`, `filter`, not nested.

use crate::geo::Geo;
use base::caps::EXPRESSION_BYTES_MAX;
use cel::parser::Parser;
use cel::{Context, Env, IdedExpr, Value};
use regex::Regex;
use std::fmt;
use std::sync::{Arc, OnceLock};
use traffic::Exchange;

/// Names, types and functions, checked before any request comes.
mod check;
/// What an expression reads of an exchange.
mod view;
/// What is known of an expression before a request comes.
mod foresight;
#[cfg(test)]
mod tests;

pub use foresight::Foretold;

/// Enough for the deepest nesting that the parser allows (96), even in an unoptimised build, which takes
/// over 100 KiB for each; the system provides only what is touched.
const PARSER_STACK_BYTES: usize = 64 << 20;

/// What an expression may name, besides the request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scope<'a> {
    /// What the path of the route captures.
    pub params: &'a [Box<str>],
    /// Where clients are, if there is a database.
    pub geo: Option<&'a Arc<Geo>>,
}

impl<'a, T: AsRef<[Box<str>]> + ?Sized> From<&'a T> for Scope<'a> {
    fn from(params: &'a T) -> Self {
        Self { params: params.as_ref(), geo: None }
    }
}

/// A checked condition.
pub struct Expression {
    text: Box<str>,
    expr: IdedExpr,
    /// The patterns of `matches`, in the order in which they were found.
    patterns: Vec<view::Pattern>,
    /// Where clients are, if that is asked.
    geo: Option<Arc<Geo>>,
}

impl Expression {
    /// Compiles a condition. It must be able to be true or false.
    ///
    /// # Errors
    /// What is wrong with the text, and in which column.
    pub fn compile<'a>(text: &str, scope: impl Into<Scope<'a>>) -> Result<Self, String> {
        Self::compile_as(text, scope.into(), check::Wanted::Condition)
    }

    /// Compiles an expression that gives a text or a number, by which requests can be told apart.
    ///
    /// # Errors
    /// What is wrong with the text, and in which column.
    pub fn compile_key<'a>(text: &str, scope: impl Into<Scope<'a>>) -> Result<Self, String> {
        Self::compile_as(text, scope.into(), check::Wanted::Key)
    }

    fn compile_as(text: &str, scope: Scope<'_>, wanted: check::Wanted) -> Result<Self, String> {
        if text.len() > EXPRESSION_BYTES_MAX {
            let length = text.len();
            return Err(format!("the expression has {length} bytes; {EXPRESSION_BYTES_MAX} fit"));
        }
        // The parser takes so much stack per bracket that a config could end the process.
        std::thread::scope(|threads| {
            let thread = std::thread::Builder::new().stack_size(PARSER_STACK_BYTES);
            let parsed = thread.spawn_scoped(threads, || Self::parse(text, scope, wanted));
            let parsed = parsed.map_err(|error| format!("no thread to read it with: {error}"))?;
            parsed.join().unwrap_or_else(|_| Err("the expression cannot be read".to_owned()))
        })
    }

    fn parse(text: &str, scope: Scope<'_>, wanted: check::Wanted) -> Result<Self, String> {
        let parsed = Parser::new().parse_with_source_info(text);
        let (mut expr, source) = parsed.map_err(|errors| {
            errors.errors.first().map_or_else(
                || "the expression cannot be read".to_owned(),
                |error| {
                    let column = error.pos.1.max(0) + 1;
                    let said = match error.msg.lines().next().unwrap_or_default() {
                        // The parser's own limit, which it does not put into words.
                        said if said.contains("OtherError") => "it nests too deeply here",
                        said => said,
                    };
                    format!("the expression cannot be read at column {column}: {said}")
                },
            )
        })?;
        let patterns = check::check(&mut expr, &source, scope, wanted)?;
        let patterns = patterns.into_iter().map(view::Pattern).collect();
        let geo = scope.geo.filter(|_| expr.references().has_variable("geo")).cloned();
        Ok(Self { text: text.into(), expr, patterns, geo })
    }

    /// Evaluates the condition for one request.
    ///
    /// # Errors
    /// Why there is no answer, such as a header that is absent: for the log, never for the client.
    pub fn eval_bool(&self, exchange: &Exchange) -> Result<bool, String> {
        match self.eval(exchange)? {
            Value::Bool(flag) => Ok(flag),
            _ => Err(format!("`{}` is neither true nor false", self.text)),
        }
    }

    /// Evaluates the expression to a text, a number as its digits.
    ///
    /// # Errors
    /// Why there is none, such as a header that is absent.
    pub fn eval_key(&self, exchange: &Exchange) -> Result<String, String> {
        match self.eval(exchange)? {
            Value::String(text) => Ok(text.to_string()),
            Value::Int(number) => Ok(number.to_string()),
            Value::UInt(number) => Ok(number.to_string()),
            Value::Bool(flag) => Ok(flag.to_string()),
            _ => Err(format!("`{}` is neither a text nor a number", self.text)),
        }
    }

    /// Compiles an expression that gives a whole number.
    ///
    /// # Errors
    /// As [`compile_key`](Self::compile_key).
    pub fn compile_number<'a>(text: &str, scope: impl Into<Scope<'a>>) -> Result<Self, String> {
        Self::compile_as(text, scope.into(), check::Wanted::Number)
    }

    /// The number that it gives; a text that is one, too.
    ///
    /// # Errors
    /// Why there is none.
    pub fn eval_number(&self, exchange: &Exchange) -> Result<i128, String> {
        match self.eval(exchange)? {
            Value::Int(number) => Ok(number.into()),
            Value::UInt(number) => Ok(number.into()),
            _ => Err(format!("`{}` is no whole number", self.text)),
        }
    }

    /// Whether it asks for `root`, such as `consumer`.
    #[must_use]
    pub fn reads(&self, root: &str) -> bool {
        self.expr.references().has_variable(root)
    }

    /// Whether it gives the same for every request.
    #[must_use]
    pub fn is_constant(&self) -> bool {
        !["request", "consumer", "claims", "plan", "client", "tls"].iter().any(|it| self.reads(it))
    }

    /// The groups that it asks for by their names, as in `"staff" in consumer.groups`.
    #[must_use]
    pub fn groups(&self) -> Vec<String> {
        let mut pieces: Vec<&str> = self.text.split("consumer.groups").collect();
        pieces.pop();
        let name = |before: &str| {
            let before = before.trim_end().strip_suffix("in")?.trim_end();
            let quote = before.chars().next_back().filter(|it| ['"', '\''].contains(it))?;
            let (_, name) = before.strip_suffix(quote)?.rsplit_once(quote)?;
            Some(name.to_owned())
        };
        pieces.into_iter().filter_map(name).collect()
    }

    fn eval(&self, exchange: &Exchange) -> Result<Value, String> {
        let view = view::View::new(exchange, self);
        let mut context = Context::with_env(Arc::clone(environment()));
        context.set_variable_resolver(&view);
        // Not `resolve_val`: inlined into a caller that is not optimised, it takes 40 KiB of stack per level.
        Value::resolve(&self.expr, &context)
            .map_err(|error| format!("`{}` has no answer: {error}", self.text))
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The standard functions; which of them may be called is decided when an expression is checked.
fn environment() -> &'static Arc<Env> {
    static ENVIRONMENT: OnceLock<Arc<Env>> = OnceLock::new();
    ENVIRONMENT.get_or_init(|| {
        let without_optionals = Env::default().with_optional_support(false);
        Arc::new(without_optionals.with_stdlib())
    })
}

/// The name under which the pattern of this number is found at run time; no expression can spell it.
fn pattern_name(number: usize) -> String {
    format!("@pattern{number}")
}

/// The pattern itself, compiled when the expression is.
type Patterns = Vec<Regex>;
