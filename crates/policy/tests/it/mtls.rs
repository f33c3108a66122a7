use crate::it::kit::Case;

/// Nobody shows a certificate to a gateway in memory: the whole product is tested with them.
pub(crate) const CASES: &[Case] = &[
    Case {
        path: "/*",
        policies: "[mtls]",
        request: "GET /a HTTP/1.1\n",
        told: "401 credentials_missing\nwww-authenticate: Certificate realm=\"yett\"",
        saw: "",
    },
    Case {
        path: "/*",
        policies: "[any: [mtls, api_key]]",
        request: "GET /a HTTP/1.1\nx-api-key: KEY\n",
        told: "200",
        saw: "GET /a\nx-yett-consumer: alice",
    },
    Case {
        path: "/*",
        policies: "[all: [{ mtls: { consumer: nobody } }, api_key]]",
        request: "GET /a HTTP/1.1\nx-api-key: KEY\n",
        told: "401 credentials_missing\nwww-authenticate: Certificate realm=\"yett\"",
        saw: "",
    },
];
