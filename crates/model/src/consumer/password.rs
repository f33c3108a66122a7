//! Hashes of passwords as they are written: PHC strings of argon2id (RFC 9106).

/// Memory in KiB below which a hash is too cheap to guess at, and above which checking one costs too much.
pub const MEMORY_KIB: std::ops::RangeInclusive<u32> = 7_168..=262_144;
/// Passes over the memory.
pub const PASSES: std::ops::RangeInclusive<u32> = 1..=32;
/// Lanes.
pub const LANES: std::ops::RangeInclusive<u32> = 1..=16;
/// KiB times passes that a hash costs at least: OWASP's choices of 19 MiB twice, 46 MiB once and 7 MiB five times all do.
pub const WORK_MIN: u64 = 35_840;
/// KiB times passes that checking a password may cost: seconds of a processor.
const WORK_MAX: u64 = 1 << 20;

/// Says whether a text is the hash of a password by argon2id that is worth its name.
///
/// # Errors
/// A sentence that says what is wrong; it never repeats what was written, which may be a password.
pub fn check(hash: &str) -> Result<(), String> {
    let wrong =
        || "a password is kept as its hash: `$argon2id$v=19$m=19456,t=2,p=1$SALT$HASH`".to_owned();
    let mut parts = hash.split('$');
    match (parts.next(), parts.next()) {
        (Some(""), Some("argon2id")) => {}
        (
            Some(""),
            Some("argon2i" | "argon2d" | "2a" | "2b" | "2y" | "scrypt" | "pbkdf2-sha256"),
        ) => {
            return Err("of hashes of passwords only argon2id is understood".to_owned());
        }
        _ => return Err(wrong()),
    }
    if parts.next() != Some("v=19") {
        return Err("of argon2id only version 19 is understood: `$argon2id$v=19$…`".to_owned());
    }
    let parameters = parts.next().ok_or_else(wrong)?;
    let (salt, digest) = (parts.next().ok_or_else(wrong)?, parts.next().ok_or_else(wrong)?);
    if parts.next().is_some() {
        return Err(wrong());
    }
    let Some((memory, passes, lanes)) = three(parameters) else {
        return Err("the parameters of argon2id are three numbers: `m=19456,t=2,p=1`".to_owned());
    };
    let is_base64 = |text: &str| {
        text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/".contains(&b)) && is_canonical(text)
    };
    // In base 64 without padding: 8 bytes of salt, 16 of digest, and 64 of either at most.
    if !is_base64(salt)
        || !is_base64(digest)
        || !(11..=86).contains(&salt.len())
        || !(22..=86).contains(&digest.len())
    {
        return Err(wrong());
    }
    let work = u64::from(memory) * u64::from(passes);
    if !MEMORY_KIB.contains(&memory)
        || !PASSES.contains(&passes)
        || !LANES.contains(&lanes)
        || work > WORK_MAX
    {
        return Err(format!(
            "`m={memory},t={passes},p={lanes}` is out of bounds: `m` from {} to {}, `t` up to {}, `p` up to {}",
            MEMORY_KIB.start(),
            MEMORY_KIB.end(),
            PASSES.end(),
            LANES.end()
        ));
    }
    if work < WORK_MIN {
        return Err(format!(
            "`m={memory},t={passes}` is too weak: passwords could be guessed from the hash"
        ));
    }
    Ok(())
}

/// Whether the bits of the last letter that stand for nothing are zero (RFC 4648, 3.5); whoever decodes refuses others.
fn is_canonical(text: &str) -> bool {
    let spare = match text.len() % 4 {
        0 => return true,
        2 => 16,
        3 => 4,
        _ => return false,
    };
    let value = match text.bytes().last() {
        Some(letter @ b'A'..=b'Z') => letter - b'A',
        Some(letter @ b'a'..=b'z') => letter - b'a' + 26,
        Some(letter @ b'0'..=b'9') => letter - b'0' + 52,
        Some(b'+') => 62,
        _ => 63,
    };
    value % spare == 0
}

/// Memory in KiB, passes and lanes.
fn three(parameters: &str) -> Option<(u32, u32, u32)> {
    let number = |name: &str| -> Option<u32> {
        let mut of_name = parameters.split(',').filter_map(|part| part.split_once('='));
        of_name.find(|(its, _)| *its == name)?.1.parse().ok()
    };
    let all = (number("m")?, number("t")?, number("p")?);
    (parameters.split(',').count() == 3).then_some(all)
}

/// Memory in KiB, passes and lanes that checking a password by this hash costs; nothing if it is none.
#[must_use]
pub fn cost(hash: &str) -> Option<(u32, u32, u32)> {
    three(hash.strip_prefix("$argon2id$v=19$")?.split('$').next()?)
}

#[cfg(test)]
mod tests {
    use super::{check, cost};

    const TAIL: &str = "c2FsdHNhbHRzYWx0c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    fn parameters(parameters: &str) -> Result<(), String> {
        check(&format!("$argon2id$v=19${parameters}${TAIL}"))
    }

    #[test]
    fn the_recommended_parameters_are_strong_enough() {
        for fine in [
            "m=19456,t=2,p=1",
            "m=47104,t=1,p=1",
            "m=12288,t=3,p=1",
            "m=9216,t=4,p=1",
            "m=7168,t=5,p=1",
        ] {
            assert_eq!(parameters(fine), Ok(()), "{fine}");
        }
    }

    #[test]
    fn a_hash_says_what_it_costs() {
        assert_eq!(cost(&format!("$argon2id$v=19$t=3,m=12288,p=2${TAIL}")), Some((12_288, 3, 2)));
        assert_eq!(cost("hunter2"), None);
    }

    #[test]
    fn weak_excessive_and_foreign_hashes_are_refused() {
        for (text, part) in [
            ("m=19456,t=1,p=1", "too weak"),
            ("m=1024,t=2,p=1", "out of bounds"),
            ("m=4294967295,t=2,p=1", "out of bounds"),
            ("m=1048576,t=1,p=1", "out of bounds"),
            ("m=262144,t=5,p=1", "out of bounds"),
            ("m=19456,t=2,p=99", "out of bounds"),
            ("m=19456,t=2", "three numbers"),
            ("m=19456,t=2,p=1,x=1", "three numbers"),
        ] {
            let told = parameters(text).unwrap_err();
            assert!(told.contains(part), "{text}: {told}");
        }
        for (text, part) in [
            ("hunter2", "kept as its hash"),
            ("$2b$12$abcdefghijklmnopqrstuv", "only argon2id"),
            ("$argon2id$v=16$m=19456,t=2,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA", "version 19"),
            ("$argon2id$v=19$m=19456,t=2,p=1$short$AAAAAAAAAAAAAAAAAAAAAA", "kept as its hash"),
            (
                "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHR$AAAAAAAAAAAAAAAAAAAAAA",
                "kept as its hash",
            ),
            (
                "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAB",
                "kept as its hash",
            ),
        ] {
            let told = check(text).unwrap_err();
            assert!(told.contains(part) && !told.contains("hunter2"), "{text}: {told}");
        }
    }
}
