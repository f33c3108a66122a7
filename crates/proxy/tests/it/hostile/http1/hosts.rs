//! Host: there once, and a host.

use crate::it::hostile::http1::check;
use crate::it::hostile::row::{ADDED, Row};

#[test]
fn a_request_names_one_host() {
    check(&rows());
}

const BAD: &str = "400 bad_host, closed";

fn with(lines: &str) -> String {
    format!("GET / HTTP/1.1\r\n{lines}\r\n")
}

/// Served, this being the host that the backend sees.
fn good(name: &'static str, clause: &'static str, lines: &str, host: &str) -> Row {
    Row::new(name, clause, with(lines), "200")
        .saw(format!("GET / HTTP/1.1\nhost: {host}\n{ADDED}\n"))
}

pub(crate) fn rows() -> Vec<Row> {
    let bad = |name, hosts: &[&str]| {
        let cases = hosts.iter().map(|host| with(&format!("host: {host}\r\n")));
        Row::each(name, "RFC 9112, 3.2", cases, BAD)
    };
    let several = |name, lines: &str| Row::new(name, "RFC 9112, 3.2", with(lines), BAD);
    vec![
        several("none", "")
            .peers("HAProxy passes it on without a host, though RFC 9112 has a server refuse it."),
        several(
            "none, but fields that are like it",
            "x-host: a.test\r\nhosts: a.test\r\nforwarded: host=a.test\r\n",
        ),
        several("two, different", "host: a.test\r\nhost: b.test\r\n").peers(
            "All three refuse: who takes the first and who takes the last would route and serve two different hosts.",
        ),
        several("two, equal", "host: a.test\r\nhost: a.test\r\n"),
        several(
            "two, far apart and in other case",
            "host: a.test\r\nx: y\r\nx: z\r\nHOST: b.test\r\n",
        ),
        several("two, one empty", "host: a.test\r\nhost:\r\n"),
        bad("empty", &["", " ", "\t"]),
        bad("two in one", &["a.test, b.test", "a.test b.test", "a.test,b.test", "a.test;b.test"])
            .peers("HAProxy does not look into Host; what a backend makes of a list is its own."),
        bad(
            "user information",
            &["u@a.test", "u:p@a.test", "@a.test", "a.test@b.test", "a.test:80@b.test"],
        )
        .peers("Both pass it on; to whoever reads it as a URI the host is what follows the `@`."),
        bad(
            "more of a URI",
            &[
                "http://a.test",
                "//a.test",
                "a.test/",
                "a.test/x",
                "a.test?x",
                "a.test#x",
                "/a.test",
                "a.test\\b.test",
            ],
        )
        .peers("HAProxy passes it on; where a host is put into a URI, this one brings a scheme of its own."),
        bad(
            "no port",
            &["a.test:", "a.test:x", "a.test:80:80", "a.test:-1", "a.test: 80", "a.test:80x"],
        ),
        bad("a port beyond all ports", &["a.test:65536", "a.test:99999999999999999999"]),
        bad("a port alone", &[":80", ":"]),
        bad("empty labels", &["a..test", ".a.test", ".", "..", "a.test.."]),
        bad(
            "characters that no name has",
            &[
                "a_\"b", "a'b", "a*b", "a%2etest", "a!b", "a$b", "a(b)", "a<b>", "*", "*.test",
                "a|b",
            ],
        ),
        bad(
            "letters beyond ASCII",
            &["\u{e9}.test", "a.test\u{3002}", "\u{ff41}.test", "a\u{200b}.test"],
        ),
        bad("a long label", &[&format!("{}.test", "a".repeat(64))]),
        bad("a long name", &[&format!("{}a.test", "a.".repeat(126))]),
        bad(
            "half an address of IPv6",
            &["[::1", "::1]", "[::1]x", "[]", "[:::1]", "[fe80::1%25eth0]", "[v1.a]", "::1"],
        ),
        good("in any case", "RFC 9110, 4.2.3", "hOsT: A.Test\r\n", "A.Test"),
        good("with a port", "RFC 9110, 7.2", "host: a.test:8080\r\n", "a.test:8080"),
        good("with a final dot", "RFC 9110, 4.2.3", "host: a.test.\r\n", "a.test."),
        good("an address", "RFC 9110, 7.2", "host: 127.0.0.1\r\n", "127.0.0.1"),
        good("an address of IPv6", "RFC 9110, 7.2", "host: [::1]:80\r\n", "[::1]:80"),
        good(
            "behind all others it still comes first",
            "RFC 9110, 7.2",
            "host: a.test\r\n",
            "a.test",
        ),
        Row::new("none, in HTTP/1.0", "RFC 9112, 3.2", "GET / HTTP/1.0\r\n\r\n", BAD),
    ]
}
