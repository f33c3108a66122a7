use crate::refusal::Refusal;
use base::Secret;
use http::header::{AUTHORIZATION, COOKIE, HOST, ORIGIN};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use std::net::IpAddr;

/// Seconds that a browser keeps a session: as long as it lasts.
const COOKIE_S: u32 = 12 * 3_600;
/// What pages of ours send along with a cookie, and pages of others cannot.
const CSRF: &str = "x-yett-csrf";

/// What somebody has shown.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) secret: Secret,
    /// Whether a browser sent it by itself.
    pub(crate) is_cookie: bool,
}

/// The name of the cookie: with TLS browsers make sure that it was set by this host and never leaves in the clear.
const fn name(is_tls: bool) -> &'static str {
    if is_tls { "__Host-yett_session" } else { "yett_session" }
}

/// A cookie that holds a session.
pub(crate) fn cookie(session: &str, is_tls: bool) -> Option<HeaderValue> {
    let secure = if is_tls { "; Secure" } else { "" };
    let name = name(is_tls);
    let text =
        format!("{name}={session}; Path=/; HttpOnly; SameSite=Strict; Max-Age={COOKIE_S}{secure}");
    let mut value = HeaderValue::try_from(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// A cookie that takes the place of a session.
pub(crate) const fn no_cookie(is_tls: bool) -> HeaderValue {
    if is_tls {
        HeaderValue::from_static(
            "__Host-yett_session=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0; Secure",
        )
    } else {
        HeaderValue::from_static("yett_session=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0")
    }
}

/// What a request shows: a bearer token, or else a cookie.
pub(crate) fn shown(headers: &HeaderMap, is_tls: bool) -> Option<Shown> {
    if headers.contains_key(AUTHORIZATION) {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (only, None) = (values.next()?, values.next()) else { return None };
        let (scheme, token) = only.to_str().ok()?.split_once(' ')?;
        let is_bearer = scheme.eq_ignore_ascii_case("bearer");
        let secret = Secret::new(token.trim().to_owned());
        return is_bearer.then_some(Shown { secret, is_cookie: false });
    }
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split(';')).filter_map(|it| it.split_once('='));
    let (_, session) = pairs.find(|(known, _)| known.trim() == name(is_tls))?;
    Some(Shown { secret: Secret::new(session.trim().to_owned()), is_cookie: true })
}

/// Refuses what a page of somebody else has a browser do.
pub(crate) fn same_site(
    method: &Method,
    headers: &HeaderMap,
    shown: Option<&Shown>,
) -> Result<(), Refusal> {
    if matches!(*method, Method::GET | Method::HEAD) {
        return Ok(());
    }
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let is_own = |origin: &str| {
        let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
        host.is_some_and(|host| text(HOST).is_some_and(|it| it.eq_ignore_ascii_case(host)))
    };
    let is_foreign = headers.contains_key(ORIGIN) && !text(ORIGIN).is_some_and(is_own);
    let refuse = |detail| Err(Refusal::new(StatusCode::FORBIDDEN, "cross_site", detail));
    if is_foreign {
        return refuse("pages of other origins may not use this API");
    }
    if shown.is_some_and(|shown| shown.is_cookie) && !headers.contains_key(CSRF) {
        return refuse("send `x-yett-csrf: 1` along with the cookie");
    }
    Ok(())
}

/// Names under which this API may be asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hosts {
    /// Besides addresses and `localhost`.
    pub(crate) names: Vec<String>,
    /// Whether others are refused: a web page could reach a loopback address under a name of its own (DNS rebinding).
    pub(crate) is_strict: bool,
}

impl Hosts {
    /// Refuses requests for a host that this is not.
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let mut values = headers.get_all(HOST).iter();
        let host = values.next().and_then(|value| value.to_str().ok());
        let is_only = values.next().is_none();
        if host.is_some_and(|host| is_only && (!self.is_strict || self.is_ours(host))) {
            return Ok(());
        }
        Err(Refusal::new(
            StatusCode::MISDIRECTED_REQUEST,
            "wrong_host",
            "ask for the address of this API, or for `localhost`",
        ))
    }

    fn is_ours(&self, host: &str) -> bool {
        if let Some(inner) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            return inner.0.parse::<IpAddr>().is_ok();
        }
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name).to_ascii_lowercase();
        name == "localhost" || name.parse::<IpAddr>().is_ok() || self.names.contains(&name)
    }
}

#[cfg(test)]
mod tests {
    use super::{Hosts, same_site, shown};
    use http::{HeaderMap, HeaderName, Method};

    fn headers(all: &[(&'static str, &str)]) -> HeaderMap {
        let header = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), value.parse().unwrap())
        };
        all.iter().map(header).collect()
    }

    #[test]
    fn a_token_goes_before_a_cookie_and_two_are_none() {
        let told = |all: &[(&'static str, &str)], is_tls| {
            shown(&headers(all), is_tls).map(|it| (it.secret.reveal().to_owned(), it.is_cookie))
        };
        let cookie = ("cookie", "a=b; yett_session=s; c=d");
        assert_eq!(told(&[cookie], false), Some(("s".into(), true)));
        assert_eq!(told(&[cookie], true), None, "with TLS only a cookie that was set with it");
        assert_eq!(told(&[("cookie", "__Host-yett_session=t")], true), Some(("t".into(), true)));
        let token = ("authorization", "bearer  x");
        assert_eq!(told(&[cookie, token], false), Some(("x".into(), false)));
        assert_eq!(told(&[cookie, ("authorization", "Basic eA==")], false), None);
        let mut two = headers(&[token]);
        two.append("authorization", "Bearer y".parse().unwrap());
        assert!(shown(&two, false).is_none());
    }

    #[test]
    fn pages_of_others_are_refused() {
        let status = |method: Method, all: &[(&'static str, &str)]| {
            let headers = headers(all);
            let shown = shown(&headers, false);
            same_site(&method, &headers, shown.as_ref())
                .map_or_else(|it| it.status.as_u16(), |()| 200)
        };
        let (host, cookie) = (("host", "localhost:9181"), ("cookie", "yett_session=s"));
        let (own, csrf) = (("origin", "http://localhost:9181"), ("x-yett-csrf", "1"));
        assert_eq!(status(Method::POST, &[host, cookie, own, csrf]), 200);
        assert_eq!(status(Method::POST, &[host, cookie, own]), 403);
        assert_eq!(status(Method::DELETE, &[host, cookie]), 403);
        assert_eq!(status(Method::GET, &[host, cookie]), 200);
        for foreign in ["http://evil.example", "null", "http://localhost:9999", "localhost:9181"] {
            assert_eq!(status(Method::POST, &[host, ("origin", foreign)]), 403, "{foreign}");
            assert_eq!(status(Method::POST, &[host, cookie, csrf, ("origin", foreign)]), 403);
        }
    }

    #[test]
    fn a_name_that_leads_here_by_chance_is_no_host_of_ours() {
        let hosts = Hosts { names: vec!["yett.corp".to_owned()], is_strict: true };
        let status = |host: &str| {
            hosts.check(&headers(&[("host", host)])).map_or_else(|it| it.status.as_u16(), |()| 200)
        };
        for ours in
            ["localhost:9181", "LOCALHOST", "127.0.0.1:1", "[::1]:9", "[::1]", "Yett.corp:9"]
        {
            assert_eq!(status(ours), 200, "{ours}");
        }
        for other in ["evil.example", "localhost.evil.example:9181", "", "[x]", "127.0.0.1.nip.io"]
        {
            assert_eq!(status(other), 421, "{other}");
        }
        assert!(hosts.check(&HeaderMap::new()).is_err());
        assert!(Hosts::default().check(&headers(&[("host", "any.example")])).is_ok());
    }
}
