//! Proofs of possession, and what introspection endpoints say: a proof that holds is the one that was signed, and
//! what is said of a token is said in one way only.

use policy::dpop::{Asked, Origin, check as judge};
use policy::jose::{Message, thumbprint};
use policy::kinds::introspection::answer::read;
use std::time::{Duration, SystemTime};

/// RFC 9449, 7.1. The private key is not known to whoever makes the inputs.
const SIGNED: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA";

/// Checks these bytes as a proof.
pub(crate) fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    // That of the key which the proof brings along, so that what comes after is reached.
    let header = Message::parse(text).map(|message| message.header).unwrap_or_default();
    let key = header.get("jwk").and_then(serde_json::Value::as_object).and_then(thumbprint);
    let key = key.unwrap_or_default();
    let origins = [Origin::parse("https://resource.example.org").unwrap()];
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_562_262_620);
    let asked = Asked {
        method: "GET",
        origins: &origins,
        path: "/protectedresource",
        token: "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU",
        key: &key,
        now,
        age_max: Duration::from_secs(60),
        leeway: Duration::from_secs(5),
    };
    let judged = judge(text, &asked);
    assert_eq!(judged.is_ok(), text == SIGNED, "{judged:?}");
    if let Ok(proof) = judged {
        assert_eq!(proof.thumbprint, "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
        assert!(proof.until > now && !proof.id.is_empty());
    }
}

/// Checks these bytes as what an endpoint says.
pub(crate) fn check_answer(bytes: &[u8]) {
    let Ok(said) = read(bytes) else { return };
    assert!(bytes.len() <= 64 << 10, "an oversized answer is read");
    // Lenient readers keep the last of two members of a name: whoever reads it must read the same.
    let other: serde_json::Value = serde_json::from_slice(bytes).unwrap();
    assert_eq!(other["active"].as_bool(), Some(said.is_some()));
    if let Some(claims) = said {
        assert!(claims.iter().all(|(name, value)| other[name] == *value));
    }
}
