//! Canonical paths are stable, and hide no climb.

use traffic::canonical::{DoubleSlash, PathRules, path};

/// Checks these bytes as a path, under every rule.
pub(crate) fn check(bytes: &[u8]) {
    let Ok(written) = std::str::from_utf8(bytes) else { return };
    for keep_encoded_slash in [false, true] {
        for double_slash in [DoubleSlash::Merge, DoubleSlash::Reject, DoubleSlash::Keep] {
            check_under(written, PathRules { keep_encoded_slash, double_slash });
        }
    }
}

fn check_under(written: &str, rules: PathRules) {
    let Ok(canonical) = path(written, rules) else { return };
    assert_eq!(path(&canonical, rules).as_deref(), Ok(&*canonical), "not stable: {written}");
    assert!(canonical.starts_with('/') && canonical.bytes().all(|byte| byte.is_ascii_graphic()));
    assert!(!canonical.contains(['\\', '?', '#']), "{canonical}");
    // What a backend may make of it that decodes before it splits, or strips parameters first.
    let stripped =
        canonical.split('/').map(|segment| segment.split(';').next().unwrap_or_default());
    for read in [decode(&canonical), decode(&stripped.collect::<Vec<_>>().join("/"))] {
        assert!(!read.iter().any(u8::is_ascii_control), "{canonical}");
        let mut segments = read.split(|byte| *byte == b'/');
        assert!(!segments.any(|name| name == b"." || name == b".."), "{written} hides dots");
    }
    assert!(rules.keep_encoded_slash || !canonical.to_ascii_lowercase().contains("%2f"));
    assert!(rules.double_slash == DoubleSlash::Keep || !canonical.contains("//"), "{canonical}");
}

fn decode(canonical: &str) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut bytes = canonical.bytes();
    while let Some(byte) = bytes.next() {
        let mut digit = || char::from(bytes.next().unwrap()).to_digit(16).unwrap();
        let byte = if byte == b'%' { digit() * 16 + digit() } else { byte.into() };
        decoded.push(u8::try_from(byte).unwrap());
    }
    decoded
}
