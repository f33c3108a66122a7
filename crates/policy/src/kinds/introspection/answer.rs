//! What an introspection endpoint says of a token (RFC 7662, 2.2).

use crate::json;
use base::caps::INTROSPECTION_BYTES_MAX;
use serde_json::Value;
use traffic::exchange::Claims;

/// Reads an answer: what is said of a token that is active, nothing if it is not.
///
/// # Errors
/// Why it is no answer. Nobody is believed then, and nobody is told that their token is bad.
pub fn read(bytes: &[u8]) -> Result<Option<Claims>, &'static str> {
    if bytes.len() > INTROSPECTION_BYTES_MAX {
        return Err("the answer is too long");
    }
    let mut members = json::object(bytes)?;
    match members.remove("active") {
        Some(Value::Bool(true)) => Ok(Some(members)),
        Some(Value::Bool(false)) => Ok(None),
        _ => Err("the answer does not say whether the token is active"),
    }
}

/// Errors that are about who asks, or how, and not about the token (RFC 6749, 5.2; RFC 7009, 2.2.1).
const ABOUT_WHO_ASKS: [&str; 6] = [
    "invalid_client",
    "unauthorized_client",
    "unsupported_token_type",
    "server_error",
    "temporarily_unavailable",
    "insufficient_scope",
];

/// The error by which an endpoint refuses whoever asks, if it does (RFC 7662, 2.3).
#[must_use]
pub fn about_who_asks(bytes: &[u8]) -> Option<&'static str> {
    let members = json::object(bytes).ok()?;
    let error = members.get("error")?.as_str()?;
    ABOUT_WHO_ASKS.into_iter().find(|known| *known == error)
}

#[cfg(test)]
mod tests {
    use super::{about_who_asks, read};

    #[test]
    fn an_error_is_about_who_asks_or_about_the_token() {
        assert_eq!(about_who_asks(br#"{"error":"invalid_client"}"#), Some("invalid_client"));
        for text in ["", "<html>", "{}", r#"{"error":"invalid_request"}"#, r#"{"error":1}"#] {
            assert_eq!(about_who_asks(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn an_answer_says_whether_a_token_is_active_or_is_none() {
        assert_eq!(read(br#"{"active":true,"sub":"a"}"#).unwrap().unwrap()["sub"], "a");
        assert_eq!(read(br#"{"active":false,"sub":"a"}"#).unwrap(), None);
        for text in [
            "",
            "true",
            "{}",
            r#"{"active":"true"}"#,
            r#"{"active":1}"#,
            r#"{"active":null}"#,
            r#"{"Active":true}"#,
            r#"{"active":false,"active":true}"#,
            r#"{"active":true}{"active":false}"#,
            r#"{"token":{"active":true}}"#,
            r#"{"active":true"#,
            "<html>",
        ] {
            assert!(read(text.as_bytes()).is_err(), "{text}");
        }
        assert!(read(&vec![b' '; 1 << 20]).is_err());
    }
}
