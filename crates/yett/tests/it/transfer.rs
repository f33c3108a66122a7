//! Bodies far larger than the memory they may take.

use super::backend::{self, Backend};
use super::client::{connect, curl, curl_command, read_head};
use super::servers::Nginx;
use super::yett::{Launch, Yett, plain};
use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;

const SIZE: usize = 50 << 20;
/// A gibibyte.
const LARGE: u64 = 1 << 30;
/// What the whole process may take for that, in kilobytes, its own file included.
const LARGE_MEMORY_KB: u64 = 64 << 10;
/// What the gateway may hold at most, in kilobytes, besides the pages of its own file, which is large
/// where it is built for tests.
const MEMORY_MAX_KB: u64 = 40 << 10;

/// Bytes that repeat nowhere.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

fn check_memory(yett: &Yett) {
    let (peak, program) = (yett.memory_kb("VmHWM"), yett.memory_kb("RssFile"));
    assert!(peak - program < MEMORY_MAX_KB, "{peak} kB at most, {program} kB of it the program");
}

#[test]
fn a_large_download_arrives_whole_in_little_memory() {
    let nginx = Nginx::start("");
    let content = noise(SIZE);
    nginx.file("large", &content);
    let yett = Yett::start(&plain(&nginx.address, ""));
    let url = format!("{}/large", yett.url("public"));
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let file = yett.path("downloaded");
        let mut curl = curl_command(&[version, "-o", file.to_str().unwrap(), &url]);
        assert!(curl.status().unwrap().success(), "{version}");
        assert!(fs::read(file).unwrap() == content, "{version}: the bytes differ");
    }
    assert_eq!(yett.metric("yett_response_bytes_total", &["api=\"all\""]), 2.0 * SIZE as f64);
    check_memory(&yett);
}

#[test]
fn a_large_upload_arrives_whole_in_little_memory() {
    let content = noise(SIZE);
    let expected = content.clone();
    let backend = Backend::start(move |seen, stream| {
        let is_whole: &[u8] = if seen.body == expected { b"whole" } else { b"spoilt" };
        backend::answer(stream, "200 OK", "", is_whole)
    });
    let launch = Launch::new(&plain(&backend.address.to_string(), "")).file("upload", &content);
    let yett = launch.start();
    let upload = format!("@{}", yett.path("upload").display());
    let cases: [&[&str]; 3] = [
        &["--http1.1"],
        &["--http1.1", "-H", "transfer-encoding: chunked"],
        &["--http2-prior-knowledge"],
    ];
    for case in cases {
        let url = yett.url("public");
        let answer = curl(&[case, &["--data-binary", &upload, &url]].concat());
        assert_eq!((answer.status, answer.body.as_str()), (200, "whole"), "{case:?}");
    }
    assert_eq!(yett.metric("yett_request_bytes_total", &["api=\"all\""]), 3.0 * SIZE as f64);
    check_memory(&yett);
}

#[test]
fn a_client_that_reads_slowly_holds_the_backend_back() {
    let nginx = Nginx::start("");
    nginx.file("large", &noise(SIZE));
    let yett = Yett::start(&plain(&nginx.address, ""));
    let request = b"GET /large HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let mut streams: Vec<_> = (0..8).map(|_| connect(&yett.address("public"))).collect();
    for stream in &mut streams {
        stream.write_all(request).unwrap();
    }
    // Each takes small bites in turn, so that the backend is ahead of all of them all the time.
    for stream in &mut streams {
        assert!(read_head(stream).starts_with("HTTP/1.1 200"));
    }
    let mut taken = 0;
    let mut bite = [0; 4096];
    for _ in 0..1_000 {
        for stream in &mut streams {
            taken += stream.read(&mut bite).unwrap();
        }
    }
    assert!(taken < streams.len() * SIZE);
    check_memory(&yett);
    let mut rest = streams.pop().unwrap();
    let mut whole = Vec::new();
    rest.read_to_end(&mut whole).unwrap();
    assert!(whole.len() >= SIZE - 4096 * 1_000, "{}", whole.len());
}

#[test]
fn a_gibibyte_goes_up_and_comes_back_over_http_2_in_64_mebibytes() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap().to_string();
    // Sends every byte back as it comes.
    let echo = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::with_capacity(64 << 10, stream.try_clone().unwrap());
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            reader.read_line(&mut line).unwrap();
        }
        write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {LARGE}\r\n\r\n").unwrap();
        io::copy(&mut reader.take(LARGE), &mut stream).unwrap();
    });
    let yett = Yett::start(&plain(&target, "policies: [{ body_limit: 1GiB }]\n"));
    let file = yett.path("large");
    fs::File::create(&file).unwrap().set_len(LARGE).unwrap();
    let output = curl_command(&["--http2-prior-knowledge", "-o", "/dev/null"])
        .args(["-w", "%{http_code} %{size_upload} %{size_download}", "-T"])
        .args([file.to_str().unwrap(), &yett.url("public")])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(told, format!("200 {LARGE} {LARGE}"), "{output:?}");
    echo.join().unwrap();
    let peak = yett.memory_kb("VmHWM");
    assert!(peak < LARGE_MEMORY_KB, "{peak} kB at most");
}
