//! The head of a request in HTTP/2's form (RFC 9113, 8.3.1), and what an answer's head may hold.

use base::BoxError;
use base::caps::HEADERS_MAX;
use h2::ext::Protocol;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, COOKIE, HOST, HeaderMap, HeaderName, TE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Method, Uri, Version};
use traffic::{Headers, Request};

/// A request's head with its target in pseudo-headers. Headers are copied, so that the request can be
/// handed back as it was.
///
/// # Errors
/// When `Host` is no authority.
pub(super) fn address(
    request: &Request,
    scheme: Scheme,
    length: Option<u64>,
) -> Result<http::Request<()>, BoxError> {
    let host = request.headers.get(HOST).ok_or("the request has no `Host`")?;
    let mut headers = HeaderMap::with_capacity(request.headers.len() + 1);
    for (name, value) in request.headers.iter() {
        if !may_pass(name, value) {
            continue;
        }
        let mut value = value.clone();
        if is_kept_apart(name) {
            value.set_sensitive(true);
        }
        // Beyond what a map can hold they are left out; caps keep messages far below it.
        headers.try_append(name.clone(), value).ok();
    }
    if let Some(length) = length {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    let mut head = http::Request::new(());
    *head.method_mut() = request.method.clone();
    if let Some(protocol) = &request.protocol {
        let protocol = protocol.to_str()?;
        *head.method_mut() = Method::CONNECT;
        headers.remove("sec-websocket-key");
        head.extensions_mut().insert(Protocol::from(protocol));
    }
    *head.uri_mut() = uri(host, &request.target, scheme)?;
    *head.version_mut() = Version::HTTP_2;
    *head.headers_mut() = headers;
    Ok(head)
}

fn uri(host: &HeaderValue, target: &PathAndQuery, scheme: Scheme) -> Result<Uri, BoxError> {
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(scheme);
    parts.authority = Some(Authority::try_from(host.as_bytes())?);
    parts.path_and_query = Some(target.clone());
    Ok(Uri::from_parts(parts)?)
}

/// Whether a header has a place in HTTP/2: nothing that concerns a connection does (RFC 9113, 8.2.2).
fn may_pass(name: &HeaderName, value: &HeaderValue) -> bool {
    match name.as_str() {
        "host" | "connection" | "keep-alive" | "proxy-connection" | "transfer-encoding"
        | "upgrade" => false,
        "content-length" => false,
        _ => *name != TE || value == "trailers",
    }
}

/// Values that stay out of the table of the compression. Clients share a connection, and one could guess
/// the secrets of another by how well its own compress (RFC 7541, 7.1.3); what is never the same twice
/// would only push others out.
fn is_kept_apart(name: &HeaderName) -> bool {
    *name == AUTHORIZATION
        || *name == COOKIE
        || matches!(
            name.as_str(),
            "x-request-id"
                | "traceparent"
                | "x-forwarded-for"
                | "x-api-key"
                | "proxy-authorization"
        )
}

/// The length that is announced: none where it is not known, or where there is no body and nobody expects
/// one (RFC 9110, 8.6).
pub(super) fn length(request: &Request) -> Option<u64> {
    let exact = http_body::Body::size_hint(&request.body).exact()?;
    let is_expected = matches!(request.method, Method::POST | Method::PUT | Method::PATCH);
    (request.protocol.is_none() && (exact > 0 || is_expected)).then_some(exact)
}

/// An answer's headers in order.
///
/// # Errors
/// In words, what no message of HTTP may hold.
pub(super) fn fields(map: HeaderMap) -> Result<Headers, &'static str> {
    if map.len() > HEADERS_MAX {
        return Err("the answer has too many headers");
    }
    if !map.keys().all(is_token) {
        return Err("the answer has a header whose name is none");
    }
    Ok(Headers::from(map))
}

/// Whether a name may stand in HTTP/1 (RFC 9110, 5.6.2): of what `http` lets pass, all but one character.
pub(super) fn is_token(name: &HeaderName) -> bool {
    !name.as_str().contains('"')
}

#[cfg(test)]
mod tests {
    use super::{address, fields, length};
    use http::header::{HeaderMap, HeaderName};
    use http::uri::{PathAndQuery, Scheme};
    use http::{HeaderValue, Method};
    use traffic::{Body, Headers, Request};

    fn request(text: &str) -> Request {
        let mut headers = Headers::new();
        for line in text.split(", ").filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once('=').unwrap();
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        Request {
            method: Method::GET,
            target: PathAndQuery::from_static("/a?b=c"),
            headers,
            body: Body::empty(),
            protocol: None,
        }
    }

    #[test]
    fn what_concerns_a_connection_stays_behind() {
        let asked = request(
            "host=a.test, connection=x, te=gzip, te=trailers, upgrade=y, x-one=1, x-one=2, keep-alive=5",
        );
        let head = address(&asked, Scheme::HTTPS, Some(5)).unwrap();
        assert_eq!(head.uri(), "https://a.test/a?b=c");
        let names: Vec<_> = head.headers().iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["te", "x-one", "x-one", "content-length"]);
        assert!(address(&request(""), Scheme::HTTP, None).is_err(), "nobody is asked");
        assert!(address(&request("host=a b"), Scheme::HTTP, None).is_err());
    }

    #[test]
    fn secrets_stay_out_of_the_table_that_clients_share() {
        let asked = request("host=a.test, authorization=Basic x, cookie=a=1; b=2, accept=y");
        let head = address(&asked, Scheme::HTTP, None).unwrap();
        let is_sensitive = |name: &str| head.headers()[name].is_sensitive();
        assert!(is_sensitive("authorization") && is_sensitive("cookie") && !is_sensitive("accept"));
    }

    #[test]
    fn a_length_is_announced_where_one_is_expected() {
        let mut asked = request("host=a.test");
        assert_eq!(length(&asked), None);
        asked.method = Method::POST;
        assert_eq!(length(&asked), Some(0));
        asked.body = Body::full("hello");
        assert_eq!(length(&asked), Some(5));
    }

    #[test]
    fn names_that_are_none_are_refused() {
        let mut map = HeaderMap::new();
        map.insert(HeaderName::from_static("x-fine"), HeaderValue::from_static("1"));
        assert!(fields(map.clone()).is_ok());
        map.insert(HeaderName::from_lowercase(b"x\"y").unwrap(), HeaderValue::from_static("1"));
        assert!(fields(map).is_err());
    }
}
