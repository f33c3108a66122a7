use crate::it::kit::Case;

pub(crate) const CASES: &[Case] = &[
    // Over plain HTTP it says nothing.
    Case {
        path: "/*",
        policies: "[{ hsts: 365d }]",
        request: "GET /a HTTP/1.1\n",
        told: "200",
        saw: "GET /a",
    },
    Case {
        path: "/*",
        policies: "[{ hsts: 365d }, { deny: 'true' }]",
        request: "GET /a HTTP/1.1\n",
        told: "403 access_denied",
        saw: "",
    },
];
