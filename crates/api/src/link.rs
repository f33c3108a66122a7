//! Pages by which a person comes in: a link that works once, and the first password.

use crate::admin::{Arrival, Desk};
use crate::login;
use crate::page::{Page, escaped};
use crate::refusal::Refusal;
use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::routing::{get, post};
use base::Secret;
use base::caps::ADMIN_FORM_BYTES_MAX;
use control::{Caller, Code};
use http::header::{CONTENT_TYPE, ORIGIN, SET_COOKIE};
use http::request::Parts;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use percent_encoding::percent_decode_str;
use std::sync::Arc;

/// What a page says when something was refused.
pub(crate) fn refused(refusal: &Refusal) -> Response<Body> {
    let body = format!("<p>{}.</p>", escaped(&refusal.detail));
    Page::note("This did not work", &body).answer(refusal.status)
}

pub(crate) fn router(desk: &Arc<Desk>) -> Router {
    let (takes, sets) = (Arc::clone(desk), Arc::clone(desk));
    let take = move |Path(link): Path<String>, request: Request<Body>| {
        let desk = Arc::clone(&takes);
        async move { take(&desk, &link, request).await.unwrap_or_else(|it| refused(&it)) }
    };
    let set = move |request: Request<Body>| {
        let desk = Arc::clone(&sets);
        async move { password(&desk, request).await.unwrap_or_else(|it| refused(&it)) }
    };
    Router::new()
        .route("/login/{link}", get(async || ask()).post(take))
        .route("/password", post(set))
}

/// Shows a button: programs that look at links before a person does (previews, scanners) must not use them up.
fn ask() -> Response<Body> {
    let body =
        "<p>This link logs you in once.</p><form method=\"post\"><button>Log in</button></form>";
    Page::note("Yett", body).answer(StatusCode::OK)
}

/// Asks for what an app for one-time passwords shows.
fn ask_for_code(detail: &str) -> Response<Body> {
    let body = format!(
        "<p>{}.</p><form method=\"post\"><input name=\"code\" maxlength=\"32\" autocomplete=\"one-time-code\" \
         aria-label=\"Code\" required autofocus><button>Log in</button></form>",
        escaped(detail)
    );
    Page::note("One more thing", &body).answer(StatusCode::OK)
}

async fn take(desk: &Desk, link: &str, request: Request<Body>) -> Result<Response<Body>, Refusal> {
    login::same_site(request.method(), request.headers(), None)?;
    let arrival = Arrival::of(request.extensions())?.clone();
    // The first button sends nothing.
    let code = field(request, "code").await.ok();
    let code = code.as_ref().map(Secret::reveal);
    let session = match desk.control.link_take(link, code, arrival.peer).await {
        Err(problem) if problem.code == Code::CodeRequired => {
            return Ok(ask_for_code(
                "Type the code that your app for one-time passwords shows, or one of those that work once",
            ));
        }
        taken => taken?,
    };
    let caller = desk.control.caller(session.shown.reveal()).await?;
    let body = format!(
        "<p>You are logged in as <code>{}</code>, in this browser. Choose a password for the next time: 12 letters or more.</p>\
         <form method=\"post\" action=\"/password\"><input type=\"password\" name=\"password\" minlength=\"12\" maxlength=\"256\" \
         autocomplete=\"new-password\" aria-label=\"Password\" required autofocus><button>Set the password</button></form>",
        escaped(&caller.name)
    );
    let mut answer = Page::note("Welcome", &body).answer(StatusCode::OK);
    if let Some(cookie) = login::cookie(session.shown.reveal(), desk.is_tls) {
        answer.headers_mut().insert(SET_COOKIE, cookie);
    }
    Ok(answer)
}

/// Who sends a form of ours.
pub(crate) async fn sender(desk: &Desk, head: &Parts) -> Result<Caller, Refusal> {
    // A form cannot send a header of ours; browsers say from where it is sent.
    if !head.headers.contains_key(ORIGIN) {
        let detail = "send this form from the page that shows it";
        return Err(Refusal::new(StatusCode::FORBIDDEN, "cross_site", detail));
    }
    login::same_site(&head.method, &head.headers, None)?;
    let shown = login::shown(&head.headers, desk.is_tls).filter(|shown| shown.is_cookie);
    let shown = shown.map_or_else(|| Secret::new(String::new()), |shown| shown.secret);
    let mut caller = desk.control.caller(shown.reveal()).await?;
    let arrival = Arrival::of(&head.extensions)?;
    caller.address = Some(arrival.peer.to_string());
    caller.request = Some(arrival.id.clone());
    Ok(caller)
}

/// Sets the first password of whoever came by a link.
async fn password(desk: &Desk, request: Request<Body>) -> Result<Response<Body>, Refusal> {
    let (head, body) = request.into_parts();
    let caller = sender(desk, &head).await?;
    let request = Request::from_parts(head, body);
    let password = field(request, "password").await?;
    desk.control.password_set(&caller, None, password).await?;
    let body = format!(
        "<p>The password of <code>{}</code> is set. All sessions have ended: log in with it from now on, for example by \
         <code>yett login</code>.</p><p><a href=\"/\">What can be done here</a></p>",
        escaped(&caller.name)
    );
    Ok(Page::note("Done", &body).answer(StatusCode::OK))
}

/// A field of a form.
async fn field(request: Request<Body>, name: &str) -> Result<Secret, Refusal> {
    let media_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let is_form = media_type.is_some_and(|it| it.starts_with("application/x-www-form-urlencoded"));
    let wrong = || Refusal::malformed("", "this is not the form that was shown");
    if !is_form {
        return Err(wrong());
    }
    let collected = Limited::new(request.into_body(), ADMIN_FORM_BYTES_MAX).collect().await;
    let bytes = collected.map_err(|_| wrong())?.to_bytes();
    let text = str::from_utf8(&bytes).map_err(|_| wrong())?;
    let value = text.split('&').filter_map(|pair| pair.split_once('='));
    let value = value.filter(|(known, _)| *known == name).map(|(_, value)| value).next();
    let spaced = value.ok_or_else(wrong)?.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8().map_err(|_| wrong())?;
    Ok(Secret::new(decoded.into_owned()))
}
