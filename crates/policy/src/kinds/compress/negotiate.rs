//! What a client accepts, as `Accept-Encoding` says (RFC 9110, 12.5.3).

use super::Coding;
use http::header::ACCEPT_ENCODING;
use traffic::Headers;

/// What is best for a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wish {
    /// The coding to use; none for the answer as it is.
    pub(super) coding: Option<Coding>,
    /// Whether the client will not have the answer as it is.
    pub(super) refuses_identity: bool,
}

/// Weights in thousandths, as far as they were given.
#[derive(Default)]
struct Weights {
    zstd: Option<u16>,
    br: Option<u16>,
    gzip: Option<u16>,
    identity: Option<u16>,
    others: Option<u16>,
}

impl Wish {
    /// Reads the header. Of the codings with the highest weight it takes the first of `codings`. A client
    /// without the header is asked nothing of: it gets the answer as it is.
    pub(super) fn read(request: &Headers, codings: &[Coding]) -> Self {
        let mut weights = Weights::default();
        for value in request.all(ACCEPT_ENCODING).filter_map(|value| value.to_str().ok()) {
            value.split(',').for_each(|member| weights.note(member));
        }
        let mut best: Option<(Coding, u16)> = None;
        for &coding in codings {
            let weight = weights.of(coding);
            if weight > 0 && best.is_none_or(|(_, highest)| weight > highest) {
                best = Some((coding, weight));
            }
        }
        let prefers_identity =
            best.is_some_and(|(_, weight)| weights.identity.is_some_and(|own| own > weight));
        Self {
            coding: best.filter(|_| !prefers_identity).map(|(coding, _)| coding),
            refuses_identity: weights.identity.or(weights.others) == Some(0),
        }
    }
}

impl Weights {
    fn note(&mut self, member: &str) {
        let mut parts = member.split(';').map(str::trim);
        let coding = parts.next().unwrap_or_default();
        let mut weight = Some(1_000);
        for parameter in parts {
            if let Some(("q" | "Q", value)) = parameter.split_once('=') {
                weight = thousandths(value);
            }
        }
        // What cannot be read is not accepted.
        let weight = weight.unwrap_or(0);
        let is = |name: &str| coding.eq_ignore_ascii_case(name);
        let place = match () {
            () if is("gzip") || is("x-gzip") => &mut self.gzip,
            () if is("br") => &mut self.br,
            () if is("zstd") => &mut self.zstd,
            () if is("identity") => &mut self.identity,
            () if coding == "*" => &mut self.others,
            () => return,
        };
        *place = Some(weight);
    }

    fn of(&self, coding: Coding) -> u16 {
        let own = match coding {
            Coding::Zstd => self.zstd,
            Coding::Br => self.br,
            Coding::Gzip => self.gzip,
        };
        own.or(self.others).unwrap_or(0)
    }
}

/// A weight from 0 to 1 with up to three decimals (RFC 9110, 12.4.2).
fn thousandths(value: &str) -> Option<u16> {
    let (whole, decimals) = value.split_once('.').unwrap_or((value, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let decimals = format!("{decimals:0<3}").parse::<u16>().ok()?;
    match whole {
        "0" => Some(decimals),
        "1" if decimals == 0 => Some(1_000),
        _ => None,
    }
}

/// Whether a text is a token (RFC 9110, 5.6.2).
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}
