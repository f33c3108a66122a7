use crate::it::kit::Case;

/// Signatures that are right are tested beside the policy, where they are made.
pub(crate) const CASES: &[Case] = &[
    Case {
        path: "/*",
        policies: "[hmac]",
        request: "GET /a HTTP/1.1\n",
        told: "401 credentials_missing\nwww-authenticate: Signature realm=\"yett\"",
        saw: "",
    },
    Case {
        path: "/*",
        policies: "[hmac]",
        request: "GET /a HTTP/1.1\nsignature: s=:AAAA:\nsignature-input: s=(\"@method\");created=1;keyid=\"alice\"\n",
        told: "401 credentials_invalid: the signature is not valid\nwww-authenticate: Signature realm=\"yett\"",
        saw: "",
    },
    Case {
        path: "/*",
        policies: "[any: [hmac, api_key]]",
        request: "GET /a HTTP/1.1\nx-api-key: KEY\nsignature: s=:AAAA:\nsignature-input: s=()\n",
        told: "200",
        saw: "GET /a\nx-yett-consumer: alice",
    },
];
