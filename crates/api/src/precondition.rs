use crate::refusal::Refusal;
use http::header::{HeaderName, IF_MATCH, IF_NONE_MATCH};
use http::{HeaderMap, StatusCode};

/// What a request says of the revision it goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goes {
    /// By this one.
    By(i64),
    /// By whichever there is: `*`.
    ByAny,
}

/// A revision as an entity tag (RFC 9110, 8.8.3).
pub(crate) fn tag(revision: i64) -> String {
    format!("\"{revision}\"")
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// The revision that a change goes by.
pub(crate) fn if_match(headers: &HeaderMap) -> Result<Goes, Refusal> {
    let Some(text) = text(headers, IF_MATCH) else {
        return Err(Refusal::new(
            StatusCode::PRECONDITION_REQUIRED,
            "precondition_required",
            "send `If-Match` with the ETag that you have read, or with `*` to go by whatever is there",
        ));
    };
    if text == "*" {
        return Ok(Goes::ByAny);
    }
    let number = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    match number.and_then(|number| number.parse().ok()) {
        Some(revision) => Ok(Goes::By(revision)),
        None => Err(Refusal::new(
            StatusCode::PRECONDITION_FAILED,
            "changed",
            "`If-Match` holds no ETag that this API gave; read it again",
        )),
    }
}

/// Whether the client has this already.
pub(crate) fn has(headers: &HeaderMap, tag: &str) -> bool {
    let Some(text) = text(headers, IF_NONE_MATCH) else { return false };
    text.split(',').map(|it| it.trim().trim_start_matches("W/")).any(|it| it == "*" || it == tag)
}

#[cfg(test)]
mod tests {
    use super::{Goes, has, if_match, tag};
    use http::HeaderMap;

    fn with(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        headers
    }

    #[test]
    fn a_change_goes_by_the_revision_that_was_read() {
        assert_eq!(if_match(&with("if-match", &tag(7))).unwrap(), Goes::By(7));
        assert_eq!(if_match(&with("if-match", " * ")).unwrap(), Goes::ByAny);
        assert_eq!(if_match(&HeaderMap::new()).unwrap_err().status, 428);
        for wrong in ["7", "W/\"7\"", "\"7", "\"x\"", "\"7\", \"8\""] {
            assert_eq!(if_match(&with("if-match", wrong)).unwrap_err().status, 412, "{wrong}");
        }
    }

    #[test]
    fn what_the_client_has_is_not_sent_again() {
        for known in ["\"7\"", "W/\"7\"", "\"6\", \"7\"", "*"] {
            assert!(has(&with("if-none-match", known), "\"7\""), "{known}");
        }
        assert!(
            !has(&with("if-none-match", "\"77\""), "\"7\"") && !has(&HeaderMap::new(), "\"7\"")
        );
    }
}
