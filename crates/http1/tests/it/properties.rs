//! What holds for every message: the checks are those of the fuzz targets, on messages that are nearly
//! well-formed.

use super::{chunk_checks, differential, head_checks, path_checks};
use proptest::collection::vec;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_oneof, proptest};

/// Pieces of which messages are made, and by which they are broken.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let words = [
        "\r\n",
        "\r\n\r\n",
        "\n",
        "\r",
        " ",
        "\t",
        "\0",
        ":",
        ": ",
        ",",
        ";",
        "0",
        "5",
        "hello",
        "content-length",
        "transfer-encoding",
        "connection",
        "host",
        "expect",
        "upgrade",
        "chunked",
        "gzip",
        "close",
        "keep-alive",
        "100-continue",
        "GET / HTTP/1.1\r\n",
        "HTTP/1.1 200 OK\r\n",
        "x: y\r\n",
        "\u{e9}",
        "\u{7f}",
    ];
    let word = proptest::sample::select(words.to_vec()).prop_map(|word| word.as_bytes().to_vec());
    prop_oneof![8 => word, 1 => vec(any::<u8>(), 0..4)]
}

fn pieces(count: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(piece(), 0..count).prop_map(|pieces| pieces.concat())
}

fn field() -> impl Strategy<Value = Vec<u8>> {
    let framing = [
        "content-length: 5\r\n",
        "Content-Length: 0\r\n",
        "transfer-encoding: chunked\r\n",
        "connection: close\r\n",
        "connection: keep-alive, upgrade\r\nupgrade: x\r\n",
        "expect: 100-continue\r\n",
    ];
    let text = "[!-~]([ -~\t\u{e9}]{0,20}[!-~])?";
    let other = ("[!#$%&'*+.^_`|~0-9A-Za-z-]{1,80}", "[ \t]{0,2}", text, "[ \t]{0,2}")
        .prop_map(|(name, before, value, after)| format!("{name}:{before}{value}{after}\r\n"));
    prop_oneof![
        2 => proptest::sample::select(framing.to_vec()).prop_map(|line| line.as_bytes().to_vec()),
        4 => other.prop_map(String::into_bytes),
        1 => piece(),
    ]
}

fn start() -> impl Strategy<Value = String> {
    let method =
        prop_oneof![Just("GET"), Just("POST"), Just("OPTIONS"), Just("CONNECT"), Just("X-Y")];
    let target = prop_oneof![
        4 => "/[!-~]{0,20}",
        1 => Just("*".to_owned()),
        1 => "[a-z]{1,5}:[0-9]{1,3}",
        1 => "https?://[a-z.]{1,9}(:[0-9]{1,4})?[/?]?[a-z]{0,5}",
    ];
    let version = prop_oneof![6 => Just("1.1"), 2 => Just("1.0"), 1 => Just("2.0")];
    (method, target, version).prop_map(|(m, target, v)| format!("{m} {target} HTTP/{v}\r\n"))
}

fn message(start: impl Strategy<Value = String>) -> impl Strategy<Value = Vec<u8>> {
    let body = prop_oneof![
        Just(b"hello".to_vec()),
        Just(b"5;a=\"b\"\r\nhello\r\n0\r\nt: u\r\n\r\n".to_vec()),
        pieces(10)
    ];
    (start, vec(field(), 0..6), body).prop_map(|(start, fields, body)| {
        [start.into_bytes(), fields.concat(), b"\r\n".to_vec(), body].concat()
    })
}

fn answer() -> impl Strategy<Value = Vec<u8>> {
    message("HTTP/1.[01] (100|101|103|200|204|304|404|999) ?[ -~]{0,10}\r\n")
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 512, ..Default::default() })]

    #[test]
    fn requests_mean_the_same_however_they_are_read(bytes in message(start())) {
        head_checks::request(&bytes);
    }

    #[test]
    fn answers_mean_the_same_however_they_are_read(bytes in answer()) {
        head_checks::response(&bytes);
    }

    #[test]
    fn bodies_mean_the_same_however_they_are_read(bytes in pieces(20)) {
        chunk_checks::check(&bytes);
    }

    #[test]
    fn chunks_of_any_size_are_joined(
        sizes in vec(1_usize..300, 0..20),
        extension in prop_oneof![Just(""), Just(";a"), Just(";a=\"b\"")],
        trailers in prop_oneof![Just(""), Just("t: u\r\n")],
    ) {
        let mut body = Vec::new();
        for size in &sizes {
            body.extend_from_slice(format!("{size:x}{extension}\r\n").as_bytes());
            body.extend(std::iter::repeat_n(b'\r', *size));
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(format!("0{extension}\r\n{trailers}\r\n").as_bytes());
        chunk_checks::check(&body);
    }

    #[test]
    fn random_bytes_break_nothing(bytes in vec(any::<u8>(), 0..300)) {
        head_checks::request(&bytes);
        head_checks::response(&bytes);
        chunk_checks::check(&bytes);
    }

    #[test]
    fn paths_are_stable_and_climb_nowhere(
        path in "/(\\.|\\.\\.|%2[eEfF5]|%5[cC]|;|/|a|%61|[!-~]|\u{e9}){0,12}"
    ) {
        path_checks::check(path.as_bytes());
    }

    #[test]
    fn requests_mean_to_hyper_what_they_mean_to_us(
        first in message(start()),
        second in message(start()),
    ) {
        differential::check(&[b">", &first[..], &second[..]].concat());
    }

    #[test]
    fn answers_mean_to_hyper_what_they_mean_to_us(bytes in answer()) {
        differential::check(&[b"<", &bytes[..]].concat());
        differential::check(&[b"h", &bytes[..]].concat());
    }
}
