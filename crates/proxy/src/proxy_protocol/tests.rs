use super::{Announced, crc32c, take};
use base::caps::PROXY_HEADER_BYTES_MAX;
use bytes::BytesMut;

/// What a header says, as text; the reason if it is malformed, `more` if it is not whole. `GET` follows it.
fn read(header: &[u8]) -> String {
    let mut input = BytesMut::from(&[header, b"GET"].concat()[..]);
    let shown = match take(&mut input) {
        Err(malformed) => return malformed.to_string().replace("bad PROXY header: ", ""),
        Ok(None) => return "more".to_owned(),
        Ok(Some(announced)) => show(announced),
    };
    assert_eq!(&input[..], b"GET", "exactly the header is taken");
    shown
}

fn show(announced: Announced) -> String {
    announced.map_or_else(|| "itself".to_owned(), |(from, to)| format!("{from} {to}"))
}

/// A header of version 2.
fn binary(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[command, family], &length, payload].concat()
}

const FOUR: &[u8] = &[192, 0, 2, 1, 198, 51, 100, 2, 0x1f, 0x90, 1, 0xbb];

#[test]
fn lines_are_read_strictly() {
    for (line, expected) in [
        ("PROXY TCP4 192.0.2.1 198.51.100.2 8080 443\r\n", "192.0.2.1:8080 198.51.100.2:443"),
        ("PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n", "[2001:db8::1]:1 [2001:db8::2]:2"),
        ("PROXY UNKNOWN\r\n", "itself"),
        ("PROXY UNKNOWN ff:ff not ports at all\r\n", "itself"),
        ("PROXY TCP4 192.0.2.1 198.51.100.2 0 443\r\n", "192.0.2.1:0 198.51.100.2:443"),
        ("PROXY TCP4 192.0.2.1 198.51.100.2 8080 443\n", "the line is not one of text with CR LF"),
        ("PROXY TCP4 192.0.2.1 198.51.100.2 08080 443\r\n", "the addresses cannot be read"),
        ("PROXY TCP4 192.0.2.1 198.51.100.2 +80 443\r\n", "the addresses cannot be read"),
        ("PROXY TCP4 192.0.2.1 198.51.100.2 80000 443\r\n", "the addresses cannot be read"),
        ("PROXY TCP4 192.0.2.01 198.51.100.2 80 443\r\n", "the addresses cannot be read"),
        ("PROXY TCP4 192.0.2.1  198.51.100.2 80 443\r\n", "the addresses cannot be read"),
        ("PROXY TCP4 192.0.2.1 198.51.100.2 80 443 \r\n", "the addresses cannot be read"),
        ("PROXY TCP4 192.0.2.1 198.51.100.2 80\r\n", "the addresses cannot be read"),
        ("PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n", "the addresses cannot be read"),
        ("PROXY TCP6 192.0.2.1 198.51.100.2 1 2\r\n", "the addresses cannot be read"),
        ("PROXY TCP4 0.0.0.0 198.51.100.2 1 2\r\n", "the source is no address"),
        ("PROXY TCP6 ::ffff:0.0.0.0 ::1 1 2\r\n", "the source is no address"),
        (
            "PROXY UDP4 192.0.2.1 198.51.100.2 1 2\r\n",
            "the protocol is none of TCP4, TCP6 and UNKNOWN",
        ),
        ("PROXY \r\n", "the protocol is none of TCP4, TCP6 and UNKNOWN"),
        ("proxy UNKNOWN\r\n", "the connection does not begin with one"),
        ("PROXYUNKNOWN\r\n", "the connection does not begin with one"),
        ("GET / HTTP/1.1\r\n", "the connection does not begin with one"),
        ("\r\n\r\nPROXY UNKNOWN\r\n", "the connection does not begin with one"),
        ("PROXY UNKNOWN\u{e9}\r\n", "the protocol is none of TCP4, TCP6 and UNKNOWN"),
    ] {
        assert_eq!(read(line.as_bytes()), expected, "{line:?}");
    }
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(200));
    assert_eq!(read(long.as_bytes()), "the line does not end");
    let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(107 - 16));
    assert_eq!(read(longest.as_bytes()), "itself");
}

#[test]
fn binary_headers_are_read_strictly() {
    let four = |more: &[u8]| [FOUR, more].concat();
    let six = [&[0x20, 1, 0xd, 0xb8][..], &[0; 27], &[1], &[0, 1, 0, 2]].concat();
    for (command, family, payload, expected) in [
        (0x21, 0x11, four(&[]), "192.0.2.1:8080 198.51.100.2:443"),
        (0x21, 0x21, six, "[2001:db8::]:1 [::1]:2"),
        (0x21, 0x11, four(&[0xea, 0, 2, 1, 2, 0x04, 0, 0]), "192.0.2.1:8080 198.51.100.2:443"),
        (0x20, 0x00, Vec::new(), "itself"),
        (0x20, 0x11, four(&[]), "itself"),
        (0x21, 0x00, vec![1, 2, 3], "itself"),
        (0x21, 0x31, vec![b'x'; 216], "itself"),
        (0x21, 0x12, four(&[]), "the protocol is not TCP"),
        (0x21, 0x41, four(&[]), "the protocol is not TCP"),
        (0x21, 0x11, FOUR[..11].to_vec(), "the addresses are cut off"),
        (0x21, 0x21, FOUR.to_vec(), "the addresses are cut off"),
        (0x21, 0x11, vec![0; 12], "the source is no address"),
        (0x21, 0x11, four(&[4, 0]), "an addition is cut off"),
        (0x21, 0x11, four(&[4, 0, 9, 1]), "an addition is cut off"),
        (0x21, 0x11, four(&[3, 0, 4, 1, 2, 3, 4]), "the checksum is wrong"),
        (0x21, 0x11, four(&[3, 0, 1, 1]), "the checksum is wrong"),
        (0x11, 0x11, four(&[]), "the version is not 2"),
        (0x22, 0x11, four(&[]), "the command is unknown"),
        (0x21, 0x11, vec![1; PROXY_HEADER_BYTES_MAX], "it is too long"),
    ] {
        assert_eq!(read(&binary(command, family, &payload)), expected, "{command:x} {family:x}");
    }
}

#[test]
fn a_checksum_is_verified() {
    assert_eq!(crc32c(b"123456789".iter().copied()), 0xE306_9283);
    let mut header = binary(0x21, 0x11, &[FOUR, &[3, 0, 4, 0, 0, 0, 0]].concat());
    let sum = crc32c(header.iter().copied()).to_be_bytes();
    let at = header.len() - 4;
    header[at..].copy_from_slice(&sum);
    assert_eq!(read(&header), "192.0.2.1:8080 198.51.100.2:443");
    header[20] ^= 1;
    assert_eq!(read(&header), "the checksum is wrong");
}

#[test]
fn a_header_may_come_in_pieces() {
    let line = b"PROXY TCP4 192.0.2.1 198.51.100.2 8080 443\r\n".to_vec();
    for header in [line, binary(0x21, 0x11, FOUR)] {
        for cut in 0..header.len() {
            let mut input = BytesMut::from(&header[..cut]);
            assert_eq!(take(&mut input), Ok(None), "{cut} bytes");
            assert_eq!(input.len(), cut);
        }
    }
}
