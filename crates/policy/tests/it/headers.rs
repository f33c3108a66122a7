use crate::it::kit::Case;

pub(crate) const CASES: &[Case] = &[
    Case {
        path: "/*",
        policies: "[{ headers: { request: { remove: [cookie, x-in-*], rename: { x-old: x-new }, set: { x-gateway: yett }, add: { x-tag: b } } } }]",
        request: "GET /a HTTP/1.1\ncookie: a=1\nx-in-a: 1\nx-in-b: 2\nx-old: 3\nx-gateway: client\nx-tag: a\n",
        told: "200",
        saw: "GET /a\nx-gateway: yett\nx-new: 3\nx-tag: a\nx-tag: b",
    },
    Case {
        path: "/*",
        policies: "[{ headers: { response: { remove: [server], set: { x-frame-options: DENY } } } }]",
        request: "GET /a HTTP/1.1\n",
        told: "200\nx-frame-options: DENY",
        saw: "GET /a",
    },
    // The gateway's own answers are changed as well.
    Case {
        path: "/*",
        policies: "[{ headers: { response: { set: { x-frame-options: DENY } } } }, { deny: 'true' }]",
        request: "GET /a HTTP/1.1\n",
        told: "403 access_denied\nx-frame-options: DENY",
        saw: "",
    },
    // No policy is blinded by a header that goes.
    Case {
        path: "/*",
        policies: "[{ headers: { request: { remove: [x-pass] } } }, { allow: 'request.headers[\"x-pass\"] == \"1\"' }]",
        request: "GET /a HTTP/1.1\nx-pass: 1\n",
        told: "200",
        saw: "GET /a",
    },
];
