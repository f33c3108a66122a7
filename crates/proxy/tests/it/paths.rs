use crate::it::kit::{brief, fetch, first_lines, say_bytes};
use testkit::gateway::BACKEND;
use testkit::{Backend, TestGateway};

/// Everything goes to the backend, but nothing below `/admin`.
fn guarded(rules: &str) -> TestGateway {
    let gateway = TestGateway::new(&format!(
        "version: 1
listeners: {{ public: {{ bind: '127.0.0.1:8080', paths: {rules} }} }}
upstreams: {{ echo: {{ targets: ['{BACKEND}'] }} }}
apis:
  test:
    upstream: echo
    public: a test
    routes:
      - /admin/*: {{ policies: [{{ deny: 'true' }}] }}
      - /*
"
    ));
    gateway.put(BACKEND, Backend::echo());
    gateway
}

/// The path as it was forwarded, or the refusal.
async fn forwarded(gateway: &TestGateway, path: &[u8]) -> String {
    let request = [b"GET ", path, b" HTTP/1.1\r\nhost: a.test\r\n\r\n"].concat();
    let answer = brief(&say_bytes(gateway, &request).await);
    if answer != "200" {
        return answer;
    }
    first_lines(gateway).pop().unwrap().split(' ').nth(1).unwrap().to_owned()
}

async fn check(written: &str, expected: &str) {
    assert_eq!(forwarded(&guarded("{}"), written.as_bytes()).await, expected, "{written}");
}

#[tokio::test(start_paused = true)]
async fn no_spelling_of_a_path_gets_around_its_route() {
    for path in [
        "/admin",
        "/admin/",
        "/admin/x",
        "/%61dmin/x",
        "/%61%64%6D%69%6e/x",
        "//admin/x",
        "/.//admin/x",
        "/./admin/x",
        "/%2e/admin/x",
        "/x/../admin/x",
        "/x/%2e%2e/admin/x",
        "/x/%2E./admin/x",
        "/x/y/../../admin/x",
        "/admin/./x",
        "/admin//x",
        "/admin/x/..",
        "/admin?x=/../public",
        "/admin/%2e%2e/admin/x",
    ] {
        check(path, "403 access_denied").await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_forwarded_is_the_form_that_was_routed() {
    for (written, expected) in [
        ("/", "/"),
        ("/a/b", "/a/b"),
        ("/a/", "/a/"),
        ("/a//b///c", "/a/b/c"),
        ("/a/./b/../c", "/a/c"),
        ("/a/b/..", "/a/"),
        ("/%7Ejoe/%61%2Db", "/~joe/a-b"),
        ("/caf%c3%a9", "/caf%C3%A9"),
        ("/a%20b", "/a%20b"),
        ("/a|b", "/a%7Cb"),
        ("/a;v=1/b", "/a;v=1/b"),
        ("/a:b@c,d", "/a:b@c,d"),
        ("/admin;x/y", "/admin;x/y"),
        ("/ADMIN/x", "/ADMIN/x"),
        ("/admins", "/admins"),
        ("/a?x=%2e%2e/&y=//;z", "/a?x=%2e%2e/&y=//;z"),
        ("/%61?%61=%61", "/a?%61=%61"),
    ] {
        check(written, expected).await;
    }
}

#[tokio::test(start_paused = true)]
async fn double_and_overlong_encodings_are_never_decoded_to_something_else() {
    check("/%252e%252e/admin", "/%252e%252e/admin").await;
    check("/%25%32%65/admin", "/%252e/admin").await;
    check("/%c0%ae%c0%ae/admin", "/%C0%AE%C0%AE/admin").await;
    check("/%u002e/admin", "400 bad_path").await;
}

#[tokio::test(start_paused = true)]
async fn what_programs_read_differently_is_refused() {
    for path in [
        "/..",
        "/../x",
        "/%2e%2e/x",
        "/a/../../x",
        "/a%2fb",
        "/a%2F..%2Fadmin",
        "/a%5cb",
        "/..%5cadmin",
        "/a%00b",
        "/a%0d%0ab",
        "/a%7f",
        "/a%",
        "/a%2",
        "/a%zz",
        "/a/..;/admin/x",
        "/a/.;x/admin",
        "/a/..;x=y/admin",
    ] {
        check(path, "400 bad_path").await;
    }
    for path in [&b"/a\\b"[..], b"/a\\..\\admin", b"/caf\xc3\xa9", b"/\xff", b"*"] {
        let answer = forwarded(&guarded("{}"), path).await;
        assert!(answer.starts_with("400"), "{path:?}: {answer}");
    }
    for path in [&b"/a\0b"[..], b"/a\tb", b"/a\x7fb", b"/a\x0bb", b"a", b"", b"/a b"] {
        let answer = forwarded(&guarded("{}"), path).await;
        assert!(answer.starts_with("400"), "{path:?}: {answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_listener_may_keep_or_refuse_unusual_slashes() {
    let keep = guarded("{ encoded_slash: keep, double_slash: keep }");
    assert_eq!(forwarded(&keep, b"/a%2fb//c").await, "/a%2Fb//c");
    // A backend that decodes the slash first would climb.
    assert_eq!(forwarded(&keep, b"/a%2f..%2fadmin").await, "400 bad_path");
    let strict = guarded("{ double_slash: reject }");
    assert_eq!(forwarded(&strict, b"/a//b").await, "400 bad_path");
    assert_eq!(forwarded(&strict, b"/a/b").await, "/a/b");
}

#[tokio::test(start_paused = true)]
async fn a_fragment_never_reaches_a_backend() {
    let gateway = guarded("{}");
    fetch(&gateway, "/a#b").await;
    assert!(first_lines(&gateway).iter().all(|line| line == "GET /a HTTP/1.1"));
}
