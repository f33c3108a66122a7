use crate::Problem;
use base::caps::TITLE_LETTERS_MAX;

/// Letters of a name.
const LENGTH_MAX: usize = 63;

/// Refuses a name that could not stand in a path, a file or a label: small letters, digits, `-` and `_`, beginning with a
/// letter or digit.
pub(crate) fn check<'a>(pointer: &str, name: &'a str) -> Result<&'a str, Problem> {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    let begins = name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    if begins && name.len() <= LENGTH_MAX && name.chars().all(is_plain) {
        return Ok(name);
    }
    let wanted = format!(
        "a name has up to {LENGTH_MAX} small letters, digits, `-` and `_`, and begins with a letter or digit"
    );
    Err(Problem::invalid(pointer, wanted))
}

/// Refuses what people could not read in one line.
pub(crate) fn title(pointer: &str, title: &str) -> Result<(), Problem> {
    if title.chars().count() > TITLE_LETTERS_MAX || title.chars().any(char::is_control) {
        let wanted = format!("it has up to {TITLE_LETTERS_MAX} letters in one line");
        return Err(Problem::invalid(pointer, wanted));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn names_can_stand_anywhere() {
        for good in ["a", "orders-2", "0_x"] {
            assert_eq!(check("/name", good), Ok(good));
        }
        for bad in ["", "-a", "A", "a b", "../a", "a/b", "é", "a\n", &"a".repeat(64)] {
            assert_eq!(check("/name", bad).unwrap_err().findings[0].pointer, "/name", "{bad}");
        }
    }
}
