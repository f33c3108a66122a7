use crate::it::kit::Case;

const LONG: &str = "[{ compress: { min_size: 1B } }, { respond: { body: 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', content_type: text/plain } }]";

pub(crate) const CASES: &[Case] = &[
    Case {
        path: "/*",
        policies: LONG,
        request: "GET /a HTTP/1.1\n",
        told: "200\ncontent-type: text/plain\nvary: accept-encoding\n\naaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        saw: "",
    },
    Case {
        path: "/*",
        policies: LONG,
        request: "GET /a HTTP/1.1\naccept-encoding: gzip;q=0, identity",
        told: "200\ncontent-type: text/plain\nvary: accept-encoding\n\naaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        saw: "",
    },
    // What is short stays as it is.
    Case {
        path: "/*",
        policies: "[compress]",
        request: "GET /a HTTP/1.1\naccept-encoding: gzip",
        told: "200",
        saw: "GET /a\naccept-encoding: gzip",
    },
];
