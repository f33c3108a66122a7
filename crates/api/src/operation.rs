use crate::admin;
use crate::call::{Answer, Call};
use crate::query::{PAGED, Parameter, SEARCHED};
use crate::refusal::Refusal;
use base::caps::ADMIN_BODY_BYTES_MAX;
use control::permission::{Permission, Verb};
use http::{Method, StatusCode};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::Value;
use std::fmt;
use std::pin::Pin;
use std::sync::LazyLock;

/// Who may ask for an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everybody: these are how somebody comes in.
    Open,
    /// Whoever is logged in; what they see or do is their own.
    Own,
    /// Whoever has this permission in the workspace of the path; in all of them where the path names none.
    Needs(Permission),
}

/// What a body looks like.
pub(crate) enum Shape {
    /// As a type.
    Of(fn(&mut SchemaGenerator) -> Schema),
    /// A schema of this name, which may refer to others.
    Named(String, Value),
}

impl Shape {
    pub(crate) fn of<T: JsonSchema>() -> Self {
        Self::Of(|generator| generator.subschema_for::<T>())
    }
}

/// What an operation does once it may be done.
pub(crate) type Doing = Pin<Box<dyn Future<Output = Result<Answer, Refusal>> + Send>>;
type Handler = Box<dyn Fn(Call) -> Doing + Send + Sync>;

/// Something that can be done over HTTP.
pub struct Operation {
    pub(crate) name: String,
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) access: Access,
    pub(crate) summary: String,
    /// More than the summary says.
    pub(crate) about: &'static str,
    pub(crate) query: &'static [Parameter],
    pub(crate) body: Option<Shape>,
    pub(crate) body_max: usize,
    /// Whether a request without a body will do.
    pub(crate) is_body_optional: bool,
    /// Whether what is sent must not be repeated.
    pub(crate) is_private: bool,
    /// Whether it asks for `If-Match`.
    pub(crate) is_conditional: bool,
    /// Whether answers have an ETag.
    pub(crate) is_tagged: bool,
    pub(crate) status: StatusCode,
    pub(crate) answer: Option<Shape>,
    /// Statuses of problems that other operations do not have.
    pub(crate) problems: &'static [u16],
    pub(crate) handler: Handler,
}

impl Operation {
    /// One that does what a function says.
    pub(crate) fn new<F, D>(
        (method, path): (Method, impl Into<String>),
        name: impl Into<String>,
        access: Access,
        summary: impl Into<String>,
        does: F,
    ) -> Self
    where
        F: Fn(Call) -> D + Send + Sync + 'static,
        D: Future<Output = Result<Answer, Refusal>> + Send + 'static,
    {
        Self {
            name: name.into(),
            path: path.into(),
            access,
            summary: summary.into(),
            about: "",
            query: &[],
            body: None,
            body_max: ADMIN_BODY_BYTES_MAX,
            is_body_optional: false,
            is_private: false,
            is_conditional: matches!(method, Method::PUT | Method::DELETE),
            is_tagged: false,
            status: StatusCode::NO_CONTENT,
            answer: None,
            problems: &[],
            method,
            handler: Box::new(move |call| Box::pin(does(call))),
        }
    }

    pub(crate) fn about(self, about: &'static str) -> Self {
        Self { about, ..self }
    }

    pub(crate) fn takes(self, body: Shape) -> Self {
        Self { body: Some(body), ..self }
    }

    pub(crate) fn answers(self, status: StatusCode, answer: Shape) -> Self {
        Self { status, answer: Some(answer), ..self }
    }

    /// It answers with one thing, by its revision.
    pub(crate) fn reads<T: JsonSchema>(self) -> Self {
        self.answers(StatusCode::OK, Shape::of::<T>()).tagged()
    }

    /// It makes one thing of what is sent.
    pub(crate) fn makes<S: JsonSchema, T: JsonSchema>(self) -> Self {
        self.takes(Shape::of::<S>()).answers(StatusCode::CREATED, Shape::of::<T>()).tagged()
    }

    /// It changes one thing to what is sent.
    pub(crate) fn changes<S: JsonSchema, T: JsonSchema>(self) -> Self {
        self.takes(Shape::of::<S>()).reads::<T>()
    }

    /// Answers and changes go by revisions.
    pub(crate) fn tagged(self) -> Self {
        Self { is_tagged: true, ..self }
    }

    /// It asks for no `If-Match`: doing it twice is as doing it once.
    pub(crate) fn unconditional(self) -> Self {
        Self { is_conditional: false, ..self }
    }

    pub(crate) fn private(self) -> Self {
        Self { is_private: true, ..self }
    }

    pub(crate) fn optional_body(self) -> Self {
        Self { is_body_optional: true, ..self }
    }

    pub(crate) fn paged(self) -> Self {
        self.asks(PAGED)
    }

    /// A list that can be searched, in pages.
    pub(crate) fn searched(self) -> Self {
        self.asks(SEARCHED)
    }

    /// It knows these query parameters.
    pub(crate) fn asks(self, query: &'static [Parameter]) -> Self {
        Self { query, ..self }
    }

    /// It takes bodies of so many bytes.
    pub(crate) fn takes_up_to(self, body_max: usize) -> Self {
        Self { body_max, ..self }
    }

    pub(crate) fn problems(self, problems: &'static [u16]) -> Self {
        Self { problems, ..self }
    }

    /// Its name: the function in `control`, the `operationId` of the document.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its method.
    #[must_use]
    pub const fn method(&self) -> &Method {
        &self.method
    }

    /// Its path, with `{…}` for what is named.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Who may ask for it.
    #[must_use]
    pub const fn access(&self) -> Access {
        self.access
    }

    /// What it does, in a sentence.
    #[must_use]
    pub fn summary(&self) -> &str {
        &self.summary
    }

    /// Whether it asks for `If-Match`.
    #[must_use]
    pub const fn is_conditional(&self) -> bool {
        self.is_conditional
    }

    /// Its path with these in place of what is named, in order.
    #[must_use]
    pub fn path_of(&self, names: &[&str]) -> String {
        let mut names = names.iter();
        let part = |part: &str| match part.starts_with('{') {
            true => names.next().copied().unwrap_or_default().to_owned(),
            false => part.to_owned(),
        };
        self.path.split('/').map(part).collect::<Vec<_>>().join("/")
    }

    /// The names of what is named in the path.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &str> {
        self.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
    }

    /// The noun it is about, for people.
    pub(crate) fn noun(&self) -> &str {
        self.name.rsplit_once('_').map_or(self.name.as_str(), |(noun, _)| noun)
    }
}

impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} {}", self.name, self.method, self.path)
    }
}

/// A permission.
pub(crate) const fn needs(noun: &'static str, verb: Verb) -> Access {
    Access::Needs(Permission::new(noun, verb))
}

/// The table: all operations, in the order of the document.
pub fn operations() -> &'static [Operation] {
    static TABLE: LazyLock<Vec<Operation>> = LazyLock::new(|| {
        let mut table = admin::session::operations();
        table.extend(admin::provider::operations());
        table.extend(admin::second_factor::operations());
        table.extend(admin::workspace::operations());
        table.extend(admin::grants::operations());
        table.extend(admin::object::operations());
        table.extend(admin::import::operations());
        table.extend(admin::revision::operations());
        table.extend(admin::secret::operations());
        table.extend(admin::consumer::operations());
        table.extend(admin::application::operations());
        table.extend(admin::credential::operations());
        table.extend(admin::config::operations());
        table.extend(admin::user::operations());
        table.extend(admin::role::operations());
        table.extend(admin::setting::operations());
        table.extend(admin::audit::operations());
        table
    });
    &TABLE
}
