use crate::it::kit::Case;

const MISSING: &str =
    "401 credentials_missing\nwww-authenticate: Basic realm=\"yett\", charset=\"UTF-8\"";
const INVALID: &str = "401 credentials_invalid: user name or password are not valid\n\
                       www-authenticate: Basic realm=\"yett\", charset=\"UTF-8\"";

const fn refused(request: &'static str, told: &'static str) -> Case {
    Case { path: "/*", policies: "[basic]", request, told, saw: "" }
}

/// `YWxpY2U6cGFzc3dvcmQ=` is `alice:password`, `YWxpY2U6d3Jvbmc=` is `alice:wrong`, `Ym9iOnBhc3N3b3Jk` is `bob:password`.
pub(crate) const CASES: &[Case] = &[
    refused("GET /a HTTP/1.1\n", MISSING),
    refused("GET /a HTTP/1.1\nauthorization: Bearer YWxpY2U6cGFzc3dvcmQ=\n", MISSING),
    refused("GET /a HTTP/1.1\nauthorization: Basic YWxpY2U6d3Jvbmc=\n", INVALID),
    refused("GET /a HTTP/1.1\nauthorization: Basic Ym9iOnBhc3N3b3Jk\n", INVALID),
    refused("GET /a HTTP/1.1\nauthorization: Basic nonsense\n", INVALID),
    Case {
        path: "/*",
        policies: "[basic, allow: 'consumer.application == \"desk\" && consumer.credential == \"alice\"']",
        request: "GET /a HTTP/1.1\nauthorization: Basic YWxpY2U6cGFzc3dvcmQ=\nx-yett-consumer: root\n",
        told: "200",
        saw: "GET /a\nx-yett-consumer: alice",
    },
];
