//! Sessions of people and tokens of machines.

use crate::Access;
use crate::body::Line;
use crate::call::{Answer, Call, time};
use crate::login;
use crate::operation::{Operation, Shape};
use crate::refusal::Refusal;
use base::caps::ADMIN_LOGIN_BYTES_MAX;
use base::clock::unix_ms;
use base::{Moment, Secret};
use control::token::Token;
use http::{Method, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How long a token lasts unless said otherwise.
const TOKEN_MS: i64 = 90 * 86_400_000;

/// How to log in: with name and password, or with a link.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "NewSession")]
struct Sent {
    /// The name of a user.
    name: Option<Line>,
    /// The password of the user.
    password: Option<Line>,
    /// What an app for one-time passwords shows now, or one of the codes that work once.
    #[schemars(length(max = 32))]
    code: Option<Line>,
    /// What a one-time link ends with, in place of name and password.
    link: Option<Line>,
    /// Whether the answer shows the session, for programs that send it as a bearer token. Browsers get a cookie.
    #[serde(default)]
    bearer: bool,
}

/// A session that has begun.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SessionMade")]
struct Told {
    /// The id of the user.
    user: String,
    /// When it ends (RFC 3339).
    expires: String,
    /// What to send as bearer token, if that was asked for. It is shown once.
    #[serde(skip_serializing_if = "Option::is_none")]
    bearer: Option<String>,
}

/// Who asks.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Session")]
struct Current {
    /// The id of the user.
    user: String,
    /// What the user is called.
    name: String,
}

/// A token for machines.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "NewToken")]
struct TokenSent {
    /// What you tell it by.
    #[schemars(length(max = 100))]
    name: Line,
    /// What it may do: permissions such as `api:update` or `*:read`; all that you may when there is none.
    #[serde(default)]
    #[schemars(length(max = 64))]
    scopes: Vec<Line>,
    /// When it ends (RFC 3339), within a year; in 90 days unless said otherwise.
    expires: Option<Moment>,
}

/// A token that was made.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TokenMade")]
struct TokenTold {
    /// What to send as bearer token. It is shown once.
    token: String,
    /// When it ends (RFC 3339).
    expires: String,
}

async fn create(call: Call) -> Result<Answer, Refusal> {
    let sent: Sent = call.sent()?;
    let session = match (sent.name, sent.password, sent.link) {
        (Some(name), Some(password), None) => {
            let password = Secret::new(password.0);
            let code = sent.code.as_ref().map(|code| &*code.0);
            call.control.session_begin(&name.0, password, code, call.peer).await?
        }
        (None, None, Some(link)) => {
            let code = sent.code.as_ref().map(|code| &*code.0);
            call.control.link_take(&link.0, code, call.peer).await?
        }
        _ => {
            let message = "send `name` and `password`, or `link`";
            return Err(Refusal::malformed("", message));
        }
    };
    let expires = time(session.expires_ms);
    let shown = session.shown.reveal();
    let bearer = sent.bearer.then(|| shown.to_owned());
    let told = Told { user: session.user, expires, bearer };
    let cookie = if sent.bearer { None } else { login::cookie(shown, call.is_tls) };
    Ok(Answer { cookie, ..Answer::made(&told, Some("/v1/sessions/current".to_owned()))? })
}

async fn get(call: Call) -> Result<Answer, Refusal> {
    let (user, name) = (call.caller.user.clone(), call.caller.name.clone());
    Answer::found(&Current { user, name })
}

async fn delete(call: Call) -> Result<Answer, Refusal> {
    let Some(shown) = &call.shown else { return Ok(Answer::none()) };
    call.control.session_delete(&call.caller, shown.secret.reveal()).await?;
    let cookie = shown.is_cookie.then(|| login::no_cookie(call.is_tls));
    Ok(Answer { cookie, ..Answer::none() })
}

/// A login that goes on, without what is shown for it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Login")]
struct LoginTold {
    /// Its id.
    id: String,
    /// What people call it.
    name: String,
    /// What it may do; all that its user may when there is nothing here.
    scopes: Vec<String>,
    /// When it began (RFC 3339).
    created: String,
    /// When it ends (RFC 3339).
    expires: String,
    /// When it was seen last (RFC 3339): exact to some minutes.
    used: String,
}

/// All logins of one kind.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "LoginPage")]
struct Logins {
    /// The newest first.
    items: Vec<LoginTold>,
    /// Always null: there is one page.
    next: Option<String>,
}

fn logins(found: Vec<Token>) -> Result<Answer, Refusal> {
    let told = |token: Token| {
        let Token { id, name, scopes, created_ms, expires_ms, used_ms, .. } = token;
        let (created, expires, used) = (time(created_ms), time(expires_ms), time(used_ms));
        LoginTold { id, name, scopes, created, expires, used }
    };
    Answer::found(&Logins { items: found.into_iter().map(told).collect(), next: None })
}

async fn tokens(call: Call) -> Result<Answer, Refusal> {
    logins(call.control.token_list(&call.caller, None).await?)
}

async fn sessions(call: Call) -> Result<Answer, Refusal> {
    logins(call.control.session_list(&call.caller, None).await?)
}

async fn token_delete(call: Call) -> Result<Answer, Refusal> {
    call.control.token_delete(&call.caller, call.part("token")).await?;
    Ok(Answer::none())
}

async fn token(call: Call) -> Result<Answer, Refusal> {
    let sent: TokenSent = call.sent()?;
    let now_ms = i64::try_from(unix_ms(call.clock.wall())).unwrap_or(i64::MAX);
    let length_ms = match sent.expires {
        None => TOKEN_MS,
        Some(Moment(at)) => i64::try_from(unix_ms(at)).unwrap_or(i64::MAX) - now_ms,
    };
    let scopes: Vec<&str> = sent.scopes.iter().map(|scope| &*scope.0).collect();
    let made = call.control.token_create(&call.caller, &sent.name.0, &scopes, length_ms).await?;
    let token = made.reveal().to_owned();
    Answer::made(&TokenTold { token, expires: time(now_ms + length_ms) }, None)
}

pub(crate) fn operations() -> Vec<Operation> {
    const CURRENT: &str = "/v1/sessions/current";
    vec![
        Operation::new(
            (Method::POST, "/v1/sessions"),
            "session_create",
            Access::Open,
            "Log in",
            create,
        )
        .about("Whatever is wrong with a login, it is told in the same words and takes as long. Who fails too often must wait.")
        .takes(Shape::of::<Sent>())
        .answers(StatusCode::CREATED, Shape::of::<Told>())
        .takes_up_to(ADMIN_LOGIN_BYTES_MAX)
        .private()
        .problems(&[401, 429]),
        Operation::new((Method::GET, CURRENT), "session_get", Access::Own, "Who you are", get)
            .answers(StatusCode::OK, Shape::of::<Current>()),
        Operation::new(
            (Method::DELETE, CURRENT),
            "session_delete",
            Access::Own,
            "Log out: end the session or token that is shown",
            delete,
        )
        .unconditional(),
        Operation::new(
            (Method::POST, "/v1/tokens"),
            "token_create",
            Access::Own,
            "Make a token for machines, which is shown once",
            token,
        )
        .about("It may do no more than you.")
        .takes(Shape::of::<TokenSent>())
        .answers(StatusCode::CREATED, Shape::of::<TokenTold>()),
        Operation::new(
            (Method::GET, "/v1/tokens"),
            "token_list",
            Access::Own,
            "Your tokens, the newest first",
            tokens,
        )
        .answers(StatusCode::OK, Shape::of::<Logins>())
        .problems(&[403]),
        Operation::new(
            (Method::GET, "/v1/sessions"),
            "session_list",
            Access::Own,
            "Where you are logged in, the newest first",
            sessions,
        )
        .answers(StatusCode::OK, Shape::of::<Logins>())
        .problems(&[403]),
        Operation::new(
            (Method::DELETE, "/v1/tokens/{token}"),
            "token_delete",
            Access::Own,
            "End a token or a session, also of somebody else if you may",
            token_delete,
        )
        .unconditional(),
    ]
}
