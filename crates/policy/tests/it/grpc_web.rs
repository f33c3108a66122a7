use crate::it::kit::Case;

pub(crate) const CASES: &[Case] = &[
    Case {
        path: "/*",
        policies: "[grpc_web]",
        request: "GET /a HTTP/1.1\n",
        told: "200",
        saw: "GET /a",
    },
    // A failure is told in the body, where pages can read it.
    Case {
        path: "/*",
        policies: "[grpc_web, { deny: 'true' }]",
        request: "POST /a.B/C HTTP/1.1\ncontent-type: application/grpc-web+proto\ncontent-length: 5\n\n\0\0\0\0\0",
        told: "200\ncontent-type: application/grpc-web+proto\n\n\u{fffd}\0\0\0@grpc-status: 7\ngrpc-message: Access is denied (access_denied)\n",
        saw: "",
    },
];
