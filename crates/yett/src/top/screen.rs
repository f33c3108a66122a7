//! A look as lines of text.

use super::view::{Listener, Load, Table, Target, Traffic, View};
use std::cmp::Ordering;

/// Lines above the rows of a table: three of numbers, one of what is shown, one of titles.
const HEAD_LINES: usize = 5;
/// Columns of a plain page, which no terminal cuts.
const PLAIN_COLUMNS: usize = 120;

/// What is looked at, and how.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    pub(super) table: Table,
    /// The column by which rows are sorted.
    pub(super) sort: usize,
    pub(super) is_reversed: bool,
    pub(super) filter: String,
    pub(super) is_typing: bool,
    pub(super) first: usize,
    /// Whether numbers stand still.
    pub(crate) is_paused: bool,
    /// Why there are no new numbers.
    pub(crate) trouble: Option<String>,
}

impl Look {
    /// The busiest first.
    pub(crate) fn new(table: Table, filter: String) -> Self {
        Self {
            table,
            sort: BUSIEST,
            is_reversed: false,
            filter,
            is_typing: false,
            first: 0,
            is_paused: false,
            trouble: None,
        }
    }

    /// How many columns the table has.
    pub(super) fn columns(&self) -> usize {
        titles(self.table).len()
    }
}

/// The column that says how busy a row is: the first with a number.
pub(super) const BUSIEST: usize = 2;

/// How a line is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    Bold,
    Dim,
    Bad,
    Title,
}

/// A line of the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) style: Style,
    pub(crate) text: String,
}

fn line(style: Style, text: impl Into<String>) -> Line {
    Line { style, text: text.into() }
}

/// A cell of a table: a text, or a number and how it is written.
enum Cell {
    Text(String),
    Number(f64, String),
}

impl Cell {
    fn shown(&self) -> &str {
        match self {
            Self::Text(text) | Self::Number(_, text) => text,
        }
    }
}

struct Row {
    cells: Vec<Cell>,
    is_bad: bool,
}

/// All lines for a terminal of so many columns and lines.
pub(crate) fn lines(view: &View, look: &Look, (width, height): (usize, usize)) -> Vec<Line> {
    let mut lines = head(view);
    lines.push(match &look.trouble {
        Some(why) => line(Style::Bad, why.clone()),
        None => line(Style::Dim, choice(look)),
    });
    let mut rows = rows(view, look.table);
    rows.retain(|row| row.has(&look.filter));
    rows.sort_by(|one, two| order(one, two, look));
    let room = height.saturating_sub(HEAD_LINES + 1);
    let first = look.first.min(rows.len().saturating_sub(room));
    let widths = widths(titles(look.table), &rows, width);
    lines.push(line(Style::Title, laid_out(titles(look.table).iter().copied(), &widths)));
    for row in rows.iter().skip(first).take(room) {
        let style = if row.is_bad { Style::Bad } else { Style::Plain };
        lines.push(line(style, laid_out(row.cells.iter().map(Cell::shown), &widths)));
    }
    lines.resize(height.saturating_sub(1).max(HEAD_LINES), line(Style::Plain, ""));
    lines.push(line(Style::Dim, foot(look, rows.len())));
    lines.truncate(height);
    for line in &mut lines {
        line.text = cut(&line.text, width);
    }
    lines
}

/// Everything, one table after the other, for a file or a pipe.
pub(crate) fn plain(view: &View, filter: &str) -> String {
    let mut text = String::new();
    for head in head(view) {
        text.push_str(&head.text);
        text.push('\n');
    }
    for table in Table::ALL {
        let look = Look::new(table, filter.to_owned());
        let mut rows = rows(view, table);
        rows.retain(|row| row.has(filter));
        rows.sort_by(|one, two| order(one, two, &look));
        let widths = widths(titles(table), &rows, PLAIN_COLUMNS);
        text.push('\n');
        text.push_str(&laid_out(titles(table).iter().copied(), &widths));
        for row in &rows {
            text.push('\n');
            text.push_str(&laid_out(row.cells.iter().map(Cell::shown), &widths));
        }
        text.push('\n');
    }
    text
}

fn head(view: &View) -> Vec<Line> {
    let told = |name: &str| view.status[name].as_str().unwrap_or("?").to_owned();
    let uptime = span(view.status["uptime_s"].as_u64().unwrap_or(0));
    let is_refused = view.status["last_reload"]["adopted"] == false;
    let reload = if is_refused { "  LAST RELOAD REFUSED (see /status)" } else { "" };
    let state = told("state");
    let overload = overload(&view.status["overload"]);
    let first = format!(
        "yett {}  {state}  revision {}  up {uptime}{reload}{overload}",
        told("version"),
        told("revision")
    );
    let total = &view.total;
    let requests = format!(
        "requests {}/s  active {}  4xx {}/s  5xx {}/s  p50 {}  p99 {}",
        rate(total.rate),
        total.active,
        rate(total.refused),
        rate(total.failed),
        milliseconds(total.p50_ms),
        milliseconds(total.p99_ms),
    );
    let process = format!(
        "connections {}  in {}/s  out {}/s  cpu {:.0}%  memory {}  files {}",
        view.connections,
        bytes(view.bytes_in),
        bytes(view.bytes_out),
        view.cpu_percent,
        bytes(view.resident_bytes),
        view.open_files,
    );
    let is_fine = state == "serving" && !is_refused && overload.is_empty();
    let is_failing = total.failed > 0.0;
    vec![
        line(if is_fine { Style::Bold } else { Style::Bad }, printable(&first)),
        line(if is_failing { Style::Bad } else { Style::Plain }, requests),
        line(Style::Plain, process),
    ]
}

/// What the node goes without, if it does.
fn overload(status: &serde_json::Value) -> String {
    let mut text = String::new();
    let workers = status["workers"].as_u64().unwrap_or(0);
    if workers > 0 {
        let delay_ms = status["queue_delay_ms"].as_u64().unwrap_or(0);
        text += &format!("  SHEDDING ({workers} workers, {delay_ms} ms late)");
    }
    let want = status["memory"]["want"].as_str().unwrap_or("none");
    if want != "none" {
        text += &format!("  SHORT OF MEMORY (without {want})");
    }
    text
}

fn choice(look: &Look) -> String {
    let tables = Table::ALL.map(|table| {
        let name = table.name();
        if table == look.table { format!("[{name}]") } else { format!(" {name} ") }
    });
    let sort = titles(look.table).get(look.sort).copied().unwrap_or_default();
    let way = if look.is_reversed { " reversed" } else { "" };
    let paused = if look.is_paused { "  PAUSED" } else { "" };
    format!("{}  by {}{way}{paused}", tables.join(" "), sort.to_lowercase())
}

fn foot(look: &Look, rows: usize) -> String {
    if look.is_typing {
        return format!("filter: {}_   enter: keep it   esc: drop it", printable(&look.filter));
    }
    let filter = match look.filter.as_str() {
        "" => String::new(),
        text => format!("  filter: {}", printable(text)),
    };
    format!(
        "q quit  tab table  s sort  r reverse  / filter  p pause  arrows scroll  {rows} rows{filter}"
    )
}

fn titles(table: Table) -> &'static [&'static str] {
    match table {
        Table::Routes => {
            &["API", "ROUTE", "REQ/S", "4XX/S", "5XX/S", "ACTIVE", "API P50", "API P99"]
        }
        Table::Apis => &["API", "", "REQ/S", "4XX/S", "5XX/S", "ACTIVE", "P50", "P99"],
        Table::Targets => &["UPSTREAM", "TARGET", "REQ/S", "FAIL/S", "ACTIVE", "HEALTH"],
        Table::Upstreams => {
            &["UPSTREAM", "BREAKER", "ACTIVE", "LIMIT", "QUEUED", "WAITED", "SHED/S"]
        }
        Table::Listeners => &["LISTENER", "BIND", "OPEN", "NEW/S", "REFUSED/S", "SPEAKS"],
    }
}

fn rows(view: &View, table: Table) -> Vec<Row> {
    match table {
        Table::Routes => view.routes.iter().map(|(api, route, t)| traffic(api, route, t)).collect(),
        Table::Apis => view.apis.iter().map(|(api, numbers)| traffic(api, "", numbers)).collect(),
        Table::Targets => view.targets.iter().map(target).collect(),
        Table::Upstreams => view.upstreams.iter().map(upstream).collect(),
        Table::Listeners => view.listeners.iter().map(listener).collect(),
    }
}

fn per_s(number: f64) -> Cell {
    Cell::Number(number, rate(number))
}

fn count(number: f64) -> Cell {
    Cell::Number(number, format!("{number}"))
}

fn took(ms: Option<f64>) -> Cell {
    Cell::Number(ms.unwrap_or(-1.0), milliseconds(ms))
}

fn name(text: &str) -> Cell {
    Cell::Text(printable(text))
}

fn traffic(api: &str, route: &str, numbers: &Traffic) -> Row {
    Row {
        cells: vec![
            name(api),
            name(route),
            per_s(numbers.rate),
            per_s(numbers.refused),
            per_s(numbers.failed),
            count(numbers.active),
            took(numbers.p50_ms),
            took(numbers.p99_ms),
        ],
        is_bad: numbers.failed > 0.0,
    }
}

fn target(target: &Target) -> Row {
    let health = match (target.is_healthy, target.reason.as_str()) {
        (true, _) => "up".to_owned(),
        (false, "") => "DOWN".to_owned(),
        (false, reason) => format!("DOWN {reason}"),
    };
    Row {
        cells: vec![
            name(&target.upstream),
            name(&target.address),
            per_s(target.rate),
            per_s(target.failures),
            count(target.active),
            name(&health),
        ],
        is_bad: !target.is_healthy || target.failures > 0.0,
    }
}

fn upstream(load: &Load) -> Row {
    let limit = match load.limit {
        Some(limit) => count(limit),
        None => Cell::Number(-1.0, "-".to_owned()),
    };
    let breaker = if load.breaker.is_empty() { "-" } else { &load.breaker };
    Row {
        cells: vec![
            name(&load.upstream),
            name(breaker),
            count(load.active),
            limit,
            count(load.queued),
            took(load.waited_ms),
            per_s(load.shed),
        ],
        is_bad: load.shed > 0.0 || load.breaker == "open",
    }
}

fn listener(listener: &Listener) -> Row {
    Row {
        cells: vec![
            name(&listener.name),
            name(&listener.bind),
            count(listener.connections),
            per_s(listener.accepted),
            per_s(listener.refused),
            name(&listener.speaks),
        ],
        is_bad: listener.refused > 0.0,
    }
}

impl Row {
    fn has(&self, filter: &str) -> bool {
        let filter = filter.to_lowercase();
        self.cells.iter().any(|cell| match cell {
            Cell::Text(text) => text.to_lowercase().contains(&filter),
            Cell::Number(..) => filter.is_empty(),
        })
    }
}

/// Large numbers come first, texts in the order of the alphabet; rows that are equal by name.
fn order(one: &Row, two: &Row, look: &Look) -> Ordering {
    let by = |column: usize| match (one.cells.get(column), two.cells.get(column)) {
        (Some(Cell::Number(one, _)), Some(Cell::Number(two, _))) => two.total_cmp(one),
        (Some(one), Some(two)) => one.shown().cmp(two.shown()),
        _ => Ordering::Equal,
    };
    let chosen = if look.is_reversed { by(look.sort).reverse() } else { by(look.sort) };
    chosen.then_with(|| by(0)).then_with(|| by(1))
}

/// Room for each column: numbers and the last get what they need, the two names share what is left.
fn widths(titles: &[&str], rows: &[Row], width: usize) -> Vec<usize> {
    let mut widths: Vec<usize> = titles.iter().map(|title| title.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(&row.cells) {
            *width = (*width).max(cell.shown().chars().count());
        }
    }
    let gaps = 2 * widths.len().saturating_sub(1);
    let others: usize = widths.iter().skip(2).sum();
    let room = width.saturating_sub(gaps + others).max(16);
    if let [first, second, ..] = widths.as_mut_slice()
        && *first + *second > room
    {
        *first = (*first).min((room / 3).max(room.saturating_sub(*second)));
        *second = room.saturating_sub(*first);
    }
    widths
}

/// Cells beside each other; numbers, which come after the two names, at their right ends. The last is as
/// long as it is.
fn laid_out<'a>(cells: impl Iterator<Item = &'a str>, widths: &[usize]) -> String {
    let mut text = String::new();
    let last = widths.len().saturating_sub(1);
    for (at, (cell, width)) in cells.zip(widths).enumerate() {
        let cell = cut(cell, *width);
        if at > 0 {
            text.push_str("  ");
        }
        let is_name = at < 2 || (at == last && cell.starts_with(|c: char| c.is_alphabetic()));
        let space = " ".repeat(width.saturating_sub(cell.chars().count()));
        match is_name {
            true => text.extend([cell.as_str(), space.as_str()]),
            false => text.extend([space.as_str(), cell.as_str()]),
        }
    }
    text.truncate(text.trim_end().len());
    text
}

/// At most so many characters, with a sign that there were more.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(width.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// Nothing that commands a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

fn rate(number: f64) -> String {
    match number {
        n if n >= 100_000.0 => format!("{:.0}k", n / 1e3),
        n if n >= 100.0 => format!("{n:.0}"),
        n => format!("{n:.1}"),
    }
}

fn milliseconds(ms: Option<f64>) -> String {
    match ms {
        None => "-".to_owned(),
        Some(ms) if ms >= 10_000.0 => format!("{:.0}s", ms / 1e3),
        Some(ms) if ms >= 100.0 => format!("{ms:.0}ms"),
        Some(ms) => format!("{ms:.1}ms"),
    }
}

fn bytes(number: f64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut number = number;
    let mut unit = 0;
    while number >= 1_024.0 && unit + 1 < units.len() {
        number /= 1_024.0;
        unit += 1;
    }
    let unit = units.get(unit).copied().unwrap_or_default();
    if number >= 100.0 || unit == "B" {
        format!("{number:.0}{unit}")
    } else {
        format!("{number:.1}{unit}")
    }
}

fn span(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, ..) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Look, Style, bytes, lines, plain, rate, span};
    use crate::top::view::Table;
    use crate::top::view::tests::busy;

    fn shown(look: &Look, size: (usize, usize)) -> Vec<String> {
        lines(&busy(), look, size).into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn a_look_fills_the_screen_and_nothing_more() {
        for size in [(80, 24), (40, 10), (200, 60), (1, 1), (0, 0)] {
            for table in Table::ALL {
                let lines = shown(&Look::new(table, String::new()), size);
                assert_eq!(lines.len(), size.1, "{lines:?}");
                assert!(
                    lines.iter().all(|line| line.chars().count() <= size.0.max(1)),
                    "{lines:?}"
                );
            }
        }
    }

    #[test]
    fn routes_are_shown_with_their_numbers() {
        let lines = shown(&Look::new(Table::Routes, String::new()), (80, 24));
        assert_eq!(lines[0], "yett 1  serving  revision 0123456789ab  up 1d 2h");
        assert_eq!(
            lines[1],
            "requests 50.0/s  active 3  4xx 0.0/s  5xx 5.0/s  p50 1.0ms  p99 9.8ms"
        );
        assert!(lines[5].starts_with("shop  GET /{id}"), "{}", lines[5]);
        assert!(lines[5].ends_with("50.0    0.0    5.0       3    1.0ms    9.8ms"), "{}", lines[5]);
        let bad = &super::lines(&busy(), &Look::new(Table::Routes, String::new()), (80, 24))[5];
        assert_eq!(bad.style, Style::Bad, "requests fail");
    }

    #[test]
    fn a_filter_keeps_what_has_the_text() {
        let has = |filter: &str| {
            let look = Look::new(Table::Targets, filter.to_owned());
            shown(&look, (100, 24))[5].contains("10.0.0.1:80")
        };
        assert!(has("") && has("SHOP") && has("refused") && !has("none"));
    }

    #[test]
    fn a_plain_page_has_all_tables() {
        let page = plain(&busy(), "");
        for part in ["REQ/S", "DOWN connection refused", "LISTENER", "GET /{id}"] {
            assert!(page.contains(part), "{page}");
        }
        assert!(!page.contains('\u{1b}'));
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            [rate(0.04), rate(99.94), rate(1234.4), rate(2e5)],
            ["0.0", "99.9", "1234", "200k"]
        );
        assert_eq!([bytes(12.0), bytes(2048.0), bytes(3e8)], ["12B", "2.0KiB", "286MiB"]);
        assert_eq!(
            [span(59), span(61), span(7_300), span(90_000)],
            ["59s", "1m 1s", "2h 1m", "1d 1h"]
        );
    }
}
