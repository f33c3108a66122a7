//! Signed tokens: whatever is accepted is one message for every reader, and nobody unknown has signed it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use policy::jose::{Key, KeySet, Message, Verdict};

/// The public key of RFC 8037, A.2. Its private part is public too, but not known to whoever makes the inputs.
const KEYS: &str =
    r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
/// The message of RFC 8037, A.4.
const SIGNED: &str = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";

/// Checks these bytes as a token.
pub(crate) fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(message) = Message::parse(text) else { return };
    assert!(text.len() <= 8 << 10, "an oversized token is read");
    assert_eq!(text.matches('.').count(), 2);
    assert!(!message.header.contains_key("crit"));
    // Every accepted text is the only one that says the same.
    let (header, rest) = text.split_once('.').unwrap();
    let (payload, signature) = rest.split_once('.').unwrap();
    assert_eq!(URL_SAFE_NO_PAD.encode(&message.payload), payload);
    assert_eq!(URL_SAFE_NO_PAD.encode(message.signature()), signature);
    assert_eq!(message.signed(), format!("{header}.{payload}"));
    let name = message.header["alg"].as_str().unwrap();
    assert!(!name.eq_ignore_ascii_case("none"));
    let keys = KeySet::parse(KEYS.as_bytes()).unwrap();
    if keys.judge(&message) == Verdict::Signed {
        assert_eq!(text, SIGNED);
    }
}

/// Checks these bytes as a set of keys.
pub(crate) fn check_keys(bytes: &[u8]) {
    let Ok(set) = KeySet::parse(bytes) else { return };
    assert!(!set.keys().is_empty() && set.keys().len() <= 128);
    let signed = Message::parse(SIGNED).unwrap();
    for key in set.keys() {
        assert!(key.algorithms().count() > 0 && !key.algorithms().any(|it| it.is_symmetric()));
        let is_known = |key: &Key| key.verifies(&signed);
        assert!(
            !is_known(key)
                || bytes
                    .windows(10)
                    .any(|part| part.starts_with(b"11qYAYKxCr") || part.contains(&b'\\'))
        );
    }
}
