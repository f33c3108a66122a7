//! Why a message is refused. One table gives the name, what the client is told and the clause that the
//! message breaks.

use std::fmt;
use traffic::{Fault, FaultCode, Stage};

/// What the table says of one refusal.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Stable name, in logs and metrics.
    pub name: &'static str,
    /// What the request's fault is called.
    pub code: FaultCode,
    /// What the client is told.
    pub detail: &'static str,
    /// The clause that the message breaks.
    pub clause: &'static str,
}

macro_rules! refusals {
    ($($refusal:ident $name:literal $code:ident $detail:literal $clause:literal;)*) => {
        /// Why a message is refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Refusal {
            $(#[doc = concat!($detail, " (", $clause, ").")] $refusal,)*
        }

        /// The table of all refusals, in the order of [`Refusal`].
        pub const REFUSALS: &[Row] = &[
            $(Row { name: $name, code: FaultCode::$code, detail: $detail, clause: $clause },)*
        ];

        /// The names of all refusals, in the order of [`Refusal`].
        pub const REFUSAL_NAMES: &[&str] = &[$($name,)*];
    };
}

refusals! {
    TlsToPlainPort "tls_to_plain_port" BadRequest "a TLS handshake came to a port that speaks plain HTTP" "RFC 9110, 4.2.1";
    EmptyLines "empty_lines" BadRequest "too many empty lines ahead of the request" "RFC 9112, 2.2";
    BareLf "bare_lf" BadRequest "a line ends with LF instead of CR LF" "RFC 9112, 2.2";
    BareCr "bare_cr" BadRequest "a CR is not followed by LF" "RFC 9112, 2.2";
    NulByte "nul_byte" BadRequest "the head holds a NUL byte" "RFC 9110, 5.5";
    HeadTooLarge "head_too_large" HeadTooLarge "the head is too long" "RFC 6585, 5";
    TooManyFields "too_many_fields" HeadTooLarge "the head has too many fields" "RFC 6585, 5";
    TargetTooLong "target_too_long" TargetTooLong "the request target is too long" "RFC 9110, 15.5.15";
    BadMethod "bad_method" BadRequest "the method is not a token" "RFC 9110, 9.1";
    BadRequestLine "bad_request_line" BadRequest "the request line is not `METHOD TARGET HTTP/1.1`" "RFC 9112, 3";
    BadStatusLine "bad_status_line" BadRequest "the status line is not `HTTP/1.1 STATUS REASON`" "RFC 9112, 4";
    VersionUnsupported "version_unsupported" VersionUnsupported "the version is neither HTTP/1.0 nor HTTP/1.1" "RFC 9110, 15.6.6";
    BadTarget "bad_target" BadRequest "the request target holds a character that has no place in it" "RFC 9112, 3.2";
    TargetForm "target_form" BadRequest "the request target has none of the forms that its method may have" "RFC 9112, 3.2";
    BadAuthority "bad_authority" BadHost "the authority of the request target is not `HOST` or `HOST:PORT`" "RFC 9110, 4.2";
    SpaceBeforeFields "space_before_fields" BadRequest "the first header begins with a space" "RFC 9112, 2.2";
    Folded "folded" BadRequest "a header is folded over several lines" "RFC 9112, 5.2";
    SpaceBeforeColon "space_before_colon" BadRequest "a space stands between a header's name and its colon" "RFC 9112, 5.1";
    MissingColon "missing_colon" BadRequest "a header has no colon" "RFC 9112, 5";
    BadFieldName "bad_field_name" BadRequest "a header's name is not a token" "RFC 9110, 5.1";
    BadFieldValue "bad_field_value" BadRequest "a header's value holds a control character" "RFC 9110, 5.5";
    LengthAndCoding "length_and_coding" BadFraming "Content-Length stands beside Transfer-Encoding" "RFC 9112, 6.3";
    SeveralLengths "several_lengths" BadFraming "there are several lengths" "RFC 9112, 6.3";
    BadLength "bad_length" BadFraming "Content-Length is not a number" "RFC 9112, 6.3";
    BadCoding "bad_coding" BadFraming "Transfer-Encoding is not `chunked`" "RFC 9112, 6.3";
    UnknownCoding "unknown_coding" CodingUnsupported "there are transfer codings besides `chunked`" "RFC 9112, 6.1";
    CodingInHttp10 "coding_in_http10" BadFraming "Transfer-Encoding came with version 1.0, which has none" "RFC 9112, 6.1";
    BodyForbidden "body_forbidden" BadFraming "an answer that cannot have a body says that it has one" "RFC 9112, 6.3";
    ExpectationFailed "expectation_failed" ExpectationFailed "only `100-continue` can be expected" "RFC 9110, 10.1.1";
    BytesAfterUpgrade "bytes_after_upgrade" BadRequest "bytes came after a request to change the protocol, ahead of the answer" "RFC 9110, 7.8";
    BadChunkSize "bad_chunk_size" BodyCut "a chunk's size is not a hexadecimal number on a line of its own" "RFC 9112, 7.1";
    BadChunkExtension "bad_chunk_extension" BodyCut "a chunk's extension is malformed" "RFC 9112, 7.1.1";
    ExtensionsTooLarge "extensions_too_large" BodyCut "the chunks' extensions are too long" "RFC 9112, 7.1.1";
    BadChunkEnd "bad_chunk_end" BodyCut "a chunk's data are not followed by CR LF" "RFC 9112, 7.1";
    TrailersTooLarge "trailers_too_large" BodyCut "the trailer section is too long" "RFC 9112, 7.1.2";
    BodyCut "body_cut" BodyCut "the connection ended before the body did" "RFC 9112, 8";
}

impl Refusal {
    /// What the table says of this refusal.
    #[must_use]
    pub fn row(self) -> &'static Row {
        &REFUSALS[self.index()]
    }

    /// The position in the table.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The fault of a request that is refused. Where its end lies is uncertain, so it is the last of its
    /// connection.
    #[must_use]
    pub fn fault(self) -> Fault {
        let row = self.row();
        Fault::new(Stage::Admit, row.code).detail(row.detail).closing()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = self.row();
        write!(f, "{} ({})", row.detail, row.clause)
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::{REFUSAL_NAMES, REFUSALS, Refusal};
    use std::collections::HashSet;
    use traffic::Stage;

    #[test]
    fn every_refusal_has_its_row() {
        assert_eq!(Refusal::TlsToPlainPort.name(), "tls_to_plain_port");
        assert_eq!(Refusal::BodyCut.name(), "body_cut");
        assert_eq!(Refusal::BodyCut.index(), REFUSALS.len() - 1);
        assert_eq!(REFUSAL_NAMES.iter().collect::<HashSet<_>>().len(), REFUSALS.len());
        for row in REFUSALS {
            assert!(row.clause.starts_with("RFC "), "{}", row.name);
            assert!(row.name.bytes().all(|b| b.is_ascii_lowercase() || b"_10".contains(&b)));
        }
    }

    #[test]
    fn a_refusal_ends_the_connection_and_tells_the_client_why() {
        let fault = Refusal::LengthAndCoding.fault();
        assert_eq!(fault.code.name(), "bad_framing");
        assert_eq!(fault.at, Stage::Admit);
        assert!(fault.closes && fault.cause.is_none());
        assert_eq!(
            Refusal::LengthAndCoding.to_string(),
            "Content-Length stands beside Transfer-Encoding (RFC 9112, 6.3)"
        );
    }
}
