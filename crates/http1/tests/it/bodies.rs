//! Bodies of every length.

use bytes::BytesMut;
use http1::{Decoder, Length, Piece, Refusal};

#[test]
fn a_body_of_known_length_ends_by_itself() {
    let mut decoder = Decoder::new(Length::Exact(8));
    let mut buffer = BytesMut::from("hello");
    assert_eq!((decoder.hint(), decoder.wants()), (Some(8), 8));
    assert_eq!(decoder.next(&mut buffer), Ok(Piece::Data("hello".into())));
    assert_eq!((decoder.next(&mut buffer), decoder.wants()), (Ok(Piece::More), 3));
    buffer.extend_from_slice(b"...GET");
    assert!(!decoder.is_done());
    assert_eq!(decoder.next(&mut buffer), Ok(Piece::Data("...".into())));
    assert!(decoder.is_done(), "no further call is needed to know it");
    assert_eq!(decoder.next(&mut buffer), Ok(Piece::End));
    assert_eq!((decoder.hint(), decoder.wants(), &buffer[..]), (Some(0), 0, &b"GET"[..]));
    assert_eq!(decoder.on_eof(), Ok(()));
}

#[test]
fn no_body_takes_no_byte() {
    for length in [Length::None, Length::Exact(0)] {
        let mut decoder = Decoder::new(length);
        let mut buffer = BytesMut::from("GET");
        assert!(decoder.is_done());
        assert_eq!(decoder.next(&mut buffer), Ok(Piece::End));
        assert_eq!(&buffer[..], b"GET");
    }
}

#[test]
fn a_body_until_the_end_of_the_connection_ends_with_it() {
    let mut decoder = Decoder::new(Length::UntilClose);
    let mut buffer = BytesMut::from("hello");
    assert_eq!((decoder.hint(), decoder.wants()), (None, 64 << 10));
    assert_eq!(decoder.next(&mut buffer), Ok(Piece::Data("hello".into())));
    assert_eq!(decoder.next(&mut buffer), Ok(Piece::More));
    assert_eq!(decoder.on_eof(), Ok(()));
    assert!(decoder.is_done());
    assert_eq!(decoder.next(&mut buffer), Ok(Piece::End));
}

#[test]
fn a_body_that_is_cut_is_told() {
    for length in [Length::Exact(8), Length::Chunked] {
        let mut decoder = Decoder::new(length);
        decoder.next(&mut BytesMut::from("4\r\nhal")).unwrap();
        assert_eq!(decoder.on_eof(), Err(Refusal::BodyCut), "{length:?}");
        assert!(!decoder.is_done());
    }
}

#[test]
fn a_chunked_body_is_done_with_its_last_piece() {
    let mut decoder = Decoder::new(Length::Chunked);
    let mut buffer = BytesMut::from("1\r\nx\r\n0\r\na: b\r\n\r\n");
    assert_eq!(decoder.next(&mut buffer), Ok(Piece::Data("x".into())));
    assert_eq!((decoder.hint(), decoder.is_done()), (None, false));
    assert!(matches!(decoder.next(&mut buffer), Ok(Piece::Trailers(_))));
    assert!(decoder.is_done());
    assert_eq!(decoder.next(&mut buffer), Ok(Piece::End));
}

#[test]
fn what_to_read_next_is_bounded() {
    assert_eq!(Decoder::new(Length::Exact(u64::MAX)).wants(), 64 << 10);
    let mut decoder = Decoder::new(Length::Chunked);
    assert!((1..=64 << 10).contains(&decoder.wants()));
    decoder.next(&mut BytesMut::from("ffffffffffffffff\r\n")).unwrap();
    assert_eq!(decoder.wants(), 64 << 10);
}
