//! Users: people who use the console and the admin API, and the roles they have.

use crate::body::Line;
use crate::call::{Answer, Call, time};
use crate::operation::{Operation, Shape, needs};
use crate::refusal::Refusal;
use base::Secret;
use control::permission::{Permission, Verb};
use control::{User, UserWritten};
use http::{Method, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const NOUN: &str = "user";
const ALL: &str = "/v1/users";
const ONE: &str = "/v1/users/{user}";

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

/// What is changed of a user.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ChangedUser")]
struct Changed {
    /// What one logs in as.
    #[schemars(regex(pattern = r"^[a-z0-9][a-z0-9_-]{0,62}$"))]
    name: Line,
    /// Where mail goes.
    #[serde(default)]
    #[schemars(length(max = 200))]
    email: Line,
    /// Whether the user may not log in any more: all sessions and tokens end.
    #[serde(default)]
    disabled: bool,
}

/// A role that somebody has.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Grant")]
struct Grant {
    /// The id of the workspace; null for all of them.
    workspace: Option<String>,
    /// The name of the role.
    role: String,
}

/// The roles of a user.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "GrantPage")]
struct Grants {
    /// All that there are.
    items: Vec<Grant>,
    /// Always null: there is one page.
    next: Option<String>,
}

/// A link by which a user logs in once.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "LinkMade")]
struct Link {
    /// What `/login/` is followed by. It is shown once and works for an hour.
    link: String,
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
    let location = format!("{ALL}/{}", made.name);
    Ok(Answer::made(&told(made), Some(location))?.at(revision))
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

/// Takes a role in the workspace of the path; in all where there is none.
async fn role_remove(call: Call) -> Result<Answer, Refusal> {
    let place = Some(&*call.workspace).filter(|it| !it.is_empty());
    let permission = Permission::new(NOUN, Verb::Update);
    let user = call.control.user_find(&call.caller, permission, place, call.part(NOUN)).await?;
    let (workspace, role) = (&*call.workspace, call.part("role"));
    call.control.user_role_remove(&call.caller, &user.id, workspace, role).await?;
    Ok(Answer::none())
}

async fn there(call: &Call, verb: Verb) -> Result<User, Refusal> {
    let permission = Permission::new(NOUN, verb);
    Ok(call.control.user_find(&call.caller, permission, None, call.part(NOUN)).await?)
}

async fn get(call: Call) -> Result<Answer, Refusal> {
    let found = there(&call, Verb::Read).await?;
    let revision = found.revision;
    Ok(Answer::found(&told(found))?.at(revision))
}

async fn update(call: Call) -> Result<Answer, Refusal> {
    let sent: Changed = call.sent()?;
    let there = there(&call, Verb::Update).await?;
    let (name, email, is_disabled) = (&*sent.name.0, &*sent.email.0, sent.disabled);
    let written = UserWritten { name, email, is_disabled };
    let of = (&*there.id, call.revision(there.revision));
    let became = call.control.user_update(&call.caller, of, written).await?;
    let revision = became.revision;
    Ok(Answer::found(&told(became))?.at(revision))
}

async fn delete(call: Call) -> Result<Answer, Refusal> {
    let there = there(&call, Verb::Delete).await?;
    let of = (&*there.id, call.revision(there.revision));
    call.control.user_delete(&call.caller, of).await?;
    Ok(Answer::none())
}

async fn roles(call: Call) -> Result<Answer, Refusal> {
    let there = there(&call, Verb::Read).await?;
    let found = call.control.user_roles(&call.caller, &there.id, None).await?;
    let grant = |it: control::Grant| Grant {
        workspace: Some(it.workspace).filter(|it| !it.is_empty()),
        role: it.role,
    };
    Answer::found(&Grants { items: found.into_iter().map(grant).collect(), next: None })
}

async fn link(call: Call) -> Result<Answer, Refusal> {
    let there = there(&call, Verb::Update).await?;
    let link = call.control.user_link_create(&call.caller, &there.id).await?;
    Answer::made(&Link { link: link.reveal().to_owned() }, None)
}

async fn second_factor_delete(call: Call) -> Result<Answer, Refusal> {
    let there = there(&call, Verb::Update).await?;
    call.control.user_second_factor_delete(&call.caller, &there.id).await?;
    Ok(Answer::none())
}

pub(crate) fn operations() -> Vec<Operation> {
    let mut all = vec![
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
        .tagged()
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
    ];
    all.extend(one());
    all
}

/// What is done with one user.
fn one() -> Vec<Operation> {
    vec![
        Operation::new(
            (Method::DELETE, "/v1/users/{user}/roles/{role}"),
            "user_role_remove",
            needs(NOUN, Verb::Update),
            "Take a role in all workspaces from a user",
            role_remove,
        )
        .unconditional()
        .problems(&[409, 422]),
        Operation::new(
            (Method::DELETE, "/v1/workspaces/{workspace}/users/{user}/roles/{role}"),
            "workspace_user_role_remove",
            needs(NOUN, Verb::Update),
            "Take a role in a workspace from a user",
            role_remove,
        )
        .unconditional()
        .problems(&[409, 422]),
        Operation::new(
            (Method::GET, "/v1/users/{user}/roles"),
            "user_roles",
            needs(NOUN, Verb::Read),
            "Which roles a user has, and where",
            roles,
        )
        .answers(StatusCode::OK, Shape::of::<Grants>()),
        Operation::new((Method::GET, ONE), "user_get", needs(NOUN, Verb::Read), "Read a user", get)
            .answers(StatusCode::OK, Shape::of::<Told>())
            .tagged(),
        Operation::new(
            (Method::PUT, ONE),
            "user_update",
            needs(NOUN, Verb::Update),
            "Change a user, or keep one from logging in",
            update,
        )
        .takes(Shape::of::<Changed>())
        .answers(StatusCode::OK, Shape::of::<Told>())
        .tagged()
        .problems(&[409]),
        Operation::new(
            (Method::DELETE, ONE),
            "user_delete",
            needs(NOUN, Verb::Delete),
            "Take out a user, with all logins and roles",
            delete,
        )
        .problems(&[409, 422]),
        Operation::new(
            (Method::POST, "/v1/users/{user}/links"),
            "user_link_create",
            needs(NOUN, Verb::Update),
            "Make a link by which a user who has lost the password logs in once",
            link,
        )
        .about("A user who has a second factor shows it all the same.")
        .answers(StatusCode::CREATED, Shape::of::<Link>()),
        Operation::new(
            (Method::DELETE, "/v1/users/{user}/second-factor"),
            "user_second_factor_delete",
            needs(NOUN, Verb::Update),
            "Ask a user who has lost the app for one-time passwords no more",
            second_factor_delete,
        )
        .unconditional(),
    ]
}
