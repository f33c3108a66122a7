//! The text that a scrape gets (OpenMetrics 1.0), as numbers.

/// One series with its value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Series {
    pub(super) name: String,
    labels: Vec<(String, String)>,
    pub(super) value: f64,
}

impl Series {
    /// The value of a label, empty if there is none.
    pub(super) fn label(&self, name: &str) -> &str {
        self.labels.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }
}

/// All series of a page; lines that cannot be read are left out.
pub(super) fn parse(page: &str) -> Vec<Series> {
    page.lines().filter(|line| !line.starts_with('#')).filter_map(series).collect()
}

fn series(line: &str) -> Option<Series> {
    let (name, rest) = match line.find(['{', ' ']) {
        Some(end) => line.split_at_checked(end)?,
        None => return None,
    };
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Vec::new(), rest),
    };
    let value = rest.split_ascii_whitespace().next()?.parse().ok()?;
    Some(Series { name: name.to_owned(), labels, value })
}

/// The labels up to the closing brace, and what comes after it.
fn labels(text: &str) -> Option<(Vec<(String, String)>, &str)> {
    let mut labels = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(',');
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, after) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut chars = after.chars();
        loop {
            match chars.next()? {
                '"' => break,
                '\\' => value.push(match chars.next()? {
                    'n' => '\n',
                    other => other,
                }),
                other => value.push(other),
            }
        }
        labels.push((name.to_owned(), value));
        rest = chars.as_str();
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn series_are_read_with_labels_that_hold_anything() {
        let page = concat!(
            "# HELP a b\n",
            "plain 1.5\n",
            "one{api=\"x\",route=\"GET /{id}, \\\"a\\\" \\\\ b\"} 7\n",
            "bucket{le=\"+Inf\"} 3 # {x=\"y\"} 1\n",
            "broken{a=\"\n",
            "nothing\n",
            "# EOF\n",
        );
        let all = parse(page);
        assert_eq!(all.len(), 3, "{all:?}");
        assert_eq!((all[0].name.as_str(), all[0].value), ("plain", 1.5));
        assert_eq!(all[1].label("route"), "GET /{id}, \"a\" \\ b");
        assert_eq!((all[1].label("api"), all[1].label("none")), ("x", ""));
        assert_eq!((all[2].label("le"), all[2].value), ("+Inf", 3.0));
    }
}
