//! Users: people who use the console and the admin API, and the roles they have.

use crate::Access;
use crate::body::Line;
use crate::call::{Answer, Call, time};
use crate::operation::{Operation, Shape, needs};
use crate::refusal::Refusal;
use base::Secret;
use control::User;
use control::permission::{Permission, ROLES, Verb};
use http::{Method, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const NOUN: &str = "user";
const ALL: &str = "/v1/users";

/// A user who is to be added.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "NewUser")]
struct Sent {
    /// What one logs in as: up to 63 small letters, digits, `-` and `_`.
    #[schemars(regex(pattern = r"^[a-z0-9][a-z0-9_-]{0,62}$"))]
    name: Line,
    /// Where mail goes.
    #[serde(default)]
    #[schemars(length(max = 254))]
    email: Line,
    /// 12 to 256 letters. Who has none logs in by a link or an identity provider.
    #[schemars(length(min = 12, max = 256))]
    password: Option<Line>,
}

/// A user.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "User")]
struct Told {
    /// The id, which stays when the user is renamed.
    id: String,
    /// What one logs in as.
    name: String,
    /// Where mail goes; empty when there is none.
    email: String,
    /// The identity provider the user comes from.
    issuer: Option<String>,
    /// Whether the user may not log in any more.
    disabled: bool,
    /// How often the user was changed, from 1.
    revision: i64,
    /// When the user was added (RFC 3339).
    created: String,
    /// When the user was changed last (RFC 3339).
    updated: String,
}

/// A page of users.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "UserPage")]
struct Page {
    /// By name.
    items: Vec<Told>,
    /// `after` of the next page; null on the last.
    next: Option<String>,
}

/// A role.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Role")]
struct Role {
    /// Its name.
    name: String,
    /// Whom it is for.
    about: String,
    /// What it may: patterns of permissions, such as `api:*`.
    may: Vec<String>,
}

/// All roles.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RolePage")]
struct Roles {
    /// The mightiest first.
    items: Vec<Role>,
    /// Always null: there is one page.
    next: Option<String>,
}

fn told(user: User) -> Told {
    let User { id, name, email, issuer, is_disabled, revision, created_ms, updated_ms, .. } = user;
    let (created, updated) = (time(created_ms), time(updated_ms));
    Told { id, name, email, issuer, disabled: is_disabled != 0, revision, created, updated }
}

async fn create(call: Call) -> Result<Answer, Refusal> {
    let sent: Sent = call.sent()?;
    let password = sent.password.map(|password| Secret::new(password.0));
    let (name, email) = (&sent.name.0, &sent.email.0);
    let made = call.control.user_create(&call.caller, name, email, password).await?;
    let revision = made.revision;
    Ok(Answer::made(&told(made), None)?.at(revision))
}

async fn list(call: Call) -> Result<Answer, Refusal> {
    let limit = call.query.limit()?;
    let read = call.control.user_list(&call.caller, call.query.after(), limit + 1).await?;
    Answer::page(read, limit, |it| it.name.clone(), told)
}

/// Gives a role in the workspace of the path; in all where there is none.
async fn role_add(call: Call) -> Result<Answer, Refusal> {
    let place = Some(&*call.workspace).filter(|it| !it.is_empty());
    let permission = Permission::new(NOUN, Verb::Update);
    let user = call.control.user_find(&call.caller, permission, place, call.part(NOUN)).await?;
    let (workspace, role) = (&*call.workspace, call.part("role"));
    call.control.user_role_add(&call.caller, &user.id, workspace, role).await?;
    Ok(Answer::none())
}

async fn roles(_: Call) -> Result<Answer, Refusal> {
    let patterns = |may: &[&str]| may.iter().map(|it| (*it).to_owned()).collect();
    let role = |role: &control::permission::Role| Role {
        name: role.name.to_owned(),
        about: role.about.to_owned(),
        may: patterns(role.may),
    };
    Answer::found(&Roles { items: ROLES.iter().map(role).collect(), next: None })
}

pub(crate) fn operations() -> Vec<Operation> {
    vec![
        Operation::new(
            (Method::GET, ALL),
            "user_list",
            needs(NOUN, Verb::Read),
            "All users, by name",
            list,
        )
        .answers(StatusCode::OK, Shape::of::<Page>())
        .paged(),
        Operation::new(
            (Method::POST, ALL),
            "user_create",
            needs(NOUN, Verb::Create),
            "Add a user, who has no role yet",
            create,
        )
        .takes(Shape::of::<Sent>())
        .answers(StatusCode::CREATED, Shape::of::<Told>())
        .private()
        .problems(&[409]),
        Operation::new(
            (Method::PUT, "/v1/users/{user}/roles/{role}"),
            "user_role_add",
            needs(NOUN, Verb::Update),
            "Give a user a role in all workspaces",
            role_add,
        )
        .about("Nobody gives a role that may do more than they may themselves.")
        .unconditional()
        .problems(&[422]),
        Operation::new(
            (Method::PUT, "/v1/workspaces/{workspace}/users/{user}/roles/{role}"),
            "workspace_user_role_add",
            needs(NOUN, Verb::Update),
            "Give a user a role in a workspace",
            role_add,
        )
        .about("Nobody gives a role that may do more than they may themselves.")
        .unconditional()
        .problems(&[422]),
        Operation::new(
            (Method::GET, "/v1/roles"),
            "role_list",
            Access::Own,
            "All roles, the mightiest first",
            roles,
        )
        .answers(StatusCode::OK, Shape::of::<Roles>()),
    ]
}
