use crate::it::kit::Case;

const ASK: &str = "[{ websocket: {} }]";

pub(crate) const CASES: &[Case] = &[
    Case { path: "/*", policies: ASK, request: "GET /a HTTP/1.1\n", told: "200", saw: "GET /a" },
    Case {
        path: "/*",
        policies: ASK,
        request: "GET /a HTTP/1.1\nconnection: upgrade\nupgrade: websocket\nsec-websocket-version: 8\n",
        told: "426 websocket_version\nconnection: upgrade, close\nsec-websocket-version: 13\nupgrade: websocket",
        saw: "",
    },
    Case {
        path: "/*",
        policies: "[{ websocket: 'https://app.example.com' }]",
        request: "GET /a HTTP/1.1\nconnection: upgrade\nupgrade: websocket\nsec-websocket-version: 13\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\norigin: https://evil.example\n",
        told: "403 origin_refused: this route takes no WebSockets from pages of this origin\nconnection: close",
        saw: "",
    },
];
