use super::Expression;
use crate::fixture;
use proptest::prelude::{prop, prop_assert, proptest};
use std::sync::Arc;
use traffic::Exchange;
use traffic::directory::Consumer;

fn params() -> [Box<str>; 1] {
    ["id".into()]
}

fn exchange() -> Exchange {
    let mut exchange = fixture::routed(
        "/orders/{id}",
        "GET /orders/a%20b?page=2&q=x+y&page=3\nX-Team: blue\nx-team: red",
    );
    let groups = Box::new(["admin".into(), "dev".into()]);
    exchange.consumer = Some(Arc::new(Consumer {
        name: "alice".into(),
        groups,
        is_known: true,
        ..Consumer::default()
    }));
    exchange
}

#[test]
fn everything_that_can_be_asked_has_its_value() {
    let exchange = exchange();
    for (text, expected) in [
        ("request.method == 'GET' && request.scheme == 'https'", true),
        ("request.host == 'api.example.com'", true),
        ("request.path == '/orders/a%20b'", true),
        ("request.path.startsWith('/orders/') && !request.path.endsWith('/')", true),
        ("request.path.matches('^/orders/[^/]+$')", true),
        ("matches(request.path, 'x')", false),
        ("request.params.id == 'a b' && request.params['id'].contains(' ')", true),
        ("request.query.page == '2' && int(request.query['page']) > 1", true),
        ("request.query.q == 'x y'", true),
        ("'page' in request.query && !('none' in request.query)", true),
        ("has(request.query.page) && !has(request.headers.cookie)", true),
        ("request.headers['x-team'] == 'blue'", true),
        ("request.headers['X-Team'] == 'blue' && 'X-TEAM' in request.headers", true),
        ("size(request.headers) == 1", true),
        ("consumer.name == 'alice'", true),
        ("'admin' in consumer.groups", true),
        ("consumer.groups.exists(g, g.startsWith('ad'))", true),
        ("consumer.groups.all(g, g.matches('^[a-z]+$'))", true),
        ("consumer.groups.filter(g, g != 'dev') == ['admin']", true),
        ("size(consumer.groups) == 2 && consumer.groups[0] == 'admin'", true),
        ("client.address == '192.0.2.7'", true),
        ("tls.version == 'TLSv1.3' && tls.server_name == 'api.example.com'", true),
        ("has(claims.sub)", false),
        ("'sub' in claims", false),
        ("request.method in ['GET', 'HEAD'] ? true : false", true),
        ("has(claims.roles) && 'x' in claims.roles", false),
    ] {
        let compiled = Expression::compile(text, &params()).unwrap();
        assert_eq!(compiled.eval_bool(&exchange), Ok(expected), "{text}");
    }
}

#[test]
fn claims_are_read_as_what_they_are() {
    let mut exchange = exchange();
    let claims = serde_json::json!({
        "sub": "u1", "admin": true, "level": 7, "share": 0.5, "none": null, "big": u64::MAX,
        "roles": ["reader", "writer"], "org": { "id": 42, "teams": [{ "name": "blue" }] },
    });
    exchange.claims = claims.as_object().map(|claims| Arc::new(claims.into()));
    for (text, expected) in [
        ("claims.sub == 'u1' && claims['sub'].startsWith('u')", true),
        ("claims.admin && claims.level > 6 && claims.share < 1.0", true),
        ("claims.none == null && has(claims.none)", true),
        ("'writer' in claims.roles && size(claims.roles) == 2", true),
        ("claims.roles.exists(role, role == 'reader')", true),
        ("claims.org.id == 42 && claims.org.teams[0].name == 'blue'", true),
        ("has(claims.org.name) || has(claims.other)", false),
        ("'sub' in claims && !('x' in claims) && size(claims) == 8", true),
        ("claims.level == '7'", false),
    ] {
        let compiled = Expression::compile(text, &params()).unwrap();
        assert_eq!(compiled.eval_bool(&exchange), Ok(expected), "{text}");
    }
    let key = Expression::compile_key("claims.big", &params()).unwrap();
    assert_eq!(key.eval_key(&exchange).unwrap(), u64::MAX.to_string());
}

#[test]
fn nobody_and_nothing_are_empty_rather_than_errors() {
    let mut exchange = fixture::exchange("GET /");
    let mut connection = (*exchange.connection).clone();
    connection.tls = None;
    exchange.connection = Arc::new(connection);
    let text = "consumer.name == '' && consumer.groups == [] && tls.version == '' && \
                tls.server_name == '' && size(request.query) == 0";
    assert_eq!(Expression::compile(text, &[]).unwrap().eval_bool(&exchange), Ok(true));
}

#[test]
fn what_is_absent_has_no_answer() {
    let exchange = exchange();
    for text in [
        "request.headers['x-none'] == '1'",
        "request.query.none == '1'",
        "claims.sub == 'x'",
        "int(request.method) == 1",
        "consumer.groups[9] == 'x'",
        "1 / 0 == 1",
        "claims.flag",
    ] {
        let compiled = Expression::compile(text, &params()).unwrap();
        assert!(compiled.eval_bool(&exchange).is_err(), "{text}");
    }
    let flood = format!("GET /?{}", "a&".repeat(300));
    let compiled = Expression::compile("'b' in request.query", &[]).unwrap();
    assert!(compiled.eval_bool(&fixture::exchange(&flood)).is_err());
}

#[test]
fn what_is_wrong_is_told_before_any_request() {
    let deep = format!("{}1{} == []", "[".repeat(70), "]".repeat(70));
    let nested = "[[true]].exists(a, a.exists(b, b))";
    let long = format!("'{}' == ''", "x".repeat(5_000));
    for (text, part) in [
        ("requst.path == '/'", "unknown name `requst`; did you mean `request`?"),
        ("response.status == 1", "unknown name `response`; there is `request`"),
        ("request.pth == '/'", "unknown field of `request` `pth`; did you mean `path`?"),
        ("request == 'x'", "`request` alone is no value"),
        ("request.params.order == '1'", "unknown parameter of the route's path `order`"),
        ("request.params['order'] == '1'", "unknown parameter of the route's path `order`"),
        ("request.path.startWith('/')", "did you mean `startsWith`?"),
        ("duration('1s') == 1", "unknown function `duration`"),
        ("math.abs(1) == 1", "unknown function `abs`"),
        ("request.path.size", "has no fields"),
        ("request.path", "gives a text, not true or false"),
        ("request.query", "gives a map, not true or false"),
        ("size(request.path)", "gives a whole number"),
        ("consumer.groups.map(g, g)", "gives a list"),
        ("request.path == 1", "`==` cannot be used with a text and a whole number"),
        ("request.headers == request.query", "`==` cannot be used with a map and a map"),
        ("request.path && true", "`&&` cannot be used"),
        ("'a' in request.path", "`in` cannot be used with a text and a text"),
        ("1 in request.headers", "`in` cannot be used"),
        ("request.headers[1] == ''", "cannot be used with a map and a whole number"),
        ("request.headers.exists(h, h == 'a')", "can be asked for a key, not gone through"),
        ("request.path.matches('(')", "not a regular expression"),
        ("request.path.matches(request.host)", "must be a literal text"),
        ("has(request.path)", "always there"),
        ("[1].exists(request, request == 1)", "is taken"),
        ("Thing{a: 1} == 1", "messages cannot be made"),
        (nested, "cannot be nested"),
        (&deep, "nests deeper than 32"),
        (&long, "bytes; 4096 fit"),
        ("1 +", "column"),
        ("", "cannot be read"),
        ("a ? b", "cannot be read"),
        ("claims.?a == 1", "cannot be read"),
    ] {
        let message = Expression::compile(text, &params()).unwrap_err();
        assert!(message.contains(part), "{text}: {message}");
    }
}

#[test]
fn no_nesting_takes_the_stack_of_the_process() {
    for open in ["[", "(", "{1:", "size(", "!(", "true?(", "A{a:"] {
        let text = open.repeat(4_000 / open.len());
        assert!(Expression::compile(&text, &[]).is_err(), "{open}");
    }
    for (text, expected) in [
        (format!("true{}", "==true".repeat(30)), true),
        (format!("{}1{} == []", "[".repeat(30), "]".repeat(30)), false),
        (format!("{}true{}", "(".repeat(90), ")".repeat(90)), true),
    ] {
        // A thread as small as any that would serve requests.
        let thread = std::thread::Builder::new().stack_size(512 << 10);
        let answer = thread.spawn(move || {
            Expression::compile(&text, &[]).and_then(|deep| deep.eval_bool(&exchange()))
        });
        assert_eq!(answer.unwrap().join().unwrap(), Ok(expected));
    }
}

#[test]
fn problems_name_their_column() {
    let message = Expression::compile("true && requst.path == '/'", &[]).unwrap_err();
    assert!(message.ends_with("at column 9"), "{message}");
}

proptest! {
    #[test]
    fn no_text_makes_the_compiler_panic(text in "[ -~]{0,60}") {
        // Whether it compiles does not matter here.
        drop(Expression::compile(&text, &[]));
    }

    #[test]
    fn what_compiles_is_evaluated_without_a_panic(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "request.path", "request.query", "request.headers['a']", "consumer.groups", "claims.a",
            "1", "-9223372036854775808", "'x'", "true", "[1]", "{}", "==", "+", "-", "/", "%", "in",
            "&&", "||", "!", "(", ")", "?", ":", "size(", "int(", ".contains('x')", "[0]", "<", "1.5",
            ".exists(v, v == ", ".matches('x')",
        ]), 1..9),
    ) {
        let text = pieces.join(" ");
        if let Ok(compiled) = Expression::compile(&text, &[]) {
            let answer = compiled.eval_bool(&exchange());
            prop_assert!(answer.is_ok() || answer.is_err());
        }
    }
}
