//! Names, types and functions of an expression, checked before any request comes.

use super::{Patterns, Scope, pattern_name};
use base::caps::{EXPRESSION_DEPTH_MAX, REGEX_BYTES_MAX};
use base::report::did_you_mean;
use cel::IdedExpr;
use cel::common::ast::operators as op;
use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue, SelectExpr, SourceInfo,
};
use regex::RegexBuilder;

/// What kind of value an expression has, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Any,
    Bool,
    Int,
    Uint,
    Double,
    Text,
    Bytes,
    Null,
    List,
    /// A map that was written in the expression.
    Map,
    /// A map of the request: it can be asked for a key, but not compared.
    Fields(Fields),
}

/// A map of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fields {
    Names,
    Params,
    Claims,
}

/// What a client showed of itself, if it was asked to.
const TLS_CLIENT: &str = "tls.client";

/// Where a client is, if there is a database that says so.
const GEO: &str = "geo";

/// The names that an expression can begin with, and what can be asked of each.
const ROOTS: &[(&str, &[(&str, Type)])] = &[
    (
        "request",
        &[
            ("method", Type::Text),
            ("scheme", Type::Text),
            ("host", Type::Text),
            ("path", Type::Text),
            ("query", Type::Fields(Fields::Names)),
            ("headers", Type::Fields(Fields::Names)),
            ("params", Type::Fields(Fields::Params)),
        ],
    ),
    (
        "consumer",
        &[
            ("name", Type::Text),
            ("groups", Type::List),
            ("application", Type::Text),
            ("credential", Type::Text),
        ],
    ),
    ("claims", &[]),
    ("plan", &[("name", Type::Text), ("priority", Type::Text)]),
    ("client", &[("address", Type::Text)]),
    (GEO, &[("country", Type::Text), ("asn", Type::Int)]),
    ("tls", &[("version", Type::Text), ("server_name", Type::Text)]),
    (
        TLS_CLIENT,
        &[
            ("verified", Type::Bool),
            ("subject", Type::Text),
            ("issuer", Type::Text),
            ("names", Type::List),
            ("serial", Type::Text),
            ("fingerprint", Type::Text),
        ],
    ),
];

/// Functions that can be called, and what they give.
const FUNCTIONS: &[(&str, Type)] = &[
    ("size", Type::Int),
    ("contains", Type::Bool),
    ("startsWith", Type::Bool),
    ("endsWith", Type::Bool),
    ("matches", Type::Bool),
    ("int", Type::Int),
    ("double", Type::Double),
    ("string", Type::Text),
];

const MACROS: &[&str] = &["has", "all", "exists", "exists_one", "map", "filter"];

/// What an expression must give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// True or false.
    Condition,
    /// A text or a number, by which requests are told apart.
    Key,
    /// A whole number.
    Number,
}

/// Checks an expression, and prepares it: patterns are compiled and replaced by their names.
///
/// # Errors
/// What is wrong, and in which column.
pub(super) fn check(
    expr: &mut IdedExpr,
    source: &SourceInfo,
    scope: Scope<'_>,
    wanted: Wanted,
) -> Result<Patterns, String> {
    let mut checker =
        Checker { source, scope, variables: Vec::new(), patterns: Vec::new(), depth: 0 };
    let kind = checker.expr(expr)?;
    let (fits, what) = match wanted {
        Wanted::Condition => (matches!(kind, Type::Any | Type::Bool), "true or false"),
        Wanted::Number => (matches!(kind, Type::Any | Type::Int | Type::Uint), "a whole number"),
        Wanted::Key => {
            (matches!(kind, Type::Any | Type::Text | Type::Int | Type::Uint), "a text or a number")
        }
    };
    if !fits {
        let message = format!("the expression gives {}, not {what}", kind.name());
        return Err(checker.problem(expr.id, message));
    }
    Ok(checker.patterns)
}

struct Checker<'a> {
    source: &'a SourceInfo,
    scope: Scope<'a>,
    /// The variables of the comprehension around, if there is one.
    variables: Vec<(String, Type)>,
    patterns: Patterns,
    depth: usize,
}

type Checked = Result<Type, String>;

impl Checker<'_> {
    fn problem(&self, id: u64, message: impl std::fmt::Display) -> String {
        match self.source.offset_for(id) {
            Some((start, _)) => format!("{message}, at column {}", start + 1),
            None => message.to_string(),
        }
    }

    fn expr(&mut self, expr: &mut IdedExpr) -> Checked {
        self.depth += 1;
        if self.depth > EXPRESSION_DEPTH_MAX {
            let message = format!("the expression nests deeper than {EXPRESSION_DEPTH_MAX}");
            return Err(self.problem(expr.id, message));
        }
        let id = expr.id;
        let kind = match &mut expr.expr {
            Expr::Literal(literal) => Ok(literal_type(literal)),
            Expr::Ident(name) => self.ident(id, name),
            Expr::Select(select) => self.select(id, select),
            Expr::Call(call) => self.call(id, call),
            Expr::List(list) => {
                for element in &mut list.elements {
                    self.expr(element)?;
                }
                Ok(Type::List)
            }
            Expr::Map(map) => {
                for entry in &mut map.entries {
                    let EntryExpr::MapEntry(entry) = &mut entry.expr else {
                        return Err(self.problem(id, "this is not possible here"));
                    };
                    self.expr(&mut entry.key)?;
                    self.expr(&mut entry.value)?;
                }
                Ok(Type::Map)
            }
            Expr::Comprehension(comprehension) => self.comprehension(id, comprehension),
            Expr::Struct(_) | Expr::Unspecified => {
                Err(self.problem(id, "messages cannot be made here"))
            }
        };
        self.depth -= 1;
        kind
    }

    fn variable(&self, name: &str) -> Option<Type> {
        let is_it = |(known, _): &&(String, Type)| known == name;
        self.variables.iter().rev().find(is_it).map(|(_, kind)| *kind)
    }

    fn ident(&self, id: u64, name: &str) -> Checked {
        if let Some(kind) = self.variable(name) {
            return Ok(kind);
        }
        if name == "claims" {
            return Ok(Type::Fields(Fields::Claims));
        }
        if let Some((root, fields)) = ROOTS.iter().find(|(root, _)| *root == name) {
            let fields = list(fields.iter().map(|(field, _)| *field));
            return Err(self.problem(id, format!("`{root}` alone is no value; it has {fields}")));
        }
        let known = ROOTS.iter().map(|(root, _)| *root).filter(|root| *root != TLS_CLIENT);
        Err(self.problem(id, unknown("name", name, known)))
    }

    /// The name that is asked for a field, unless it is a variable.
    fn root<'a>(&self, operand: &'a Expr) -> Option<&'a str> {
        match operand {
            Expr::Ident(root) if self.variable(root).is_none() => Some(root),
            Expr::Select(inner) if inner.field == "client" && !inner.test => {
                self.root(&inner.operand.expr).filter(|root| *root == "tls").map(|_| TLS_CLIENT)
            }
            _ => None,
        }
    }

    fn select(&mut self, id: u64, select: &mut SelectExpr) -> Checked {
        if let Some(root) = self.root(&select.operand.expr)
            && root != "claims"
            && let Some((_, fields)) = ROOTS.iter().find(|(known, _)| *known == root)
        {
            if root == "tls" && select.field == "client" {
                let message = "`tls.client` alone is no value; ask for `tls.client.verified`";
                return Err(self.problem(id, message));
            }
            let Some((_, kind)) = fields.iter().find(|(field, _)| *field == select.field) else {
                let what = format!("field of `{root}`");
                let known = fields.iter().map(|(field, _)| *field);
                return Err(self.problem(id, unknown(&what, &select.field, known)));
            };
            if select.test {
                let message = format!("`{root}.{}` is always there", select.field);
                return Err(self.problem(id, message));
            }
            if root == GEO {
                self.geo(&select.field).map_err(|message| self.problem(id, message))?;
            }
            return Ok(*kind);
        }
        let operand = self.expr(&mut select.operand)?;
        let kind = self.entry(id, operand, Some(&select.field))?;
        Ok(if select.test { Type::Bool } else { kind })
    }

    /// Whether something can say it.
    fn geo(&self, field: &str) -> Result<(), String> {
        let Some(geo) = self.scope.geo else {
            return Err("`geo` asks for a database of places: name one at the top of the config, `geo: { database: ./country.mmdb }`".to_owned());
        };
        let (says, what) = match field {
            "country" => (geo.says_countries(), "countries"),
            _ => (geo.says_systems(), "networks (autonomous systems)"),
        };
        if says { Ok(()) } else { Err(format!("no database under `geo` says {what}")) }
    }

    /// What a map gives for a key, if the key is known.
    fn entry(&self, id: u64, map: Type, key: Option<&str>) -> Checked {
        match map {
            Type::Fields(Fields::Params) => {
                let known = self.scope.params.iter().map(|param| &**param);
                match key {
                    Some(key) if !known.clone().any(|param| param == key) => {
                        Err(self.problem(id, unknown("parameter of the route's path", key, known)))
                    }
                    _ => Ok(Type::Text),
                }
            }
            Type::Fields(Fields::Names) => Ok(Type::Text),
            Type::Fields(Fields::Claims) | Type::Map | Type::Any => Ok(Type::Any),
            other => {
                let message = format!("{} has no fields", other.name());
                Err(self.problem(id, message))
            }
        }
    }

    fn call(&mut self, id: u64, call: &mut CallExpr) -> Checked {
        if call.func_name == "matches" {
            return self.matches(id, call);
        }
        let mut kinds = Vec::with_capacity(call.args.len() + 1);
        if let Some(target) = &mut call.target {
            // A namespace, as in `math.abs(1)`, is told as the function it does not know.
            if !FUNCTIONS.iter().any(|(name, _)| *name == call.func_name) {
                return Err(self.unknown_function(id, &call.func_name));
            }
            kinds.push(self.expr(target)?);
        }
        for argument in &mut call.args {
            kinds.push(self.expr(argument)?);
        }
        if call.target.is_none()
            && let Some(kind) = self.operator(id, call, &kinds)?
        {
            return Ok(kind);
        }
        self.function(id, &call.func_name, &kinds)
    }

    fn unknown_function(&self, id: u64, name: &str) -> String {
        let known = FUNCTIONS.iter().map(|(name, _)| *name).chain(MACROS.iter().copied());
        self.problem(id, unknown("function", name, known))
    }

    fn function(&self, id: u64, name: &str, kinds: &[Type]) -> Checked {
        let Some((_, gives)) = FUNCTIONS.iter().find(|(known, _)| *known == name) else {
            return Err(self.unknown_function(id, name));
        };
        let is_text = |kind: &Type| matches!(kind, Type::Any | Type::Text);
        let fits = match (name, kinds) {
            ("contains" | "startsWith" | "endsWith", [this, part]) => {
                is_text(this) && is_text(part)
            }
            ("size", [this]) => {
                is_text(this)
                    || matches!(this, Type::Bytes | Type::List | Type::Map | Type::Fields(_))
            }
            ("int" | "double" | "string", [this]) => {
                is_text(this) || matches!(this, Type::Bool | Type::Int | Type::Uint | Type::Double)
            }
            _ => false,
        };
        if fits { Ok(*gives) } else { Err(self.problem(id, not_for(name, kinds))) }
    }

    /// `text.matches("pattern")` becomes `text in @patternN`, with the pattern compiled now.
    fn matches(&mut self, id: u64, call: &mut CallExpr) -> Checked {
        let mut arguments: Vec<IdedExpr> = call
            .target
            .take()
            .map(|target| *target)
            .into_iter()
            .chain(call.args.drain(..))
            .collect();
        let (Some(pattern), Some(mut subject), None) =
            (arguments.pop(), arguments.pop(), arguments.pop())
        else {
            return Err(self.problem(id, "`matches` is called as `text.matches(\"pattern\")`"));
        };
        let Expr::Literal(LiteralValue::String(text)) = &pattern.expr else {
            return Err(self.problem(id, "the pattern of `matches` must be a literal text"));
        };
        let kind = self.expr(&mut subject)?;
        if !matches!(kind, Type::Any | Type::Text) {
            return Err(self.problem(id, not_for("matches", &[kind])));
        }
        let regex = RegexBuilder::new(text.inner()).size_limit(REGEX_BYTES_MAX).build();
        let regex = regex.map_err(|error| {
            let said = error.to_string();
            let said = said.lines().last().unwrap_or_default().trim().to_owned();
            self.problem(id, format!("this is not a regular expression ({said})"))
        })?;
        let name = pattern_name(self.patterns.len());
        self.patterns.push(regex);
        op::IN.clone_into(&mut call.func_name);
        call.args = vec![subject, IdedExpr { id: pattern.id, expr: Expr::Ident(name) }];
        Ok(Type::Bool)
    }

    /// What an operator gives; nothing if the call is not one.
    fn operator(&self, id: u64, call: &CallExpr, kinds: &[Type]) -> Result<Option<Type>, String> {
        let is_bool = |kind: &Type| matches!(kind, Type::Any | Type::Bool);
        let (fits, gives) = match (call.func_name.as_str(), kinds) {
            (op::LOGICAL_AND | op::LOGICAL_OR, [a, b]) => (is_bool(a) && is_bool(b), Type::Bool),
            (op::LOGICAL_NOT | op::NOT_STRICTLY_FALSE, [a]) => (is_bool(a), Type::Bool),
            (op::CONDITIONAL, [when, a, b]) => (is_bool(when), if a == b { *a } else { Type::Any }),
            (op::EQUALS | op::NOT_EQUALS, [a, b]) => (a.compares_with(*b), Type::Bool),
            (op::LESS | op::LESS_EQUALS | op::GREATER | op::GREATER_EQUALS, [a, b]) => {
                (a.compares_with(*b) && a.is_ordered() && b.is_ordered(), Type::Bool)
            }
            (op::IN, [a, b]) => {
                let holds = matches!(b, Type::Any | Type::List | Type::Map | Type::Fields(_));
                let fits = !matches!(a, Type::Fields(_)) && holds;
                (fits && (!matches!(b, Type::Fields(_)) || a.compares_with(Type::Text)), Type::Bool)
            }
            (op::INDEX, [map, key]) => return self.index(id, call, (*map, *key)).map(Some),
            (op::ADD, [a, b]) => {
                let adds = a.is_number() || matches!(a, Type::Text | Type::List | Type::Any);
                (adds && (a == b || *a == Type::Any || *b == Type::Any), a.or(*b))
            }
            (op::SUBSTRACT | op::MULTIPLY | op::DIVIDE | op::MODULO, [a, b]) => {
                let fits = |kind: &Type| kind.is_number() || *kind == Type::Any;
                (fits(a) && fits(b) && (a == b || *a == Type::Any || *b == Type::Any), a.or(*b))
            }
            (op::NEGATE, [a]) => (a.is_number() || *a == Type::Any, *a),
            _ => return Ok(None),
        };
        if fits {
            Ok(Some(gives))
        } else {
            Err(self.problem(id, not_for(sign(&call.func_name), kinds)))
        }
    }

    fn index(&self, id: u64, call: &CallExpr, (map, key): (Type, Type)) -> Checked {
        let literal = match call.args.get(1).map(|key| &key.expr) {
            Some(Expr::Literal(LiteralValue::String(text))) => Some(text.inner()),
            _ => None,
        };
        match map {
            Type::List if key == Type::Int || key == Type::Any => Ok(Type::Any),
            Type::Fields(_) if !key.compares_with(Type::Text) => {
                Err(self.problem(id, not_for("[ ]", &[map, key])))
            }
            Type::Fields(_) | Type::Map | Type::Any => self.entry(id, map, literal),
            _ => Err(self.problem(id, not_for("[ ]", &[map, key]))),
        }
    }

    fn comprehension(&mut self, id: u64, comprehension: &mut ComprehensionExpr) -> Checked {
        if !self.variables.is_empty() {
            // Nesting would multiply the work of one request.
            return Err(self.problem(id, "`all`, `exists`, `map` and `filter` cannot be nested"));
        }
        let range = self.expr(&mut comprehension.iter_range)?;
        match range {
            Type::List | Type::Map | Type::Any => {}
            Type::Fields(_) => {
                let message = "a map of the request can be asked for a key, not gone through";
                return Err(self.problem(id, message));
            }
            other => {
                let message = format!("{} cannot be gone through", other.name());
                return Err(self.problem(id, message));
            }
        }
        if ROOTS.iter().any(|(root, _)| *root == comprehension.iter_var) {
            let message = format!("`{}` is taken; choose another name", comprehension.iter_var);
            return Err(self.problem(id, message));
        }
        let start = self.expr(&mut comprehension.accu_init)?;
        self.variables.push((comprehension.iter_var.clone(), Type::Any));
        if let Some(second) = &comprehension.iter_var2 {
            self.variables.push((second.clone(), Type::Any));
        }
        self.variables.push((comprehension.accu_var.clone(), start));
        self.expr(&mut comprehension.loop_cond)?;
        self.expr(&mut comprehension.loop_step)?;
        let gives = self.expr(&mut comprehension.result);
        self.variables.clear();
        gives
    }
}

impl Type {
    const fn name(self) -> &'static str {
        match self {
            Self::Any => "any value",
            Self::Bool => "true or false",
            Self::Int | Self::Uint => "a whole number",
            Self::Double => "a number",
            Self::Text => "a text",
            Self::Bytes => "bytes",
            Self::Null => "null",
            Self::List => "a list",
            Self::Map | Self::Fields(_) => "a map",
        }
    }

    const fn is_number(self) -> bool {
        matches!(self, Self::Int | Self::Uint | Self::Double)
    }

    const fn is_ordered(self) -> bool {
        !matches!(self, Self::List | Self::Map | Self::Fields(_) | Self::Null)
    }

    /// Whether values of the two can ever be equal.
    fn compares_with(self, other: Self) -> bool {
        match (self, other) {
            (Self::Fields(_), _) | (_, Self::Fields(_)) => false,
            (Self::Any, _) | (_, Self::Any) => true,
            _ => self == other || (self.is_number() && other.is_number()),
        }
    }

    const fn or(self, other: Self) -> Self {
        match self {
            Self::Any => other,
            _ => self,
        }
    }
}

const fn literal_type(literal: &LiteralValue) -> Type {
    match literal {
        LiteralValue::Boolean(_) => Type::Bool,
        LiteralValue::Bytes(_) => Type::Bytes,
        LiteralValue::Double(_) => Type::Double,
        LiteralValue::Int(_) => Type::Int,
        LiteralValue::Null => Type::Null,
        LiteralValue::String(_) => Type::Text,
        LiteralValue::UInt(_) => Type::Uint,
    }
}

fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    match did_you_mean(name, known.clone()) {
        Some(near) => format!("unknown {what} `{name}`; did you mean `{near}`?"),
        None => format!("unknown {what} `{name}`; there is {}", list(known)),
    }
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn not_for(function: &str, kinds: &[Type]) -> String {
    let kinds: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
    format!("`{function}` cannot be used with {}", kinds.join(" and "))
}

/// `_==_` as users write it.
fn sign(operator: &str) -> &str {
    match operator {
        op::IN => "in",
        op::CONDITIONAL => "?",
        other => other.trim_matches('_'),
    }
}
