//! Roles: named sets of permissions.

use crate::body::Line;
use crate::call::{Answer, Call};
use crate::operation::{Operation, Shape, needs};
use crate::refusal::Refusal;
use control::permission::Verb;
use control::role::{Role, Sent as Written};
use http::{Method, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const NOUN: &str = "role";
const ALL: &str = "/v1/roles";
const ONE: &str = "/v1/roles/{role}";

/// A role that is to be made.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "NewRole")]
struct Sent {
    /// What it is called: up to 63 small letters, digits, `-` and `_`.
    #[schemars(regex(pattern = r"^[a-z0-9][a-z0-9_-]{0,62}$"))]
    name: Line,
    /// Whom it is for.
    #[serde(default)]
    #[schemars(length(max = 200))]
    about: Line,
    /// What it may: patterns such as `api:read`, `api:*` and `*:read`.
    #[schemars(length(min = 1, max = 128), inner(regex(pattern = r"^([a-z]+|\*):([a-z]+|\*)$")))]
    may: Vec<Line>,
}

/// What is changed of a role.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ChangedRole")]
struct Changed {
    /// Whom it is for.
    #[serde(default)]
    #[schemars(length(max = 200))]
    about: Line,
    /// What it may from now on.
    #[schemars(length(min = 1, max = 128), inner(regex(pattern = r"^([a-z]+|\*):([a-z]+|\*)$")))]
    may: Vec<Line>,
}

/// A role.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Role")]
struct Told {
    /// What it is called.
    name: String,
    /// Whom it is for.
    about: String,
    /// What it may: patterns of permissions, such as `api:*`.
    may: Vec<String>,
    /// Whether it came with the program; such a one never changes.
    builtin: bool,
    /// How often it was changed, from 1; 0 of those that came with the program.
    revision: i64,
}

/// A page of roles.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RolePage")]
struct Page {
    /// First those that came with the program, the mightiest first; then the others by name.
    items: Vec<Told>,
    /// `after` of the next page; null on the last.
    next: Option<String>,
}

fn told(role: Role) -> Told {
    let Role { name, about, may, is_builtin, revision } = role;
    Told { name, about, may, builtin: is_builtin, revision }
}

fn texts(lines: &[Line]) -> Vec<String> {
    lines.iter().map(|line| line.0.clone()).collect()
}

async fn list(call: Call) -> Result<Answer, Refusal> {
    let page = call.control.role_list(&call.caller, &call.query.ask()?).await?.map(told);
    Answer::found(&Page { items: page.items, next: page.next })
}

async fn create(call: Call) -> Result<Answer, Refusal> {
    let sent: Sent = call.sent()?;
    let may = texts(&sent.may);
    let written = Written { about: &sent.about.0, may: &may };
    let made = call.control.role_create(&call.caller, &sent.name.0, written).await?;
    let (revision, location) = (made.revision, format!("{ALL}/{}", made.name));
    Ok(Answer::made(&told(made), Some(location))?.at(revision))
}

async fn get(call: Call) -> Result<Answer, Refusal> {
    let found = call.control.role_get(&call.caller, call.part(NOUN)).await?;
    let revision = found.revision;
    Ok(Answer::found(&told(found))?.at(revision))
}

async fn update(call: Call) -> Result<Answer, Refusal> {
    let sent: Changed = call.sent()?;
    let name = call.part(NOUN);
    let there = call.control.role_get(&call.caller, name).await?;
    let (may, revision) = (texts(&sent.may), call.revision(there.revision));
    let written = Written { about: &sent.about.0, may: &may };
    let became = call.control.role_update(&call.caller, name, revision, written).await?;
    let revision = became.revision;
    Ok(Answer::found(&told(became))?.at(revision))
}

async fn delete(call: Call) -> Result<Answer, Refusal> {
    let name = call.part(NOUN);
    let there = call.control.role_get(&call.caller, name).await?;
    let revision = call.revision(there.revision);
    call.control.role_delete(&call.caller, name, revision).await?;
    Ok(Answer::none())
}

pub(crate) fn operations() -> Vec<Operation> {
    let one = || Shape::of::<Told>();
    vec![
        Operation::new((Method::GET, ALL), "role_list", needs(NOUN, Verb::Read), "All roles", list)
            .answers(StatusCode::OK, Shape::of::<Page>())
            .searched(),
        Operation::new(
            (Method::POST, ALL),
            "role_create",
            needs(NOUN, Verb::Create),
            "Make a role",
            create,
        )
        .about("Nobody makes one that may more than they may themselves, in all workspaces.")
        .takes(Shape::of::<Sent>())
        .answers(StatusCode::CREATED, one())
        .tagged()
        .problems(&[409]),
        Operation::new((Method::GET, ONE), "role_get", needs(NOUN, Verb::Read), "Read a role", get)
            .answers(StatusCode::OK, one())
            .tagged(),
        Operation::new(
            (Method::PUT, ONE),
            "role_update",
            needs(NOUN, Verb::Update),
            "Change a role; whoever has it may at once what it says from now on",
            update,
        )
        .takes(Shape::of::<Changed>())
        .answers(StatusCode::OK, one())
        .tagged()
        .problems(&[409]),
        Operation::new(
            (Method::DELETE, ONE),
            "role_delete",
            needs(NOUN, Verb::Delete),
            "Take out a role that nobody has",
            delete,
        )
        .problems(&[409, 422]),
    ]
}
