//! What clients are told about the future of an API.

use crate::inputs::Inputs;
use base::{Clock, Placed, Report, clock};
use http::header::LINK;
use http::{HeaderName, HeaderValue};
use model::api::ApiState;
use model::join::{of, split};
use model::validate::is_link;
use model::{Api, Config};
use std::sync::Arc;
use traffic::snapshot::Lifecycle;

/// When an API is deprecated (RFC 9745).
const DEPRECATION: HeaderName = HeaderName::from_static("deprecation");
/// When it stops answering (RFC 8594).
const SUNSET: HeaderName = HeaderName::from_static("sunset");

/// What clients of an API are told; nothing if nothing is known to end.
pub(crate) fn compile(
    name: &Placed<String>,
    api: &Api,
    config: &Config,
    inputs: Inputs<'_>,
    report: &mut Report,
) -> Option<Arc<Lifecycle>> {
    let is_going = matches!(api.state, ApiState::Deprecated | ApiState::Retired);
    if !is_going && api.deprecated_at.is_none() && api.sunset.is_none() {
        return None;
    }
    doubt(api, inputs.clock, report);
    let successor = api.successor.as_ref().map(|it| address(it, name, api, config));
    let mut headers = Vec::new();
    let mut add = |name: HeaderName, value: String| {
        // What cannot stand in a header was told by the model.
        headers.extend(HeaderValue::try_from(value).ok().map(|value| (name, value)));
    };
    if let Some(since) = &api.deprecated_at {
        add(DEPRECATION, format!("@{}", clock::unix_ms(since.value.0) / 1_000));
    }
    if let Some(sunset) = &api.sunset {
        add(SUNSET, httpdate::fmt_http_date(sunset.value.0));
    }
    if let Some(link) = &api.deprecation_link {
        add(LINK, format!("<{}>; rel=\"deprecation\"; type=\"text/html\"", link.value));
    }
    if let Some(successor) = &successor {
        add(LINK, format!("<{successor}>; rel=\"successor-version\""));
    }
    let detail = successor.map(|successor| Arc::from(format!("use {successor} in its place")));
    Some(Arc::new(Lifecycle {
        state: api.state.name(),
        is_retired: api.state == ApiState::Retired,
        is_counted: is_going,
        headers: headers.into(),
        detail,
    }))
}

/// Tells of an end that has passed without anybody noticing. It is a note: no config turns bad by time passing.
fn doubt(api: &Api, clock: &Clock, report: &mut Report) {
    let passed = api.sunset.as_ref().filter(|sunset| sunset.value.0 <= clock.wall());
    if let Some(sunset) = passed.filter(|_| api.state != ApiState::Retired) {
        report
            .note(
                "sunset_passed",
                &sunset.place,
                "the API answers although its `sunset` has passed",
            )
            .help("write `state: retired`, or give it more time");
    }
}

/// Where a successor is: as it is written, or the address of the API of that name.
fn address(successor: &str, name: &str, api: &Api, config: &Config) -> String {
    if is_link(successor) {
        return successor.to_owned();
    }
    let found = of(&config.apis, split(name).0).find(|(own, _)| *own == successor);
    let Some((_, next)) = found else { return "/".to_owned() };
    let path = next.path.as_ref().map_or("/", |path| path.value.as_str());
    // A parameter stands for something that only the client knows.
    let path = path.split('{').next().unwrap_or(path);
    let own = |host: &&Placed<String>| api.hosts.iter().any(|it| it.value == host.value);
    let is_beside = next.hosts.is_empty() || next.hosts.iter().any(|host| own(&host));
    let elsewhere = next.hosts.iter().find(|host| !host.value.starts_with("*."));
    match elsewhere.filter(|_| !is_beside) {
        Some(host) => format!("//{}{path}", host.value),
        None => path.to_owned(),
    }
}
