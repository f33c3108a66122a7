//! One-time passwords, by which users prove who they are besides their passwords; and these.

use crate::Access;
use crate::body::Line;
use crate::call::{Answer, Call};
use crate::operation::{Operation, Shape};
use crate::refusal::Refusal;
use base::Secret;
use http::{Method, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const ALL: &str = "/v1/second-factor";

/// A new password of one's own.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "OwnPassword")]
struct Password {
    /// The password until now; who came by a link has none.
    old: Option<Line>,
    /// The password from now on.
    #[schemars(length(min = 12, max = 256))]
    new: Line,
}

/// What an app for one-time passwords shows now.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "SecondFactorCode")]
struct Sent {
    /// Six digits; or, to take it out, one of the codes that work once.
    #[schemars(length(max = 32))]
    code: Line,
}

/// A seed for an app for one-time passwords.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SecondFactorSeed")]
struct Seed {
    /// The seed in base32, for typing.
    secret: String,
    /// The same with its name (`otpauth://…`), for pictures that apps read.
    uri: String,
}

/// What works in place of the app.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SecondFactorCodes")]
struct Codes {
    /// Codes that each work once. They are shown once.
    codes: Vec<String>,
}

async fn password(call: Call) -> Result<Answer, Refusal> {
    let sent: Password = call.sent()?;
    let old = sent.old.map(|old| Secret::new(old.0));
    call.control.password_set(&call.caller, old, Secret::new(sent.new.0)).await?;
    Ok(Answer::none())
}

async fn begin(call: Call) -> Result<Answer, Refusal> {
    let seed = call.control.second_factor_begin(&call.caller).await?;
    let (secret, uri) = (seed.secret.reveal().to_owned(), seed.uri.reveal().to_owned());
    Answer::made(&Seed { secret, uri }, None)
}

async fn confirm(call: Call) -> Result<Answer, Refusal> {
    let sent: Sent = call.sent()?;
    let codes = call.control.second_factor_confirm(&call.caller, &sent.code.0).await?;
    Answer::found(&Codes { codes: codes.iter().map(|code| code.reveal().to_owned()).collect() })
}

async fn end(call: Call) -> Result<Answer, Refusal> {
    let sent: Sent = call.sent()?;
    call.control.second_factor_delete(&call.caller, &sent.code.0).await?;
    Ok(Answer::none())
}

pub(crate) fn operations() -> Vec<Operation> {
    vec![
        Operation::new(
            (Method::PUT, "/v1/password"),
            "password_set",
            Access::Own,
            "Set your own password; all your sessions end",
            password,
        )
        .takes(Shape::of::<Password>())
        .private()
        .unconditional()
        .problems(&[403, 429]),
        Operation::new(
            (Method::POST, ALL),
            "second_factor_begin",
            Access::Own,
            "Make a seed for an app for one-time passwords",
            begin,
        )
        .about("You are asked for nothing until you have confirmed it. It is shown once.")
        .answers(StatusCode::CREATED, Shape::of::<Seed>())
        .problems(&[409]),
        Operation::new(
            (Method::POST, "/v1/second-factor/confirm"),
            "second_factor_confirm",
            Access::Own,
            "Be asked for a one-time password at each login from now on",
            confirm,
        )
        .about("Send what the app shows. Keep the codes of the answer for when you have lost it.")
        .takes(Shape::of::<Sent>())
        .private()
        .answers(StatusCode::OK, Shape::of::<Codes>())
        .problems(&[404, 429]),
        Operation::new(
            (Method::POST, "/v1/second-factor/end"),
            "second_factor_delete",
            Access::Own,
            "Be asked for one-time passwords no more",
            end,
        )
        .takes(Shape::of::<Sent>())
        .private()
        .problems(&[404, 429]),
    ]
}
