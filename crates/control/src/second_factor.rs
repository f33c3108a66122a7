//! Second factors: one-time passwords that come of a seed and the time (RFC 6238), and codes that each work once without
//! them, for who has lost the seed.

use crate::{Caller, Code, Control, Problem, problem};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use base::{Secret, random};
use store::envelope::{Sealed, of_totp};
use store::second_factor::SecondFactor;

const NOUN: &str = "second factor";
/// Bytes of a seed: those of the hash (RFC 4226, 4).
const SEED_BYTES: usize = 20;
/// Seconds of a step.
const STEP_S: i64 = 30;
/// Steps that a clock may be off.
const DRIFT: i64 = 1;
/// Digits of a password.
const DIGITS: usize = 6;
/// How many codes there are.
const CODES: usize = 10;
/// Bytes of a code.
const CODE_BYTES: usize = 10;
/// Letters of base32 (RFC 4648, 6).
const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// A seed that is to be kept by an app for one-time passwords.
#[derive(Debug)]
pub struct Seed {
    /// The seed in base32, for typing.
    pub secret: Secret,
    /// The same with its name, for pictures that apps read.
    pub uri: Secret,
}

fn base32(bytes: &[u8]) -> String {
    let bit = |at: usize| bytes.get(at / 8).map_or(0, |byte| byte >> (7 - at % 8) & 1);
    let letter = |at: usize| {
        let five = (0..5).fold(0, |sum, next| sum << 1 | bit(at * 5 + next));
        char::from(LETTERS.get(usize::from(five)).copied().unwrap_or(b'A'))
    };
    (0..(bytes.len() * 8).div_ceil(5)).map(letter).collect()
}

fn unbase32(text: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0_u32, 0_u32);
    for letter in text.bytes() {
        let five = LETTERS.iter().position(|it| *it == letter)?;
        held = (held << 5 | u32::try_from(five).ok()?) & 0xfff;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(held >> bits & 0xff).ok()?);
        }
    }
    Some(bytes)
}

/// The password of a step of time (RFC 4226, 5.3).
fn password(seed: &[u8], step: i64) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, seed);
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let tag = tag.as_ref();
    let from = tag.last().map_or(0, |last| usize::from(last & 0xf));
    let four = tag.get(from..from + 4).unwrap_or_default();
    let number = four.iter().fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte)) & 0x7fff_ffff;
    format!("{:0DIGITS$}", number % 1_000_000)
}

/// The step whose password was shown, if it is one of now.
fn step(seed: &[u8], shown: &str, now_ms: i64) -> Option<i64> {
    let now = now_ms / 1_000 / STEP_S;
    let is_it = |step: &i64| {
        verify_slices_are_equal(password(seed, *step).as_bytes(), shown.as_bytes()).is_ok()
    };
    (now - DRIFT..=now + DRIFT).rev().find(is_it)
}

fn fresh<const N: usize>() -> Result<[u8; N], Problem> {
    let mut bytes = [0; N];
    random::fill(&mut bytes).map_err(problem::random)?;
    Ok(bytes)
}

/// A code as it is kept.
fn hash(code: &str) -> String {
    let plain: String = code.chars().filter(char::is_ascii_alphanumeric).collect();
    let digest = digest(&SHA256, plain.to_ascii_uppercase().as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn wrong() -> Problem {
    Problem::invalid("/code", "this is not the code that the app shows now")
}

impl Control {
    /// Makes a seed for the caller, who is asked for nothing until it was confirmed.
    ///
    /// # Errors
    /// When the caller is no person, or has a second factor.
    pub async fn second_factor_begin(&self, caller: &Caller) -> Result<Seed, Problem> {
        caller.must_be_person()?;
        let secret = base32(&fresh::<SEED_BYTES>()?);
        let uri = format!(
            "otpauth://totp/Yett:{}?secret={secret}&issuer=Yett&algorithm=SHA1&digits={DIGITS}&period={STEP_S}",
            caller.name
        );
        let (secret, uri) = (Secret::new(secret), Secret::new(uri));
        let sealed = self.seal(&of_totp(&caller.user), &secret)?;
        let mut write = self.write(caller).await?;
        let begun = write.second_factor_begin(&caller.user, &sealed).await;
        begun.map_err(|error| match error {
            store::Error::Taken => {
                Problem::new(Code::Taken, "you have a second factor; take that out first")
            }
            error => problem::of(NOUN)(error),
        })?;
        write.commit().await.map_err(problem::of(NOUN))?;
        Ok(Seed { secret, uri })
    }

    /// Asks the caller for a second factor from now on, if the first password that comes of the seed is right. What is
    /// returned works in place of one, each once.
    ///
    /// # Errors
    /// When it is not, or nothing was begun.
    pub async fn second_factor_confirm(
        &self,
        caller: &Caller,
        code: &str,
    ) -> Result<Vec<Secret>, Problem> {
        caller.must_be_person()?;
        let keys = [format!("code {}", caller.user)];
        self.attempts.begin(&keys)?;
        let found = self.store.second_factor(&caller.user).await.map_err(problem::of(NOUN))?;
        let found = found.filter(|found| found.is_confirmed == 0);
        let found = found.ok_or_else(|| Problem::missing(NOUN))?;
        let mut write = self.write(caller).await?;
        let step = step(&self.seed(&found)?, code, write.at_ms()).ok_or_else(wrong)?;
        let mut codes = Vec::with_capacity(CODES);
        for _ in 0..CODES {
            codes.push(Secret::new(base32(&fresh::<CODE_BYTES>()?)));
        }
        let hashes: Vec<String> = codes.iter().map(|code| hash(code.reveal())).collect();
        let hashes = serde_json::json!(hashes).to_string();
        let done = write.second_factor_confirm(&caller.user, step, &hashes).await;
        done.map_err(problem::of(NOUN))?;
        write.commit().await.map_err(problem::of(NOUN))?;
        self.attempts.forget(&keys);
        Ok(codes)
    }

    /// Asks the caller for no second factor any more; they show it once more.
    ///
    /// # Errors
    /// When there is none, or it is not right.
    pub async fn second_factor_delete(&self, caller: &Caller, code: &str) -> Result<(), Problem> {
        caller.must_be_person()?;
        let keys = [format!("code {}", caller.user)];
        self.attempts.begin(&keys)?;
        let found = self.store.second_factor(&caller.user).await.map_err(problem::of(NOUN))?;
        let found = found.ok_or_else(|| Problem::missing(NOUN))?;
        if found.is_confirmed != 0 && !self.takes(caller, &found, code).await? {
            return Err(wrong());
        }
        let mut write = self.write(caller).await?;
        write.second_factor_delete(&caller.user).await.map_err(problem::of(NOUN))?;
        write.commit().await.map_err(problem::of(NOUN))?;
        self.attempts.forget(&keys);
        Ok(())
    }

    /// Whether a user who has shown the password may come in: either there is no second factor, or this is it.
    ///
    /// # Errors
    /// [`Code::CodeRequired`] when there is one and nothing was shown.
    pub(crate) async fn second_factor_shown(
        &self,
        caller: &Caller,
        code: Option<&str>,
    ) -> Result<bool, Problem> {
        let found = self.store.second_factor(&caller.user).await.map_err(problem::of(NOUN))?;
        let Some(found) = found.filter(|found| found.is_confirmed != 0) else { return Ok(true) };
        match code {
            Some(code) => self.takes(caller, &found, code).await,
            None => Err(Problem::new(
                Code::CodeRequired,
                "send `code` as well: what the app for one-time passwords shows, or one of the codes that work once",
            )),
        }
    }

    fn seed(&self, kept: &SecondFactor) -> Result<Vec<u8>, Problem> {
        let corrupt = || Problem::new(Code::StoreCorrupt, "the seed cannot be read");
        let sealed = Sealed::read(&kept.totp).ok_or_else(corrupt)?;
        let seed = self.open(&of_totp(&kept.holder), &sealed)?;
        unbase32(seed.reveal()).ok_or_else(corrupt)
    }

    /// Takes a one-time password, or one of the codes: neither is taken again.
    async fn takes(
        &self,
        caller: &Caller,
        kept: &SecondFactor,
        code: &str,
    ) -> Result<bool, Problem> {
        let mut write = self.write(caller).await?;
        let is_taken = if code.len() == DIGITS {
            match step(&self.seed(kept)?, code, write.at_ms()) {
                Some(step) => write.second_factor_step(&kept.holder, step).await,
                None => return Ok(false),
            }
        } else {
            let mut codes: Vec<String> = serde_json::from_str(&kept.codes).unwrap_or_default();
            let (shown, before) = (hash(code), codes.len());
            codes.retain(|known| *known != shown);
            if codes.len() == before {
                return Ok(false);
            }
            let left = serde_json::json!(codes).to_string();
            write.second_factor_codes(&kept.holder, &kept.codes, &left).await
        };
        let is_taken = is_taken.map_err(problem::of(NOUN))?;
        write.commit().await.map_err(problem::of(NOUN))?;
        Ok(is_taken)
    }
}

#[cfg(test)]
mod tests {
    use super::{base32, hash, password, step, unbase32};

    #[test]
    fn passwords_are_those_of_the_standard() {
        // RFC 6238, appendix B, the last six digits.
        let seed = b"12345678901234567890";
        for (seconds, expected) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(password(seed, seconds / 30), expected);
            assert_eq!(step(seed, expected, seconds * 1_000), Some(seconds / 30));
            assert_eq!(step(seed, expected, (seconds + 30) * 1_000), Some(seconds / 30));
            assert_eq!(step(seed, expected, (seconds + 90) * 1_000), None, "too old");
            assert_eq!(step(seed, "", seconds * 1_000), None);
        }
    }

    #[test]
    fn seeds_are_written_as_apps_read_them() {
        // RFC 4648, 10, without padding.
        for (text, written) in [("", ""), ("f", "MY"), ("fo", "MZXQ"), ("foobar", "MZXW6YTBOI")] {
            assert_eq!(base32(text.as_bytes()), written);
            assert_eq!(unbase32(written).unwrap(), text.as_bytes());
        }
        assert_eq!(unbase32("a1"), None);
        assert_eq!(hash("abcd-efgh"), hash("ABCDEFGH"), "as people type");
    }
}
