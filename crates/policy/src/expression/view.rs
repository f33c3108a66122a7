//! What an expression reads of an exchange: values are borrowed, and made only when asked for.

use super::Expression;
use crate::geo::{Geo, Spot};
use crate::query;
use base::caps::QUERY_PARAMS_MAX;
use cel::ExecutionError;
use cel::common::traits::{Container, Indexer, Sizer};
use cel::common::types::{
    CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, CelUInt, MAP_TYPE,
    Type,
};
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use http::HeaderValue;
use percent_encoding::percent_decode_str;
use regex::Regex;
use std::borrow::Cow;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use traffic::directory::{Consumer, Credential};
use traffic::exchange::{Claim, Connection, KeptClaims};
use traffic::head::RequestHead;
use traffic::plan::Plan;
use traffic::tls::ClientCertificate;
use traffic::tree::Matched;
use traffic::{Exchange, Headers};

/// The parts of an exchange that expressions can name.
pub(super) struct View<'a> {
    request: &'a RequestHead,
    matched: Option<&'a Matched>,
    consumer: Option<&'a Consumer>,
    credential: Option<&'a Credential>,
    claims: Option<&'a KeptClaims>,
    plan: Option<&'a Plan>,
    connection: &'a Connection,
    certificate: Option<&'a ClientCertificate>,
    client: &'a HeaderValue,
    patterns: &'a [Pattern],
    geo: Option<&'a Geo>,
    address: Option<IpAddr>,
    /// Where the client is, once that is asked.
    spot: OnceLock<Spot>,
}

impl<'a> View<'a> {
    pub(super) fn new(exchange: &'a Exchange, expression: &'a Expression) -> Self {
        let geo = expression.geo.as_deref();
        Self {
            request: &exchange.request,
            matched: exchange.matched.as_ref(),
            consumer: exchange.consumer.as_deref(),
            credential: exchange.credential.as_deref(),
            claims: exchange.claims.as_deref(),
            plan: exchange.plan.as_deref(),
            connection: &exchange.connection,
            certificate: exchange.client_certificate(),
            client: exchange.client_text(),
            patterns: &expression.patterns,
            geo,
            address: geo.and_then(|_| exchange.client_ip()),
            spot: OnceLock::new(),
        }
    }

    fn spot(&self) -> Spot {
        let find = || self.geo.map(|geo| geo.find(self.address)).unwrap_or_default();
        *self.spot.get_or_init(find)
    }
}

impl VariableResolver for View<'_> {
    /// Is asked for the longest name first: `request.path` before `request`.
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        let tls = || self.connection.tls.as_ref();
        let certificate = || self.certificate;
        let text: Cow<'b, str> = match variable {
            "request.method" => self.request.method.as_str().into(),
            "request.scheme" => self.request.scheme.as_str().into(),
            "request.host" => (&*self.request.host).into(),
            "request.path" => self.request.path().into(),
            "request.headers" => {
                return Some(CowVal::owned(Fields::Headers(&self.request.headers)));
            }
            "request.query" => {
                return Some(CowVal::owned(Fields::Query(
                    self.request.query().unwrap_or_default(),
                )));
            }
            "request.params" => {
                return Some(CowVal::owned(self.matched.map_or(Fields::Nothing, Fields::Params)));
            }
            "consumer.name" => self.consumer.map_or("", Consumer::own_name).into(),
            "consumer.groups" => return Some(CowVal::owned(groups(self.consumer))),
            "consumer.application" => {
                self.credential.and_then(|it| it.application.as_deref()).unwrap_or_default().into()
            }
            "consumer.credential" => {
                self.credential.and_then(|it| it.name.as_deref()).unwrap_or_default().into()
            }
            "claims" => {
                return Some(CowVal::owned(self.claims.map_or(Fields::Nothing, Fields::Claims)));
            }
            "plan.name" => self.plan.map_or("", |plan| &*plan.name).into(),
            "plan.priority" => self.plan.map_or("", |plan| plan.priority.name()).into(),
            "geo.country" => self
                .spot()
                .country
                .map_or(Cow::Borrowed(""), |it| Cow::Owned(it.as_str().to_owned())),
            "geo.asn" => {
                let number = self.spot().asn.unwrap_or_default();
                return Some(CowVal::owned(CelInt::from(i64::from(number))));
            }
            "client.address" => self.client.to_str().unwrap_or_default().into(),
            "tls.version" => tls().map_or("", |tls| tls.version).into(),
            "tls.server_name" => {
                tls().and_then(|tls| tls.server_name.as_deref()).unwrap_or_default().into()
            }
            "tls.client.verified" => {
                return Some(CowVal::owned(CelBool::from(certificate().is_some())));
            }
            "tls.client.subject" => certificate().map_or("", |it| &*it.subject).into(),
            "tls.client.issuer" => certificate().map_or("", |it| &*it.issuer).into(),
            "tls.client.serial" => certificate().map_or("", |it| &*it.serial).into(),
            "tls.client.fingerprint" => certificate().map_or("", |it| &*it.fingerprint).into(),
            "tls.client.names" => {
                let names = certificate().map_or(&[][..], |certificate| &*certificate.names);
                return Some(CowVal::owned(texts(names)));
            }
            other => {
                let number: usize = other.strip_prefix("@pattern")?.parse().ok()?;
                return self.patterns.get(number).map(|pattern| CowVal::Borrowed(pattern as _));
            }
        };
        Some(CowVal::owned(match text {
            Cow::Borrowed(text) => CelString::from(text),
            Cow::Owned(text) => CelString::from(text),
        }))
    }
}

fn groups(consumer: Option<&Consumer>) -> CelList<'_> {
    let groups = consumer.map_or(&[][..], |consumer| &*consumer.groups);
    texts(groups)
}

fn texts<T: AsRef<str>>(texts: &[T]) -> CelList<'_> {
    let values: Vec<Box<dyn Val + '_>> =
        texts.iter().map(|text| Box::new(CelString::from(text.as_ref())) as _).collect();
    CelList::from(values)
}

/// A map of the request, looked up in place.
#[derive(Clone, Copy, Debug)]
enum Fields<'a> {
    Nothing,
    Headers(&'a Headers),
    Query(&'a str),
    Params(&'a Matched),
    Claims(&'a KeptClaims),
}

impl Fields<'_> {
    /// The first value of a name.
    fn find(&self, name: &str) -> Result<Option<String>, ExecutionError> {
        match self {
            // Claims are no texts alone: see `value`.
            Self::Nothing | Self::Claims(_) => Ok(None),
            Self::Headers(headers) => match headers.get(name) {
                None => Ok(None),
                Some(value) => match value.to_str() {
                    Ok(text) => Ok(Some(text.to_owned())),
                    Err(_) => Err(failed(format!("the header `{name}` is not text"))),
                },
            },
            Self::Query(query) => {
                check_length(query)?;
                Ok(query::pairs(query).find(|(n, _)| n == name).map(|(_, v)| v.into_owned()))
            }
            Self::Params(matched) => Ok(matched
                .param(name)
                .map(|value| percent_decode_str(value).decode_utf8_lossy().into_owned())),
        }
    }

    fn key(idx: &dyn Val) -> Result<&str, ExecutionError> {
        let text = idx.downcast_ref::<CelString<'_>>();
        text.map(CelString::inner).ok_or_else(|| ExecutionError::UnexpectedType {
            got: idx.get_type().name().to_owned(),
            want: "string".to_owned(),
        })
    }
}

/// A claim as a value. What is in it is copied only when somebody asks for it.
fn claim(value: &Claim) -> Box<dyn Val + '_> {
    match value {
        Claim::Null => Box::new(CelNull),
        Claim::Bool(flag) => Box::new(CelBool::from(*flag)),
        Claim::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Box::new(CelInt::from(number)),
            (None, Some(number)) => Box::new(CelUInt::from(number)),
            (None, None) => Box::new(CelDouble::from(number.as_f64().unwrap_or(f64::NAN))),
        },
        Claim::Text(text) => Box::new(CelString::from(&**text)),
        Claim::List(items) => Box::new(CelList::from(items.iter().map(claim).collect::<Vec<_>>())),
        Claim::Object(fields) => {
            let fields: HashMap<CelMapKey<'_>, Box<dyn Val + '_>> =
                fields.iter().map(|(name, value)| (name.into(), claim(value))).collect();
            Box::new(CelMap::from(fields))
        }
    }
}

/// How many different names there are.
fn distinct(headers: &Headers) -> usize {
    let is_first = |at: usize, name| !headers.names().take(at).any(|earlier| earlier == name);
    headers.names().enumerate().filter(|(at, name)| is_first(*at, *name)).count()
}

/// What is not looked at could hold what is looked for, so there is no answer.
fn check_length(query: &str) -> Result<(), ExecutionError> {
    if query.split('&').nth(QUERY_PARAMS_MAX).is_some() {
        return Err(failed(format!("the query has more than {QUERY_PARAMS_MAX} parameters")));
    }
    Ok(())
}

fn failed(message: String) -> ExecutionError {
    ExecutionError::FunctionError { function: "request".to_owned(), message }
}

impl Val for Fields<'_> {
    fn get_type(&self) -> &Type {
        &MAP
    }

    fn cel_type() -> &'static Type {
        &MAP
    }

    fn as_container(&self) -> Option<&dyn Container> {
        Some(self)
    }

    fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn as_sizer(&self) -> Option<&dyn Sizer> {
        Some(self)
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(*self)
    }
}

static MAP: Type = MAP_TYPE;

impl Container for Fields<'_> {
    fn contains(&self, value: &dyn Val) -> Result<bool, ExecutionError> {
        if let Self::Claims(claims) = self {
            return Ok(claims.get(Self::key(value)?).is_some());
        }
        self.find(Self::key(value)?).map(|found| found.is_some())
    }
}

impl Indexer for Fields<'_> {
    fn get<'b, 'v>(&'b self, idx: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        let name = Self::key(idx)?;
        let missing = || ExecutionError::NoSuchKey(Arc::new(name.to_owned()));
        if let Self::Claims(claims) = self {
            let value: &Claim = claims.get(name).ok_or_else(missing)?;
            return Ok(CowVal::Owned(claim(value)));
        }
        Ok(CowVal::owned(CelString::from(self.find(name)?.ok_or_else(missing)?)))
    }

    fn steal<'v>(self: Box<Self>, idx: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        self.get(idx).map(CowVal::into_owned)
    }
}

impl Sizer for Fields<'_> {
    fn size(&self) -> CelInt {
        let names = match self {
            Self::Nothing => 0,
            Self::Headers(headers) => distinct(headers),
            Self::Query(query) => query::pairs(query).count(),
            Self::Claims(claims) => claims.iter().len(),
            Self::Params(matched) => matched.route.params.len(),
        };
        CelInt::from(i64::try_from(names).unwrap_or(i64::MAX))
    }
}

/// A compiled pattern; a text is in it if it matches.
#[derive(Clone, Debug)]
pub(super) struct Pattern(pub(super) Regex);

impl Val for Pattern {
    fn get_type(&self) -> &Type {
        &MAP
    }

    fn cel_type() -> &'static Type {
        &MAP
    }

    fn as_container(&self) -> Option<&dyn Container> {
        Some(self)
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(self.clone())
    }
}

impl Container for Pattern {
    fn contains(&self, value: &dyn Val) -> Result<bool, ExecutionError> {
        Fields::key(value).map(|text| self.0.is_match(text))
    }
}
