//! What is asked in a cell, and what has to come of it: rows of the table.

mod answers;
mod ends;
mod uploads;

use super::pair::Pair;

/// A row.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// Panics where a promise is broken.
    pub(crate) check: fn(&mut Pair),
}

const fn case(name: &'static str, check: fn(&mut Pair)) -> Case {
    Case { name, check }
}

pub(crate) const CASES: &[Case] = &[
    case("keep-alive", answers::connections_are_kept),
    case("answer by length", answers::by_length),
    case("answer in chunks", answers::in_chunks),
    case("empty answer", answers::empty),
    case("large answer by length", answers::large_by_length),
    case("large answer in chunks", answers::large_in_chunks),
    case("HEAD", answers::of_head),
    case("204", answers::without_content),
    case("304", answers::unchanged),
    case("repeated headers of the answer", answers::repeated_headers),
    case("trailers of the answer", answers::trailers),
    case("103", answers::early_hints),
    case("upload by length", uploads::by_length),
    case("upload in chunks", uploads::in_chunks),
    case("empty upload by length", uploads::empty_by_length),
    case("empty upload in chunks", uploads::empty_in_chunks),
    case("large upload by length", uploads::large_by_length),
    case("large upload in chunks", uploads::large_in_chunks),
    case("repeated headers of the request", uploads::repeated_headers),
    case("trailers of the request", uploads::trailers),
    case("100-continue granted", uploads::granted),
    case("100-continue refused", uploads::refused),
    case("answer amid the upload", ends::answered_early),
    case("client leaves, by length", ends::client_leaves_by_length),
    case("client leaves, in chunks", ends::client_leaves_in_chunks),
    case("backend dies, by length", ends::backend_dies_by_length),
    case("backend dies, in chunks", ends::backend_dies_in_chunks),
];
