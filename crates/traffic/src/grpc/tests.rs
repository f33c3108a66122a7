use super::{Dialect, Rpc, STATUSES, Status, add_pushback, format_timeout, parse_timeout};
use crate::fault::{FAULTS, FaultCode};
use crate::head::{RequestHead, Scheme};
use crate::headers::Headers;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Method, Version};
use std::time::Duration;

#[test]
fn statuses_are_in_the_order_of_their_numbers() {
    for (number, (status, name)) in STATUSES.iter().enumerate() {
        assert_eq!(usize::from(status.number()), number, "{name}");
        assert_eq!(status.name(), *name);
    }
    assert_eq!(Status::Unauthenticated.number(), 16);
    assert_eq!(Status::of_number(17), Status::Unknown);
}

#[test]
fn no_fault_is_told_as_a_success() {
    let number = |code: FaultCode| Status::of_fault(code).number();
    assert_eq!(number(FaultCode::CredentialsMissing), 16);
    assert_eq!(number(FaultCode::AccessDenied), 7);
    assert_eq!(number(FaultCode::NoRoute), 12);
    assert_eq!(number(FaultCode::RateLimited), 8);
    assert_eq!(number(FaultCode::NoTarget), 14);
    assert_eq!(number(FaultCode::UpstreamReset), 14);
    assert_eq!(number(FaultCode::TotalTimeout), 4);
    assert_eq!(number(FaultCode::Internal), 13);
    assert!(FAULTS.iter().all(|row| Status::of_http(row.status) != Status::Ok));
}

#[test]
fn calls_are_told_by_their_media_type() {
    for (written, expected) in [
        ("application/grpc", Some(Dialect::Native)),
        ("Application/gRPC+proto; charset=utf-8", Some(Dialect::Native)),
        ("application/grpc-web", Some(Dialect::Web)),
        ("application/grpc-web+proto", Some(Dialect::Web)),
        ("application/grpc-web-text", Some(Dialect::WebText)),
        ("application/grpc-web-text+proto", Some(Dialect::WebText)),
        ("application/grpcx", None),
        ("application/grpc-webx", None),
        ("application/json", None),
        ("", None),
    ] {
        assert_eq!(Dialect::of(&HeaderValue::from_static(written)), expected, "{written}");
    }
}

fn head(method: Method, content_type: &'static str) -> RequestHead {
    let mut headers = Headers::new();
    headers.append(CONTENT_TYPE, HeaderValue::from_static(content_type));
    RequestHead {
        method,
        scheme: Scheme::Https,
        host: "a".into(),
        authority: HeaderValue::from_static("a"),
        target: "/pkg.Service/Method".parse().unwrap(),
        version: Version::HTTP_2,
        headers,
    }
}

#[test]
fn a_refusal_is_of_the_callers_media_type_and_its_message_is_encoded() {
    assert!(Rpc::of(&head(Method::GET, "application/grpc")).is_none());
    let rpc = Rpc::of(&head(Method::POST, "application/grpc-web+proto; x=1")).unwrap();
    let answer = rpc.refusal(Status::Unavailable, "100 % größer\n");
    assert_eq!(answer.headers["content-type"], "application/grpc-web+proto");
    assert_eq!(answer.headers["grpc-status"], "14");
    assert_eq!(answer.headers["grpc-message"], "100 %25 gr%C3%B6%C3%9Fer%0A");
    assert_eq!(rpc.ending.status(), Some(Status::Unavailable));
}

#[test]
fn time_limits_are_read_and_written() {
    let read = |text: &'static str| parse_timeout(&HeaderValue::from_static(text));
    for (text, expected) in [
        ("1H", Duration::from_secs(3_600)),
        ("2M", Duration::from_secs(120)),
        ("10S", Duration::from_secs(10)),
        ("250m", Duration::from_millis(250)),
        ("7u", Duration::from_micros(7)),
        ("99999999n", Duration::from_nanos(99_999_999)),
        ("99999999H", Duration::from_secs(base::caps::GRPC_TIMEOUT_MAX_S)),
    ] {
        assert_eq!(read(text), Ok(expected), "{text}");
    }
    for text in ["", "S", "1", "1s", "-1S", "1.5S", "123456789S", "1 S", "+1S"] {
        assert!(read(text).is_err(), "{text}");
    }
    for (left, expected) in [
        (Duration::ZERO, "0n"),
        (Duration::from_millis(20), "20000000n"),
        (Duration::from_secs(10), "10000000u"),
        (Duration::from_secs(3_600), "3600000m"),
        (Duration::from_secs(3_600 * 48), "172800S"),
    ] {
        assert_eq!(format_timeout(left), expected);
    }
}

#[test]
fn retry_after_is_also_told_in_milliseconds() {
    let mut headers = Headers::new();
    headers.append(RETRY_AFTER, HeaderValue::from_static("3"));
    add_pushback(&mut headers);
    assert_eq!(headers["grpc-retry-pushback-ms"], "3000");
}
