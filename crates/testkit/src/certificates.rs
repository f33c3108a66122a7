//! Throw-away certificates: an authority that lives as long as the test, and what it signs.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, RevokedCertParams,
    SerialNumber,
};
use std::time::{Duration, SystemTime};

/// A certificate authority of one test.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate, as PEM.
    pub ca_pem: String,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority")
    }
}

/// A certificate and its key, as PEM.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The certificate.
    pub cert_pem: String,
    /// Its private key.
    pub key_pem: String,
}

impl Authority {
    /// A new authority.
    ///
    /// # Panics
    /// When no key can be made.
    #[must_use]
    pub fn new() -> Self {
        Self::named("a test's authority")
    }

    /// A new authority with this common name.
    ///
    /// # Panics
    /// When no key can be made.
    #[must_use]
    pub fn named(common_name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = authority(common_name);
        let ca_pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), ca_pem }
    }

    /// An authority with this common name that this one vouches for.
    ///
    /// # Panics
    /// When no key can be made.
    #[must_use]
    pub fn below(&self, common_name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = authority(common_name);
        let ca_pem = params.signed_by(&key, &self.issuer).unwrap().pem();
        Self { issuer: Issuer::new(params, key), ca_pem }
    }

    /// A certificate for these names and addresses that is valid for a year from now on.
    #[must_use]
    pub fn sign(&self, names: &[&str]) -> Pair {
        self.sign_until(names, Duration::from_secs(365 * 86_400))
    }

    /// A certificate that ends in `life` from now; zero gives one that has expired already.
    ///
    /// # Panics
    /// When a name is none.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "certificates are valid by the real clock")]
    pub fn sign_until(&self, names: &[&str], life: Duration) -> Pair {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        let now = SystemTime::now();
        params.not_before = (now - Duration::from_secs(2 * 86_400)).into();
        params.not_after = if life.is_zero() {
            (now - Duration::from_secs(86_400)).into()
        } else {
            (now + life).into()
        };
        params.use_authority_key_identifier_extension = true;
        let cert_pem = params.signed_by(&key, &self.issuer).unwrap().pem();
        Pair { cert_pem, key_pem: key.serialize_pem() }
    }

    /// A client's certificate with this common name, and with the number it is revoked by.
    ///
    /// # Panics
    /// When no key can be made.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "certificates are valid by the real clock")]
    pub fn sign_client(&self, common_name: &str, serial: u8) -> Pair {
        let key = KeyPair::generate().unwrap();
        let mut params =
            CertificateParams::new(vec![format!("{common_name}.clients.test")]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.serial_number = Some(SerialNumber::from_slice(&[serial]));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let now = SystemTime::now();
        params.not_before = (now - Duration::from_secs(2 * 86_400)).into();
        params.not_after = (now + Duration::from_secs(86_400)).into();
        let cert_pem = params.signed_by(&key, &self.issuer).unwrap().pem();
        Pair { cert_pem, key_pem: key.serialize_pem() }
    }

    /// A list of revoked certificates that holds for `life` from now; zero gives one that is out of date.
    ///
    /// # Panics
    /// When it cannot be signed.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "lists are valid by the real clock")]
    pub fn revoked(&self, serials: &[u8], life: Duration) -> String {
        let began = SystemTime::now() - Duration::from_secs(2 * 86_400);
        let end = if life.is_zero() {
            began + Duration::from_secs(86_400)
        } else {
            SystemTime::now() + life
        };
        let revoked = |serial: &u8| RevokedCertParams {
            serial_number: SerialNumber::from_slice(&[*serial]),
            revocation_time: began.into(),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: began.into(),
            next_update: end.into(),
            crl_number: SerialNumber::from_slice(&[1]),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}

fn authority(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}
