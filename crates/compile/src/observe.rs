//! What is measured of requests and kept for their record.

use crate::inputs::{Inputs, OtlpSpec, SecretsAt};
use base::units::{Period, Share};
use base::{Place, Report, Secret, Text};
use http::uri::{PathAndQuery, Uri};
use http::{HeaderName, HeaderValue};
use model::Config;
use model::tracing::{OtlpLong, Parent};
use std::sync::Arc;
use std::time::Duration;
use telemetry::access::{AccessFormat, AccessSettings};
use telemetry::trace::CAN_EXPORT;
use traffic::observe::{Observe, Tracing};
use traffic::outbound::Destination;

/// What the gateway is called in traces unless said otherwise.
const SERVICE: &str = "yett";
/// Where collectors take traces.
const PATH: &str = "/v1/traces";
/// How long one request to a collector may take unless said otherwise.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes below which a token can be guessed too easily.
const TOKEN_BYTES_MIN: usize = 16;

/// What requests are looked at for. Nothing, unless somebody will read it.
pub(crate) fn compile(
    config: &Config,
    log: &AccessSettings,
    inputs: Inputs<'_>,
    report: &mut Report,
) -> Arc<Observe> {
    let mut answer_headers: Vec<HeaderName> = Vec::new();
    let mut is_timed = config.access_log.timings;
    if let AccessFormat::Template(template) = &log.format {
        is_timed |= template.wants_stages();
        let names = template.answer_headers();
        answer_headers
            .extend(names.filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok()));
        answer_headers.sort_by(|one, two| one.as_str().cmp(two.as_str()));
        answer_headers.dedup();
    }
    Arc::new(Observe {
        is_timed,
        answer_headers: answer_headers.into(),
        tracing: tracing(config, inputs, report),
        debug_token: debug_token(config, inputs, report),
    })
}

/// Who takes spans, and of which requests.
fn tracing(config: &Config, inputs: Inputs<'_>, report: &mut Report) -> Option<Tracing> {
    let otlp = config.tracing.otlp.as_ref()?;
    if !CAN_EXPORT {
        report
            .error("no_otlp", &otlp.place, "this program was built without OTLP")
            .at("/tracing/otlp")
            .help("build it with the feature `otlp`, or leave `otlp` out");
        return None;
    }
    let long = &otlp.value.0;
    let endpoint = endpoint(long, &otlp.place, inputs, report);
    let headers = headers(long, inputs, report);
    let service = config.tracing.service.as_ref().map_or(SERVICE, |service| &service.value);
    let spec = OtlpSpec { endpoint: endpoint?, headers: headers?, service: service.to_owned() };
    let remote = match inputs.outbound?.open(spec.endpoint.clone()) {
        Ok(remote) => remote,
        Err(why) => {
            not_a_collector(why, &otlp.place, report);
            return None;
        }
    };
    Some(Tracing {
        sample: long.sample.unwrap_or(Share::ALL),
        follows: long.parent == Parent::Follow,
        sink: (inputs.exporter?)(spec, remote),
    })
}

fn not_a_collector(why: String, place: &Place, report: &mut Report) {
    report
        .error("bad_collector", place, why)
        .at("/tracing/otlp/endpoint")
        .help("write the URL of a collector that takes OTLP over HTTP: `http://collector:4318`");
}

fn endpoint(
    long: &OtlpLong,
    place: &Place,
    inputs: Inputs<'_>,
    report: &mut Report,
) -> Option<Destination> {
    let (written, place) = match &long.endpoint {
        endpoint if endpoint.place.is_known() => (&endpoint.value, &endpoint.place),
        endpoint => (&endpoint.value, place),
    };
    let url = resolved(written, place, inputs, report)?;
    let mut destination = match Destination::parse(url.reveal().trim()) {
        Ok(destination) => destination,
        Err(why) => {
            // What a reference stands for is not shown.
            let hidden = || format!("what `{written}` stands for is not a URL");
            let why = if written.has_reference() { hidden() } else { why };
            not_a_collector(why, place, report);
            return None;
        }
    };
    if destination.url.path() == "/" && destination.url.query().is_none() {
        let mut parts = destination.url.into_parts();
        parts.path_and_query = Some(PathAndQuery::from_static(PATH));
        destination.url = Uri::from_parts(parts).ok()?;
    }
    destination.timeouts.total = Some(long.timeout.map_or(TIMEOUT, |Period(limit)| limit));
    destination.timeouts.first_byte = destination.timeouts.total;
    // The exporter repeats what may be repeated, later.
    destination.retries_max = 0;
    Some(destination)
}

/// The headers, unless any is wrong.
fn headers(
    long: &OtlpLong,
    inputs: Inputs<'_>,
    report: &mut Report,
) -> Option<Vec<(HeaderName, Secret)>> {
    let mut headers = Vec::new();
    for (name, text) in long.headers.iter() {
        let Ok(known) = HeaderName::from_bytes(name.value.as_bytes()) else {
            let message = format!("`{}` is not the name of a header", name.value);
            report
                .error("bad_header", &name.place, message)
                .at("/tracing/otlp/headers")
                .help("a name has letters, digits and `-`");
            continue;
        };
        let Some(value) = resolved(&text.value, &text.place, inputs, report) else { continue };
        if HeaderValue::from_str(value.reveal()).is_err() {
            let message = format!("`{known}` has a value that no header can have");
            report
                .error("bad_header", &text.place, message)
                .at("/tracing/otlp/headers")
                .help("visible characters of ASCII and spaces are possible, on one line");
            continue;
        }
        headers.push((known, value));
    }
    (headers.len() == long.headers.len()).then_some(headers)
}

fn debug_token(config: &Config, inputs: Inputs<'_>, report: &mut Report) -> Option<Secret> {
    let written = config.tracing.debug_token.as_ref()?;
    if !written.value.has_reference() {
        report
            .error("open_secret", &written.place, "the debug token is a secret")
            .at("/tracing/debug_token")
            .help("name where it is: `${env:NAME}` or `${file:PATH}`");
        return None;
    }
    let token = resolved(&written.value, &written.place, inputs, report)?;
    if token.reveal().len() < TOKEN_BYTES_MIN {
        report
            .error("weak_secret", &written.place, "the debug token is easy to guess")
            .at("/tracing/debug_token")
            .help("use at least 16 random characters, such as `openssl rand -hex 16` makes");
        return None;
    }
    Some(token)
}

fn resolved(text: &Text, place: &Place, inputs: Inputs<'_>, report: &mut Report) -> Option<Secret> {
    match text.resolve(&SecretsAt { outside: inputs.outside, place }) {
        Ok(secret) => Some(secret),
        Err(why) => {
            report.error("missing_secret", place, why).help(
                "the gateway reads it when the config is loaded; make sure that it is there by then",
            );
            None
        }
    }
}
