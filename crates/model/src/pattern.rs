//! Regular expressions that users write.

use base::caps::REGEX_BYTES_MAX;

/// A regular expression (syntax of crate `regex`) that must match a text from its beginning to its
/// end. Its compiled form takes at most [`REGEX_BYTES_MAX`] bytes.
///
/// # Errors
/// A sentence that says what is wrong with the pattern.
pub fn whole(pattern: &str) -> Result<regex::Regex, String> {
    // Alone first: parentheses around it would give `a)(b` a meaning.
    compile(pattern)?;
    compile(&format!("^(?:{pattern})$"))
}

fn compile(pattern: &str) -> Result<regex::Regex, String> {
    let built = regex::RegexBuilder::new(pattern).size_limit(REGEX_BYTES_MAX).build();
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => {
            "the regular expression is too large; use smaller repetitions".to_owned()
        }
        other => {
            // The library draws the pattern over several lines and says what is wrong in the last.
            let text = other.to_string();
            let last = text.lines().last().unwrap_or_default().trim();
            let reason = last.strip_prefix("error: ").unwrap_or(last);
            format!("`{pattern}` is not a regular expression: {reason}")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::whole;

    #[test]
    fn the_whole_text_must_match() {
        assert!(whole("a|b").unwrap().is_match("b"));
        assert!(!whole("a|b").unwrap().is_match("ab"));
        assert!(!whole("a").unwrap().is_match("a\n"));
    }

    #[test]
    fn what_is_wrong_is_said_in_one_line() {
        assert_eq!(whole("(a").unwrap_err(), "`(a` is not a regular expression: unclosed group");
        assert!(whole("a)(b").is_err());
        assert!(whole("(x{1000}){1000}").unwrap_err().contains("too large"));
    }
}
