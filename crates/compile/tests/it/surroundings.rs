//! What stands around the golden configs: environment variables, secrets, and certificates whose dates
//! suit a clock that stands at the beginning of 2026.

use rcgen::{
    CertificateParams, CertificateRevocationListParams, Issuer, KeyIdMethod, KeyPair, SerialNumber,
    date_time_ymd,
};
use std::sync::OnceLock;
use testkit::Surroundings;

/// A certificate for `site.test`, for all below `partners.test`, or for none, as it is called, and its key, valid
/// within these dates.
fn pair(name: &str, from: (i32, u8, u8), until: (i32, u8, u8)) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    if name != "nameless" {
        let host = if name == "partners" { "*.partners.test" } else { "site.test" };
        params = CertificateParams::new(vec![host.to_owned()]).unwrap();
    }
    params.not_before = date_time_ymd(from.0, from.1, from.2);
    params.not_after = date_time_ymd(until.0, until.1, until.2);
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

/// A revocation list that is out of date.
fn old_list() -> String {
    let issuer =
        Issuer::new(CertificateParams::new(Vec::new()).unwrap(), KeyPair::generate().unwrap());
    let params = CertificateRevocationListParams {
        this_update: date_time_ymd(2025, 1, 1),
        next_update: date_time_ymd(2025, 12, 31),
        crl_number: SerialNumber::from_slice(&[1]),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(&issuer).unwrap().pem().unwrap()
}

/// All of it.
pub(crate) fn surroundings() -> &'static Surroundings {
    static SURROUNDINGS: OnceLock<Surroundings> = OnceLock::new();
    SURROUNDINGS.get_or_init(|| {
        let mut all = Surroundings::default()
            .env("TOKEN", "s3cret-of-the-environment")
            .env("ADDRESS", "not an address")
            .file("token.txt", "s3cret-of-a-file\n")
            .file("binary.txt", vec![0xFF, 0xFE])
            .file("large.txt", vec![b'x'; base::caps::SECRET_FILE_BYTES_MAX + 1])
            .file("garbage.pem", "no certificate")
            .file("old.crl", old_list())
            .file("bad.key", "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n");
        for (name, from, until) in [
            ("site", (2025, 1, 1), (2027, 1, 1)),
            ("other", (2025, 1, 1), (2027, 1, 1)),
            ("partners", (2025, 1, 1), (2027, 1, 1)),
            ("nameless", (2025, 1, 1), (2027, 1, 1)),
            ("old", (2024, 1, 1), (2025, 12, 31)),
            ("soon", (2025, 1, 1), (2026, 1, 10)),
            ("early", (2026, 2, 1), (2027, 1, 1)),
        ] {
            let (cert, key) = pair(name, from, until);
            all = all.file(&format!("{name}.pem"), cert).file(&format!("{name}.key"), key);
        }
        all
    })
}
