//! Pages by which a person comes in from an identity provider: there, and back.

use crate::admin::{Arrival, Desk};
use crate::link::{self, refused};
use crate::login;
use crate::page::{Page, escaped};
use crate::refusal::Refusal;
use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::routing::get;
use base::caps::OWN_PATH_BYTES_MAX;
use control::provider::Returned;
use http::header::{COOKIE, HOST, LOCATION, REFRESH, SET_COOKIE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use std::sync::Arc;

/// Seconds in which a login must have come to its end.
const FLOW_S: u32 = 600;
/// Where people go who said nothing of it.
const HOME: &str = "/";

pub(crate) fn router(desk: &Arc<Desk>) -> Router {
    let (lists, begins, ends) = (Arc::clone(desk), Arc::clone(desk), Arc::clone(desk));
    let links = Arc::clone(desk);
    let list = move || {
        let desk = Arc::clone(&lists);
        async move { list(&desk) }
    };
    let link = move |request: Request<Body>| {
        let desk = Arc::clone(&links);
        let head = request.into_parts().0;
        async move { link(&desk, &head).await.unwrap_or_else(|it| refused(&it)) }
    };
    let begin = move |Path(name): Path<String>, request: Request<Body>| {
        let desk = Arc::clone(&begins);
        let head = request.into_parts().0;
        async move { begin(&desk, &name, &head).await.unwrap_or_else(|it| told(&it, &head)) }
    };
    let end = move |Path(name): Path<String>, request: Request<Body>| {
        let desk = Arc::clone(&ends);
        let head = request.into_parts().0;
        async move {
            let mut answer = end(&desk, &name, &head).await.unwrap_or_else(|it| told(&it, &head));
            // It works once, whatever came of it.
            if let Some(cookie) = flow_cookie(&desk, "", 0) {
                answer.headers_mut().append(SET_COOKIE, cookie);
            }
            answer
        }
    };
    Router::new()
        .route("/login", get(list).post(link))
        .route("/login/with/{provider}", get(begin))
        .route("/login/from/{provider}", get(end))
}

/// The page of what was refused; the log says more.
fn told(refusal: &Refusal, head: &Parts) -> Response<Body> {
    let request = Arrival::of(&head.extensions).map(|arrival| arrival.id.as_str());
    let (request, cause) = (request.unwrap_or_default(), refusal.cause.as_deref().unwrap_or(""));
    tracing::warn!(request, code = refusal.code, cause, "a login by an identity provider failed");
    refused(refusal)
}

/// Ways to log in.
fn list(desk: &Desk) -> Response<Body> {
    let all = desk.control.provider_list();
    let one = |(name, title): &(String, String)| {
        format!(
            "<p><a href=\"/login/with/{}\">Log in with {}</a></p>",
            escaped(name),
            escaped(title)
        )
    };
    let mut body: String = all.iter().map(one).collect();
    body += "<p class=\"soft\">With a name and a password: <code>yett login</code>, or <code>POST /v1/sessions</code>.</p>";
    Page::note("Log in", &body).answer(StatusCode::OK)
}

/// Where this is reached by browsers.
fn origin(desk: &Desk, headers: &HeaderMap) -> String {
    let host = || headers.get(HOST).and_then(|it| it.to_str().ok()).unwrap_or_default();
    desk.url.clone().unwrap_or_else(|| format!("http://{}", host()))
}

fn back(desk: &Desk, name: &str, headers: &HeaderMap) -> String {
    format!("{}/login/from/{name}", origin(desk, headers))
}

/// The values of a query's fields; none of a field that is there twice.
fn field(head: &Parts, name: &str) -> Option<String> {
    let pairs = head.uri.query().unwrap_or_default().split('&').filter_map(|it| it.split_once('='));
    let mut values = pairs.filter(|(known, _)| *known == name).map(|(_, value)| value);
    let (Some(only), None) = (values.next(), values.next()) else { return None };
    let spaced = only.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().ok().map(Into::into)
}

/// A path of this API, and of nobody else: browsers take `//host` and `/\host` for other hosts.
fn own_path(to: &str) -> bool {
    let is_plain = to
        .bytes()
        .all(|c| c.is_ascii_graphic() && !matches!(c, b'\\' | b'"' | b'<' | b'>' | b';' | b','));
    to.len() <= OWN_PATH_BYTES_MAX && to.starts_with('/') && !to.starts_with("//") && is_plain
}

const fn flow_name(is_tls: bool) -> &'static str {
    if is_tls { "__Host-yett_login" } else { "yett_login" }
}

/// What a browser keeps while its person is elsewhere. It is sent along when somebody else's page leads back here.
fn flow_cookie(desk: &Desk, value: &str, seconds: u32) -> Option<HeaderValue> {
    let secure = if desk.is_tls { "; Secure" } else { "" };
    let name = flow_name(desk.is_tls);
    let text = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={seconds}{secure}");
    let mut value = HeaderValue::try_from(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// What the browser has kept: the secret of the login, and where to go then.
fn kept(desk: &Desk, headers: &HeaderMap) -> Option<(String, String)> {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split(';')).filter_map(|it| it.split_once('='));
    let (_, value) = pairs.find(|(known, _)| known.trim() == flow_name(desk.is_tls))?;
    let (flow, to) = value.trim().split_once('.')?;
    let to = percent_decode_str(to).decode_utf8().ok()?;
    Some((flow.to_owned(), to.into()))
}

/// Shows a link by which whoever is logged in does so once more, on the command line.
async fn link(desk: &Desk, head: &Parts) -> Result<Response<Body>, Refusal> {
    let caller = link::sender(desk, head).await?;
    let link = desk.control.link_create_own(&caller).await?;
    let url = format!("{}/login/{}", origin(desk, &head.headers), link.reveal());
    let body =
        format!("<p>It works once, within an hour:</p><pre>yett login {}</pre>", escaped(&url));
    Ok(Page::note("For the command line", &body).answer(StatusCode::OK))
}

async fn begin(desk: &Desk, name: &str, head: &Parts) -> Result<Response<Body>, Refusal> {
    let to = field(head, "to").unwrap_or_else(|| HOME.to_owned());
    if !own_path(&to) {
        return Err(Refusal::malformed("?to", "a path of this API, such as `/`"));
    }
    let begun = desk.control.provider_begin(name, &back(desk, name, &head.headers)).await?;
    let to = utf8_percent_encode(&to, NON_ALPHANUMERIC);
    let value = format!("{}.{to}", begun.flow.reveal());
    let body = "<p>You are sent to the identity provider.</p>";
    let mut answer = Page::note("Log in", body).answer(StatusCode::SEE_OTHER);
    let headers = answer.headers_mut();
    let broken = |_| {
        let detail = "the identity provider names an address that cannot be used";
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "provider_unavailable", detail)
    };
    headers.insert(LOCATION, HeaderValue::try_from(begun.url).map_err(broken)?);
    if let Some(cookie) = flow_cookie(desk, &value, FLOW_S) {
        headers.insert(SET_COOKIE, cookie);
    }
    Ok(answer)
}

async fn end(desk: &Desk, name: &str, head: &Parts) -> Result<Response<Body>, Refusal> {
    let arrival = Arrival::of(&head.extensions)?;
    let (flow, to) = kept(desk, &head.headers).unwrap_or_default();
    let to = if own_path(&to) { to } else { HOME.to_owned() };
    let text = |name| field(head, name).unwrap_or_default();
    let (state, code) = (text("state"), text("code"));
    let (issuer, error) = (field(head, "iss"), field(head, "error"));
    let returned = Returned { flow, state, code, issuer, error };
    let back = back(desk, name, &head.headers);
    let session = desk.control.provider_end(name, &back, returned, arrival.peer).await?;
    let caller = desk.control.caller(session.shown.reveal()).await?;
    let body = format!(
        "<p>You are logged in as <code>{}</code>, in this browser. <a href=\"{}\">Go on</a></p>\
         <form method=\"post\" action=\"/login\"><button>Make a link for the command line</button></form>",
        escaped(&caller.name),
        escaped(&to)
    );
    let mut answer = Page::note("Welcome", &body).answer(StatusCode::OK);
    // A redirection would be one of the provider's page, along which browsers send no cookie of ours.
    if to != HOME
        && let Ok(refresh) = HeaderValue::try_from(format!("0; url={to}"))
    {
        answer.headers_mut().insert(REFRESH, refresh);
    }
    if let Some(cookie) = login::cookie(session.shown.reveal(), desk.is_tls) {
        answer.headers_mut().append(SET_COOKIE, cookie);
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::own_path;

    #[test]
    fn nobody_is_sent_to_a_host_of_somebody_else() {
        for own in ["/", "/console/apis?x=1#y", "/a//b"] {
            assert!(own_path(own), "{own}");
        }
        let long = format!("/{}", "a".repeat(3_000));
        for other in [
            "",
            "a",
            "//evil.example",
            "/\\evil.example",
            "\\/x",
            "https://evil.example",
            "/\t/x",
            "/a b",
            "/é",
            &long,
        ] {
            assert!(!own_path(other), "{other}");
        }
    }
}
