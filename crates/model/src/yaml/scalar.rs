//! What an unquoted scalar means: the core schema of YAML 1.2 (section 10.3.2).

use base::Value;

/// The value of an unquoted scalar. Everything that is not nothing, `true`, `false` or a number is a
/// text, so `yes`, `no`, `on` and `off` are. Numbers that would not survive as numbers stay texts: those
/// with leading zeros (`007`, which older YAML reads as octal) and those beyond 64 bits.
pub(crate) fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => {
            return Value::Float(f64::INFINITY);
        }
        "-.inf" | "-.Inf" | "-.INF" => return Value::Float(f64::NEG_INFINITY),
        ".nan" | ".NaN" | ".NAN" => return Value::Float(f64::NAN),
        _ => {}
    }
    // Most texts are words: these need no further look.
    if !text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) {
        return Value::Text(text.to_owned());
    }
    number(text).unwrap_or_else(|| Value::Text(text.to_owned()))
}

fn number(text: &str) -> Option<Value> {
    for (prefix, radix) in [("0x", 16), ("0o", 8)] {
        if let Some(digits) = text.strip_prefix(prefix) {
            let is_number = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
            return i64::from_str_radix(digits, radix).ok().filter(|_| is_number).map(Value::Int);
        }
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !unsigned.is_empty() && unsigned.bytes().all(|b| b.is_ascii_digit()) {
        let is_padded = unsigned.len() > 1 && unsigned.starts_with('0');
        return text.parse().ok().filter(|_| !is_padded).map(Value::Int);
    }
    is_float(unsigned).then(|| text.parse().ok().map(Value::Float)).flatten()
}

/// `( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?`
fn is_float(unsigned: &str) -> bool {
    let all_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent_is_fine = exponent.is_none_or(|exponent| {
        let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        !digits.is_empty() && all_digits(digits)
    });
    all_digits(whole)
        && all_digits(fraction)
        && (!whole.is_empty() || !fraction.is_empty())
        && exponent_is_fine
}

#[cfg(test)]
mod tests {
    use super::resolve;
    use base::Value;

    #[test]
    fn scalars_follow_the_core_schema() {
        let shown = |text: &str| match resolve(text) {
            Value::Null => "null".to_owned(),
            Value::Bool(flag) => format!("bool {flag}"),
            Value::Int(number) => format!("int {number}"),
            Value::Float(number) => format!("float {number}"),
            _ => "text".to_owned(),
        };
        for (text, expected) in [
            ("", "null"),
            ("~", "null"),
            ("null", "null"),
            ("nULL", "text"),
            ("true", "bool true"),
            ("FALSE", "bool false"),
            ("yes", "text"),
            ("off", "text"),
            ("0", "int 0"),
            ("-12", "int -12"),
            ("+12", "int 12"),
            ("0x1F", "int 31"),
            ("0o17", "int 15"),
            ("0x", "text"),
            ("0x-1", "text"),
            ("0o8", "text"),
            ("007", "text"),
            ("9223372036854775807", "int 9223372036854775807"),
            ("9223372036854775808", "text"),
            ("1.5", "float 1.5"),
            ("1.", "float 1"),
            (".5", "float 0.5"),
            ("-1e3", "float -1000"),
            ("1e", "text"),
            (".", "text"),
            ("-", "text"),
            ("-.inf", "float -inf"),
            (".nan", "float NaN"),
            ("inf", "text"),
            ("nan", "text"),
            ("1_000", "text"),
            ("10.0.0.1", "text"),
            ("10.0.0.1:80", "text"),
            ("2024-01-01", "text"),
        ] {
            assert_eq!(shown(text), expected, "{text:?}");
        }
    }
}
