use crate::it::kit::{Case, FOREIGN_KEY, gateway, saw, told};

const MISSING: &str = "401 credentials_missing\nwww-authenticate: Bearer realm=\"yett\"";
const INVALID: &str =
    "401 credentials_invalid: the API key is not valid\nwww-authenticate: Bearer realm=\"yett\"";
const SEEN: &str = "GET /a\nx-yett-consumer: alice";

const fn case(policies: &'static str, request: &'static str, told: &'static str) -> Case {
    Case { path: "/*", policies, request, told, saw: "" }
}

const fn passes(policies: &'static str, request: &'static str, saw: &'static str) -> Case {
    Case { path: "/*", policies, request, told: "200", saw }
}

pub(crate) const CASES: &[Case] = &[
    case("[api_key]", "GET /a HTTP/1.1\n", MISSING),
    case("[api_key]", "GET /a HTTP/1.1\nx-api-key:\n", MISSING),
    case("[api_key]", "GET /a HTTP/1.1\nauthorization: Bearer jwt\n", MISSING),
    case("[api_key]", "GET /a?x-api-key=KEY HTTP/1.1\n", MISSING),
    case("[api_key]", "GET /a HTTP/1.1\nx-api-key: nonsense\n", INVALID),
    case("[api_key]", "GET /a HTTP/1.1\nx-api-key: yett_nonsense\n", INVALID),
    case("[api_key]", "GET /a HTTP/1.1\nx-api-key: KEYx\n", INVALID),
    case("[api_key]", "GET /a HTTP/1.1\nx-api-key: KEY\nx-api-key: other\n", INVALID),
    passes("[api_key]", "GET /a HTTP/1.1\nx-api-key: KEY\n", SEEN),
    passes("[api_key]", "GET /a HTTP/1.1\nX-Api-Key: KEY\nx-api-key: KEY\n", SEEN),
    passes("[api_key]", "GET /a HTTP/1.1\nauthorization: bearer KEY\n", SEEN),
    // A lie about who calls is replaced by the truth.
    passes("[api_key]", "GET /a HTTP/1.1\nx-api-key: KEY\nx-yett-consumer: root\n", SEEN),
    passes(
        "[api_key: { header: x-token, query: key, cookie: k }]",
        "GET /a?b=1&key=KEY&c=2 HTTP/1.1\n",
        "GET /a?b=1&c=2\nx-yett-consumer: alice",
    ),
    passes(
        "[api_key: { header: x-token, query: key, cookie: k }]",
        "GET /a?key=KEY HTTP/1.1\n",
        SEEN,
    ),
    passes(
        "[api_key: { header: x-token, query: key, cookie: k }]",
        "GET /a HTTP/1.1\ncookie: a=1; k=KEY; b=2\n",
        "GET /a\ncookie: a=1; b=2\nx-yett-consumer: alice",
    ),
    case("[api_key: { header: x-token }]", "GET /a HTTP/1.1\nx-api-key: KEY\n", MISSING),
];

#[tokio::test(start_paused = true)]
async fn keys_made_elsewhere_work_and_may_be_kept() {
    let (gateway, _) = gateway("/*", "[{ api_key: { keep: true } }]");
    let answer = gateway.ask(&format!("GET / HTTP/1.1\nx-api-key: {FOREIGN_KEY}")).await;
    assert_eq!(told(&answer), "200");
    let expected = format!("GET /\nx-api-key: {FOREIGN_KEY}\nx-yett-consumer: alice");
    assert_eq!(saw(&gateway.seen()[0]), expected);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_taken_away_is_refused_at_once() {
    let (gateway, key) = gateway("/*", "[api_key]");
    let mut io = gateway.connect();
    let request = format!("GET / HTTP/1.1\nx-api-key: {}", key.reveal());
    assert_eq!(told(&gateway.ask_on(&mut io, &request).await), "200");
    gateway.directory.replace(Vec::new());
    assert_eq!(told(&gateway.ask_on(&mut io, &request).await), INVALID);
}
