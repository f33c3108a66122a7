//! What keys do.

use super::screen::{BUSIEST, Look};
use super::view::Table;

/// Characters of a filter.
const FILTER_MAX: usize = 64;
/// Rows of a page.
const PAGE: usize = 10;

/// A key that was pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Char(char),
    Enter,
    Escape,
    Erase,
    Tab,
    Up,
    Down,
    PageUp,
    PageDown,
    /// Ctrl-C, or nobody is there any more.
    Interrupt,
    /// Nothing was pressed: the window has another size, or the key means nothing.
    Nothing,
}

/// What comes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    GoOn,
    End,
}

/// Changes what is looked at.
pub(crate) fn press(look: &mut Look, key: Key) -> Then {
    if key == Key::Interrupt || (key == Key::Char('q') && !look.is_typing) {
        return Then::End;
    }
    if look.is_typing {
        type_filter(look, key);
        return Then::GoOn;
    }
    match key {
        Key::Tab => {
            let at = Table::ALL.iter().position(|table| *table == look.table).unwrap_or(0);
            show(look, Table::ALL[(at + 1) % Table::ALL.len()]);
        }
        Key::Char(digit @ '1'..='5') => {
            let at = digit.to_digit(10).map_or(0, |digit| digit as usize);
            if let Some(table) = Table::ALL.get(at.wrapping_sub(1)) {
                show(look, *table);
            }
        }
        Key::Char('s') => look.sort = (look.sort + 1) % look.columns(),
        Key::Char('r') => look.is_reversed = !look.is_reversed,
        Key::Char('p') => look.is_paused = !look.is_paused,
        Key::Char('/') => look.is_typing = true,
        Key::Escape => look.filter.clear(),
        Key::Up | Key::Char('k') => look.first = look.first.saturating_sub(1),
        Key::Down | Key::Char('j') => look.first = look.first.saturating_add(1),
        Key::PageUp => look.first = look.first.saturating_sub(PAGE),
        Key::PageDown => look.first = look.first.saturating_add(PAGE),
        _ => {}
    }
    Then::GoOn
}

fn show(look: &mut Look, table: Table) {
    (look.table, look.sort, look.first) = (table, BUSIEST, 0);
}

fn type_filter(look: &mut Look, key: Key) {
    match key {
        Key::Char(c) if look.filter.chars().count() < FILTER_MAX => look.filter.push(c),
        Key::Erase => drop(look.filter.pop()),
        Key::Enter => look.is_typing = false,
        Key::Escape => {
            look.filter.clear();
            look.is_typing = false;
        }
        _ => {}
    }
    look.first = 0;
}

/// The keys in what a terminal sent at once; what is not known is nothing.
pub(super) fn read(bytes: &[u8]) -> Vec<Key> {
    let mut keys = Vec::new();
    let mut rest = bytes;
    while let Some((first, after)) = rest.split_first() {
        let (key, after) = match (first, after) {
            (0x1b, []) => (Key::Escape, after),
            (0x1b, [b'[' | b'O', sequence @ ..]) => escape_sequence(sequence),
            (0x1b, _) => (Key::Nothing, after),
            (b'\r' | b'\n', _) => (Key::Enter, after),
            (b'\t', _) => (Key::Tab, after),
            (0x08 | 0x7f, _) => (Key::Erase, after),
            (0x03 | 0x04, _) => (Key::Interrupt, after),
            (b' '..=b'~', _) => (Key::Char(char::from(*first)), after),
            _ => (Key::Nothing, after),
        };
        keys.push(key);
        rest = after;
    }
    keys
}

/// Parameters and the letter that ends them (ECMA-48, 5.4).
fn escape_sequence(bytes: &[u8]) -> (Key, &[u8]) {
    let end = bytes.iter().position(|byte| (0x40..=0x7e).contains(byte));
    let Some((sequence, after)) = end.and_then(|end| bytes.split_at_checked(end + 1)) else {
        return (Key::Nothing, &[]);
    };
    let key = match sequence {
        b"A" => Key::Up,
        b"B" => Key::Down,
        b"5~" => Key::PageUp,
        b"6~" => Key::PageDown,
        _ => Key::Nothing,
    };
    (key, after)
}

#[cfg(test)]
mod tests {
    use super::{Key, Then, press, read};
    use crate::top::screen::Look;
    use crate::top::view::Table;

    #[test]
    fn keys_are_told_apart_in_whatever_comes_at_once() {
        assert_eq!(
            read(b"q\x1b[A\x1b[5~\x1b[1;5C\x7f\x03\xff"),
            [
                Key::Char('q'),
                Key::Up,
                Key::PageUp,
                Key::Nothing,
                Key::Erase,
                Key::Interrupt,
                Key::Nothing
            ]
        );
        assert_eq!(read(b"\x1b"), [Key::Escape]);
        assert_eq!(read(b"\x1b["), [Key::Nothing]);
    }

    #[test]
    fn a_filter_is_typed_and_dropped() {
        let mut look = Look::new(Table::Routes, String::new());
        for key in read(b"/qx\x7f\r") {
            assert_eq!(press(&mut look, key), Then::GoOn);
        }
        assert_eq!((look.filter.as_str(), look.is_typing), ("q", false));
        press(&mut look, Key::Escape);
        assert_eq!(look.filter, "");
        assert_eq!(press(&mut look, Key::Char('q')), Then::End);
    }

    #[test]
    fn tables_and_columns_go_round() {
        let mut look = Look::new(Table::Routes, String::new());
        for _ in Table::ALL {
            press(&mut look, Key::Tab);
        }
        assert_eq!((look.table, look.sort), (Table::Routes, 2));
        press(&mut look, Key::Char('3'));
        assert_eq!(look.table, Table::Targets);
        for _ in 0..look.columns() {
            press(&mut look, Key::Char('s'));
        }
        assert_eq!(look.sort, 2);
    }
}
