use aws_lc_rs::digest::{SHA256, digest};
use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use serde_json::Value;

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1c2430;--soft:#5b6675;--line:#d9dfe7;--back:#fff;--card:#f6f8fa;--accent:#0b6bcb}\
@media(prefers-color-scheme:dark){:root{--ink:#e6eaf0;--soft:#9aa6b5;--line:#2c3644;--back:#11161d;--card:#1a212b;--accent:#6cb2ff}}\
*{box-sizing:border-box}body{margin:0;font:16px/1.55 system-ui,sans-serif;color:var(--ink);background:var(--back)}\
a{color:var(--accent);text-decoration:none}a:hover,a:focus{text-decoration:underline}\
code,pre{font:13.5px/1.5 ui-monospace,SFMono-Regular,Menlo,monospace}code{overflow-wrap:anywhere}\
nav{position:fixed;inset:0 auto 0 0;width:290px;overflow:auto;padding:24px 20px;border-right:1px solid var(--line);background:var(--card)}\
nav h2{font-size:13px;margin:18px 0 4px;color:var(--soft);text-transform:uppercase;letter-spacing:.06em}\
nav ul{list-style:none;margin:0;padding:0}nav li{font-size:14px;line-height:1.7}\
main{margin-left:290px;padding:32px 40px 80px;max-width:1060px}main.alone{margin:0 auto;max-width:560px;padding-top:12vh}\
h1{font-size:30px;margin:0 0 12px}h2{margin:44px 0 8px}article{border:1px solid var(--line);border-radius:10px;padding:18px 22px;margin:18px 0;scroll-margin-top:16px}\
article h3{margin:0 0 6px;font-size:16px;font-weight:600}.m{display:inline-block;min-width:62px;text-align:center;border-radius:6px;padding:1px 8px;margin-right:10px;font:600 12.5px/1.7 ui-monospace,monospace;color:#fff}\
.GET{background:#1f7a3d}.POST{background:#0b5cad}.PUT{background:#8a5a00}.DELETE{background:#b3261e}\
.soft{color:var(--soft);font-size:14px}table{border-collapse:collapse;width:100%;margin:8px 0;font-size:14px}\
th{text-align:left;color:var(--soft);font-weight:600}th,td{padding:5px 10px 5px 0;border-top:1px solid var(--line);vertical-align:top}\
td:first-child{width:24%}td:nth-child(2){width:22%;color:var(--soft)}h4{margin:14px 0 2px;font-size:14px}\
button{font:inherit;font-weight:600;color:#fff;background:#0b5cad;border:0;border-radius:8px;padding:10px 20px;cursor:pointer}\
input{font:inherit;width:100%;padding:9px 12px;border:1px solid var(--line);border-radius:8px;background:var(--back);color:var(--ink);margin:6px 0 14px}\
@media(max-width:900px){nav{position:static;width:auto;border-right:0}main{margin:0;padding:20px}}";

/// A page without scripts, which loads nothing.
pub(crate) struct Page {
    html: Bytes,
    policy: HeaderValue,
}

impl Page {
    /// A page of a title and what stands in its body, which is HTML.
    pub(crate) fn new(title: &str, body: &str) -> Self {
        let hash = STANDARD.encode(digest(&SHA256, STYLE.as_bytes()));
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{hash}'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
        );
        let title = escaped(title);
        let html = format!(
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
             <title>{title}</title><style>{STYLE}</style></head><body>{body}</body></html>\n"
        );
        let closed = HeaderValue::from_static("default-src 'none'");
        Self { html: html.into(), policy: HeaderValue::try_from(policy).unwrap_or(closed) }
    }

    /// A short page with a title.
    pub(crate) fn note(title: &str, body: &str) -> Self {
        let heading = escaped(title);
        Self::new(title, &format!("<main class=\"alone\"><h1>{heading}</h1>{body}</main>"))
    }

    pub(crate) fn answer(&self, status: StatusCode) -> Response<Body> {
        let mut answer = Response::new(Body::from(self.html.clone()));
        *answer.status_mut() = status;
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        headers.insert(CONTENT_SECURITY_POLICY, self.policy.clone());
        answer
    }
}

/// A text as it stands in HTML, also within quotes.
pub(crate) fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            c => html.push(c),
        }
    }
    html
}

/// A text with `code` and **bold** in it.
fn prose(text: &str) -> String {
    let mut html = String::new();
    for (at, part) in text.split('`').enumerate() {
        if at % 2 == 1 {
            html += &format!("<code>{}</code>", escaped(part));
            continue;
        }
        for (at, part) in part.split("**").enumerate() {
            let part = escaped(part);
            html += &if at % 2 == 1 { format!("<strong>{part}</strong>") } else { part };
        }
    }
    html
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value.get(field).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// All operations, for people: the OpenAPI document as a page.
pub(crate) fn reference(document: &Value) -> Page {
    let (mut nav, mut main) = (String::new(), String::new());
    let about = text(&document["info"], "description");
    for paragraph in about.split("\n\n") {
        main += &format!("<p>{}</p>", prose(paragraph));
    }
    main += "<p>For programs: <a href=\"/v1/openapi.json\">the OpenAPI document</a>.</p>";
    for tag in list(document, "tags") {
        let tag = text(tag, "name");
        let title = escaped(tag);
        nav += &format!("<h2>{title}</h2><ul>");
        main += &format!("<h2 id=\"{title}\">{title}</h2>");
        let paths = document["paths"].as_object();
        for (path, methods) in paths.into_iter().flatten() {
            for (method, operation) in methods.as_object().into_iter().flatten() {
                if list(operation, "tags").iter().any(|it| it.as_str() == Some(tag)) {
                    let id = escaped(text(operation, "operationId"));
                    nav += &format!("<li><a href=\"#{id}\"><code>{id}</code></a></li>");
                    main += &article(document, path, &method.to_ascii_uppercase(), operation);
                }
            }
        }
        nav += "</ul>";
    }
    let title = text(&document["info"], "title");
    let heading = escaped(title);
    let body =
        format!("<nav><strong>{heading}</strong>{nav}</nav><main><h1>{heading}</h1>{main}</main>");
    Page::new(title, &body)
}

fn article(document: &Value, path: &str, method: &str, operation: &Value) -> String {
    let id = escaped(text(operation, "operationId"));
    let (path, summary) = (escaped(path), prose(text(operation, "summary")));
    let mut html = format!(
        "<article id=\"{id}\"><h3><span class=\"m {method}\">{method}</span><code>{path}</code></h3>\
         <p>{summary}. <span class=\"soft\">{}</span></p>",
        prose(text(operation, "description"))
    );
    let rows = list(operation, "parameters").iter().map(|parameter| {
        let place =
            format!("{}{}", text(parameter, "in"), required(parameter["required"].as_bool()));
        row(text(parameter, "name"), &place, text(parameter, "description"))
    });
    html += &table("Parameters", &rows.collect::<Vec<_>>());
    let media = |value: &Value| value["content"]["application/json"]["schema"].clone();
    html += &table("Body", &fields(document, &media(&operation["requestBody"])));
    let mut answers = Vec::new();
    for (status, response) in operation["responses"].as_object().into_iter().flatten() {
        if let Some(name) = response["$ref"].as_str().and_then(|it| it.rsplit('/').next()) {
            answers.push(format!(
                "<code title=\"{}\">{}</code>",
                escaped(text(&document["components"]["responses"][name], "description")),
                escaped(status)
            ));
        } else {
            html += &table(&format!("Answer {status}"), &fields(document, &media(response)));
        }
    }
    html + &format!("<p class=\"soft\">Problems: {}</p></article>", answers.join(", "))
}

fn required(is_required: Option<bool>) -> &'static str {
    if is_required == Some(true) { ", required" } else { "" }
}

fn row(name: &str, place: &str, about: &str) -> String {
    let (name, place, about) = (escaped(name), escaped(place), prose(about));
    format!("<tr><td><code>{name}</code></td><td>{place}</td><td>{about}</td></tr>")
}

fn table(title: &str, rows: &[String]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    format!("<h4>{}</h4><table>{}</table>", escaped(title), rows.concat())
}

/// The fields of a schema, one row for each.
fn fields(document: &Value, schema: &Value) -> Vec<String> {
    let name = schema["$ref"].as_str().and_then(|it| it.rsplit('/').next());
    let schema = name.map_or(schema, |name| &document["components"]["schemas"][name]);
    let must = list(schema, "required");
    let row = |(name, field): (&String, &Value)| {
        let is_required = must.iter().any(|it| it.as_str() == Some(name));
        let place = format!("{}{}", kind(field), required(Some(is_required)));
        row(name, &place, text(field, "description"))
    };
    schema["properties"].as_object().into_iter().flatten().map(row).collect()
}

/// What kind of value a field holds.
fn kind(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|it| it.rsplit('/').next()) {
        return name
            .strip_prefix("Config")
            .map_or_else(|| name.to_owned(), |it| format!("config of {it}"));
    }
    match &schema["type"] {
        Value::String(kind) if kind == "array" => format!("list of {}", kind_of_items(schema)),
        Value::String(kind) => kind.clone(),
        Value::Array(kinds) => {
            kinds.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or ")
        }
        _ => match list(schema, "anyOf").first() {
            Some(first) => kind(first),
            None => "any".to_owned(),
        },
    }
}

fn kind_of_items(schema: &Value) -> String {
    kind(&schema["items"])
}
