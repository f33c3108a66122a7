//! The forms of a target: a path, a whole URI that agrees with Host, and two that hardly anybody needs.

use crate::it::hostile::http1::check;
use crate::it::hostile::row::{ADDED, Row, Then, head};

#[test]
fn a_target_has_a_form_that_its_method_may_have() {
    check(&rows());
}

const BAD: &str = "400 bad_request, closed";
const HOST: &str = "400 bad_host, closed";

fn line(line: &str) -> String {
    format!("{line} HTTP/1.1\r\nhost: a.test\r\n\r\n")
}

fn absolute(name: &'static str, targets: &[&str], path: &str) -> Row {
    let cases = targets.iter().map(|target| line(&format!("GET {target}")));
    Row::each(name, "RFC 9112, 3.2.2", cases, "200").saw(head(&format!("GET {path}"), "", ""))
}

fn bad(name: &'static str, clause: &'static str, lines: &[&str], reason: &'static str) -> Row {
    Row::each(name, clause, lines.iter().map(|text| line(text)), BAD).counted(reason)
}

pub(crate) fn rows() -> Vec<Row> {
    let authority = |name, lines: &[&str]| {
        let cases = lines.iter().map(|text| line(text));
        Row::each(name, "RFC 9110, 4.2", cases, HOST).counted("bad_authority")
    };
    let differs = |name, lines: &[&str]| {
        Row::each(name, "RFC 9112, 3.2.2", lines.iter().map(|text| line(text)), HOST)
    };
    vec![
        absolute("absolute", &["http://a.test/x", "HTTP://a.test/x", "https://a.test/x"], "/x"),
        absolute("absolute without a path", &["http://a.test", "http://a.test/"], "/"),
        absolute("absolute without a path, with a query", &["http://a.test?x=/../y"], "/?x=/../y"),
        absolute("absolute with dots in its path", &["http://a.test/x/../y", "http://a.test/x/%2e%2e/y"], "/y"),
        Row::new("absolute in other case than Host", "RFC 9110, 4.2.3", line("GET http://A.TEST/"), "200")
            .saw(format!("GET / HTTP/1.1\nhost: A.TEST\n{ADDED}\n")),
        differs("absolute, Host another", &["GET http://b.test/", "GET http://a.test.b.test/", "GET http://a.testx/"])
            .peers("nginx goes by the target and forgets Host, as RFC 9112 has a proxy do; HAProxy and we refuse, for what stands before or behind may go by the other."),
        differs("absolute, Host with another port", &["GET http://a.test:81/", "GET http://a.test:80/"]),
        Row::new("absolute, Host missing", "RFC 9112, 3.2", "GET http://a.test/ HTTP/1.1\r\n\r\n", HOST),
        Row::new("absolute, Host twice", "RFC 9112, 3.2", "GET http://a.test/ HTTP/1.1\r\nhost: a.test\r\nhost: a.test\r\n\r\n", HOST),
        Row::new("absolute, Host empty", "RFC 9112, 3.2.2", "GET http://a.test/ HTTP/1.1\r\nhost:\r\n\r\n", HOST),
        Row::new("absolute in HTTP/1.0 without Host", "RFC 9112, 3.2.2", "GET http://a.test/ HTTP/1.0\r\n\r\n", "200, closed")
            .saw(head("GET /", "", "")),
        authority("absolute with user information", &["GET http://u@a.test/", "GET http://u:p@a.test/", "GET http://@a.test/", "GET http://a.test@b.test/", "GET http://b.test:80@a.test/"])
            .peers("HAProxy passes the target on as it is, user information included, of which RFC 9110, 4.2.4 warns."),
        authority("absolute without a host", &["GET http:///x", "GET http://:80/", "GET http://?x", "GET http://"]),
        differs("absolute with a host that is none", &["GET http://a..test/", "GET http://a.test:x/", "GET http://[::1/", "GET http://a%2etest/"]),
        bad("another scheme", "RFC 9112, 3.2.2", &["GET ftp://a.test/", "GET file:///etc/passwd", "GET ws://a.test/", "GET gopher://a.test/", "GET javascript:x", "GET httpx://a.test/"], "target_form"),
        bad("a scheme with one slash or none", "RFC 9112, 3.2.2", &["GET http:/a.test/", "GET http:a.test", "GET http:", "GET ://a.test/", "GET http//a.test/"], "target_form"),
        bad("a path without a slash", "RFC 9112, 3.2.1", &["GET a", "GET a/b", "GET ?a", "GET .", "GET ..", "GET ../a", "GET ;a", "GET %2f"], "target_form"),
        bad("an authority with another method", "RFC 9112, 3.2.3", &["GET a.test:80", "POST a.test:443"], "target_form"),
        bad("the asterisk with another method", "RFC 9112, 3.2.4", &["GET *", "POST *", "options *"], "target_form"),
        bad("almost the asterisk", "RFC 9112, 3.2.4", &["OPTIONS **", "OPTIONS *x", "OPTIONS *?x"], "target_form"),
        Row::new("the asterisk", "RFC 9110, 9.3.7", line("OPTIONS *"), "400 bad_path"),
        bad("a fragment", "RFC 9112, 3.2", &["GET /a#b", "GET /#", "GET /a?b#c", "GET #a", "GET http://a.test/#b"], "bad_target|target_form")
            .peers("nginx passes it on; a server that cuts it off serves another path than one that does not."),
        bad("bytes beyond ASCII", "RFC 9112, 3.2", &["GET /\u{e9}", "GET /a\u{ff0f}b", "GET /a?\u{e9}"], "bad_target"),
        Row::new("bytes that are no UTF-8", "RFC 9112, 3.2", [b"GET /\xff\xfe".as_slice(), b" HTTP/1.1\r\nhost: a.test\r\n\r\n"].concat(), BAD)
            .counted("bad_target"),
        Row::each(
            "`CONNECT`",
            "RFC 9931, 7",
            ["CONNECT a.test:443 HTTP/1.1\r\nhost: a.test:443\r\n\r\n", "CONNECT a.test:443 HTTP/1.1\r\nhost: a.test\r\n\r\n"],
            "501 method_unsupported, closed",
        )
        .peers("HAProxy passes it on; what follows a refused `CONNECT` may be somebody else's bytes for the tunnel, so nginx and we close."),
        authority("`CONNECT` without a port", &["CONNECT a.test", "CONNECT a.test:", "CONNECT a.test:x"]),
        authority("`CONNECT` with more than an authority", &["CONNECT u@a.test:443", "CONNECT a.test/x:443", "CONNECT :443"]),
        authority("`CONNECT` with a path or a URI", &["CONNECT /", "CONNECT http://a.test/", "CONNECT *"]),
        Row::new("two slashes are no authority", "RFC 9112, 3.2.1", line("GET //b.test/x"), "200")
            .saw(head("GET /b.test/x", "", ""))
            .then(Then::Asks),
    ]
}
