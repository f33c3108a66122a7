//! Asks an authoriser by HTTP: any answer with 2xx lets the request pass.

use super::body::Beginning;
use super::grpc::refusal;
use super::verdict::{Allowed, Change, Denied, How, Verdict};
use super::{Authoriser, Callout, Named, list};
use crate::kinds::identity_headers::encoded;
use base::caps::AUTHORISER_ANSWER_BYTES_MAX;
use http::header::{AUTHORIZATION, COOKIE};
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Method};
use traffic::{Body, Exchange, Headers, Request, Response, outbound};

/// What it is told unless the settings name something else.
pub(super) const TOLD: &[HeaderName] = &[AUTHORIZATION, COOKIE];

impl Authoriser {
    /// The request that asks about a request.
    ///
    /// # Errors
    /// In words, when it cannot be written.
    pub(super) fn call(
        &self,
        callout: &Callout,
        exchange: &Exchange,
        body: Option<&Beginning>,
    ) -> Result<Request, String> {
        let head = &exchange.request;
        let base = self.remote.target();
        let target = if callout.append_path {
            let (path, query) = (base.path().trim_end_matches('/'), base.query());
            let own = query.into_iter().chain(head.target.query()).collect::<Vec<_>>().join("&");
            let mark = if own.is_empty() { "" } else { "?" };
            PathAndQuery::try_from(format!("{path}{}{mark}{own}", head.target.path()))
                .map_err(|error| format!("the path cannot be appended: {error}"))?
        } else {
            base.clone()
        };
        let mut headers = Headers::with_capacity(12);
        let tells = self.tells.as_deref().unwrap_or(TOLD);
        for (name, value) in head.headers.iter().filter(|(name, _)| tells.contains(name)) {
            headers.append(name.clone(), value.clone());
        }
        let text = |text: &str| HeaderValue::from_str(text).map_err(|error| error.to_string());
        let named = HeaderName::from_static;
        headers.insert(named("x-forwarded-method"), text(head.method.as_str())?);
        headers.insert(named("x-forwarded-proto"), HeaderValue::from_static(head.scheme.as_str()));
        headers.insert(named("x-forwarded-host"), head.authority.clone());
        headers.insert(named("x-forwarded-uri"), text(head.target.as_str())?);
        headers.insert(named("x-forwarded-for"), exchange.client_text().clone());
        headers.insert(named("x-request-id"), exchange.id.header());
        headers.insert(named("traceparent"), exchange.trace.header());
        for (name, value) in &self.context {
            // Both were looked at when the config was loaded.
            if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), text(value)) {
                headers.insert(name, value);
            }
        }
        if let Some(consumer) = &exchange.consumer {
            headers.insert(named("x-yett-consumer"), text(&encoded(consumer.own_name()))?);
        }
        if let Some(body) = body {
            headers.insert(
                named("x-envoy-auth-partial-body"),
                text(if body.is_partial { "true" } else { "false" })?,
            );
        }
        let method = match (&callout.method, body) {
            (Some(method), _) => method.clone(),
            (None, Some(_)) => Method::POST,
            (None, None) => Method::GET,
        };
        let body = body.map_or_else(Body::empty, |body| Body::full(body.data.clone()));
        Ok(Request { method, target, headers, body, protocol: None })
    }

    /// Reads what it answers to [`Authoriser::call`].
    ///
    /// # Errors
    /// In words, when that means nothing.
    pub(super) async fn called(
        &self,
        callout: &Callout,
        response: Response,
    ) -> Result<Verdict, String> {
        let Response { status, headers, body } = response;
        if status.is_server_error() || status.is_informational() {
            return Err(format!("it answers {}", status.as_u16()));
        }
        let read = outbound::read(body, AUTHORISER_ANSWER_BYTES_MAX).await;
        let body = read.map_err(|fault| {
            let cause = fault.cause.map(|cause| cause.to_string()).unwrap_or_default();
            format!("its answer cannot be read: {cause}")
        })?;
        if !status.is_success() {
            return Ok(Verdict::Denied(Denied {
                status: refusal(Some(status.as_u16())),
                headers: listed(&headers, &callout.to_client, How::Append),
                body,
            }));
        }
        let first = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let consumer = match &self.named {
            None => None,
            Some(Named::Header { name, groups }) => {
                let consumer = first(name).ok_or_else(|| format!("its yes says no `{name}`"))?;
                let groups = groups.as_ref().and_then(first).map(list).unwrap_or_default();
                Some((consumer.to_owned(), groups))
            }
            // Refused when the config was loaded.
            Some(Named::Metadata { .. }) => return Err("it has no metadata".to_owned()),
        };
        Ok(Verdict::Allowed(Box::new(Allowed {
            headers: listed(&headers, &callout.to_backend, How::Append),
            // What it speaks for a client must not say.
            removed: callout.to_backend.clone(),
            reply: listed(&headers, &callout.to_client_on_success, How::Append),
            consumer,
            ..Allowed::default()
        })))
    }
}

fn listed(headers: &Headers, names: &[HeaderName], how: How) -> Vec<Change> {
    let listed = headers.iter().filter(|(name, _)| names.contains(name));
    listed.map(|(name, value)| Change { name: name.clone(), value: value.clone(), how }).collect()
}
