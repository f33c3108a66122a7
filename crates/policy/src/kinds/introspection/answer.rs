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

#[cfg(test)]
mod tests {
    use super::read;

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
