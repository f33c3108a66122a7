use crate::it::kit::{Outer, differs, folder};
use crate::it::surroundings::surroundings;
use compile::explain::{Question, explain};
use http::{HeaderName, HeaderValue, Method};
use std::fmt::Write as _;
use std::fs;
use traffic::Headers;

const QUESTIONS: &[(&str, &str, &str)] = &[
    ("GET", "https://api.example.com/orders/1", ""),
    ("GET", "https://API.example.com:443/x/..//orders/%31", ""),
    ("GET", "https://api.example.com/orders/1", "2"),
    ("GET", "https://a.b.example.org/orders/files/a/b%20c", ""),
    ("PUT", "https://www.example.org/orders/abc-12", ""),
    ("POST", "https://api.example.com/orders/1", ""),
    ("HEAD", "https://api.example.com/orders/1", ""),
    ("GET", "https://example.org/orders/1", ""),
    ("GET", "http://api.example.com/orders/1", ""),
    ("GET", "http://x.test/status/deep", ""),
    ("GET", "https://x.test/status", ""),
    ("GET", "https://api.example.com/a%2fb", ""),
    ("GET", "https://api.example.com/orders/new/1", ""),
];

#[test]
fn explanations_say_which_route_takes_a_request_and_why() {
    let text = fs::read_to_string(folder().join("explain.yaml")).unwrap();
    let around = surroundings().clone().file("explain.yaml", text);
    let (compiled, report) = Outer::new().compile("explain.yaml", &around);
    assert!(!report.has_errors(), "{report}");
    let snapshot = compiled.unwrap().snapshot;
    let mut all = String::new();
    for (method, url, version) in QUESTIONS {
        let mut headers = Headers::new();
        if !version.is_empty() {
            headers.insert(HeaderName::from_static("x-version"), HeaderValue::from_static(version));
        }
        let question = Question {
            method: method.parse::<Method>().unwrap(),
            url: url.parse().unwrap(),
            headers,
        };
        let also =
            if version.is_empty() { String::new() } else { format!(" x-version: {version}") };
        writeln!(all, "> {method} {url}{also}\n").unwrap();
        for explanation in explain(&snapshot, &question).unwrap() {
            writeln!(all, "{explanation}").unwrap();
        }
    }
    assert!(!differs("explain.answers", &all), "explanations differ:\n{all}");
}

#[test]
fn a_url_needs_a_host() {
    let config = "version: 1\nlisteners: { web: { bind: '0.0.0.0:80' } }\napis: { a: { public: a test, policies: [{ respond: 204 }] } }\n";
    let snapshot = crate::it::kit::compiled(config).snapshot;
    for (url, part) in [("/orders", "has no host"), ("http://a_b..c/", "is not a host")] {
        let url = url.parse().unwrap();
        let question = Question { method: Method::GET, url, headers: Headers::new() };
        assert!(explain(&snapshot, &question).unwrap_err().contains(part), "{part}");
    }
}
