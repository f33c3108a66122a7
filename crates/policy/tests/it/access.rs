use crate::it::kit::Case;
use testkit::gateway::BACKEND;
use testkit::{Backend, TestGateway};

const fn case(policies: &'static str, request: &'static str, told: &'static str) -> Case {
    Case { path: "/orders/{id}", policies, request, told, saw: "" }
}

const fn passes(policies: &'static str, request: &'static str, saw: &'static str) -> Case {
    Case { path: "/orders/{id}", policies, request, told: "200", saw }
}

const GET: &str = "GET /orders/1 HTTP/1.1\nx-api-key: KEY\n";
const POST: &str = "POST /orders/1 HTTP/1.1\nx-api-key: KEY\n";
const SAW_GET: &str = "GET /orders/1\nx-yett-consumer: alice";
const SAW_POST: &str = "POST /orders/1\nx-yett-consumer: alice";

pub(crate) const ACL: &[Case] = &[
    passes("[api_key, { acl: alice }]", GET, SAW_GET),
    passes("[api_key, { acl: [bob, 'group:admin'] }]", GET, SAW_GET),
    case("[api_key, { acl: [bob, 'group:staff'] }]", GET, "403 access_denied"),
    case(
        "[api_key, { acl: { allow: alice, deny: ['group:admin'], reason: not today } }]",
        GET,
        "403 access_denied: not today",
    ),
    case(
        "[api_key, { acl: alice }]",
        "GET /orders/1 HTTP/1.1\n",
        "401 credentials_missing\nwww-authenticate: Bearer realm=\"yett\"",
    ),
    case("[{ acl: { deny: [bob] } }]", "GET /orders/1 HTTP/1.1\n", "403 access_denied"),
];

pub(crate) const SCOPES: &[Case] = &[
    case(
        "[api_key, { scopes: 'orders:read' }]",
        GET,
        "403 insufficient_scope\nwww-authenticate: Bearer realm=\"yett\", error=\"insufficient_scope\", scope=\"orders:read\"",
    ),
    case(
        "[{ scopes: { any: ['a', 'b'] } }]",
        GET,
        "403 insufficient_scope\nwww-authenticate: Bearer realm=\"yett\", error=\"insufficient_scope\", scope=\"a\"",
    ),
];

pub(crate) const RBAC: &[Case] = &[
    passes("[api_key, rbac]", GET, SAW_GET),
    passes("[api_key, rbac]", POST, SAW_POST),
    case(
        "[api_key, rbac]",
        "DELETE /orders/1 HTTP/1.1\nx-api-key: KEY\n",
        "403 permission_missing",
    ),
    case("[api_key, { rbac: approve }]", POST, "403 permission_missing"),
    passes(
        "[api_key, { rbac: { permission: approve, groups: { admin: approver } } }]",
        POST,
        SAW_POST,
    ),
    case(
        "[api_key, { rbac: { permission: approve, groups: { admin: approver } } }]",
        GET,
        "403 permission_missing",
    ),
    case("[rbac]", GET, "403 permission_missing"),
];

const STAFF_READ: &str = "[api_key, { cedar: { policies: 'permit(principal in Group::\"admin\", action in Action::\"read\", resource in Api::\"test\");' } }]";

pub(crate) const CEDAR: &[Case] = &[
    passes(STAFF_READ, GET, SAW_GET),
    case(STAFF_READ, POST, "403 access_denied"),
    case(
        "[{ cedar: { policies: 'permit(principal is Consumer, action, resource);' } }]",
        GET,
        "403 access_denied",
    ),
    case(
        "[api_key, { cedar: { policies: 'permit(principal, action, resource); forbid(principal, action, resource) when { principal.claims.gone };' } }]",
        GET,
        "403 access_undecided",
    ),
];

const CONFIG: &str = "version: 1
listeners: { public: { bind: '127.0.0.1:8080' } }
upstreams: { one: { targets: ['BACKEND'] } }
policies: [api_key, rbac: { groups: { staff: [reader] } }]
apis:
  orders:
    path: /orders
    upstream: one
    routes:
      - GET /{id}
      - GET,POST /
      - POST /{id}/approve: { policies: [rbac: approve] }
      - GET /public: { exempt: { api_key: open to all, rbac: open to all }, public: open to all }
  users: { path: /users, upstream: one }
roles:
  reader: { '*': read }
  clerk: { orders: [read, create] }
  lead: { orders: { permissions: [approve] } }
  support: { orders: { routes: 'GET /{id}' } }
consumers:
  staff: { groups: [staff], keys: [HASH0] }
  clerk: { roles: [clerk], keys: [HASH1], applications: { bot: { roles: [reader], keys: [HASH2] } } }
  lead: { roles: [lead, clerk], keys: [HASH3] }
  support: { roles: [support], keys: [HASH4] }
  nobody: { keys: [HASH5] }
";

#[tokio::test(start_paused = true)]
async fn roles_hold_on_all_routes_of_a_gateway() {
    let mut config = CONFIG.replace("BACKEND", BACKEND);
    let mut keys = Vec::new();
    for index in 0..6 {
        let (key, hash) = policy::key::generate().unwrap();
        config = config.replace(&format!("HASH{index}"), &super::kit::written(&hash));
        keys.push(key);
    }
    let gateway = TestGateway::new(&config);
    gateway.put(BACKEND, Backend::answer("HTTP/1.1 200 OK\ncontent-length: 2\n\nok"));
    let callers = ["staff", "clerk", "clerk/bot", "lead", "support", "nobody"];
    for (request, expected) in [
        ("GET /orders/1", "staff clerk lead support"),
        ("HEAD /orders/1", "staff clerk lead support"),
        ("GET /orders", "staff clerk lead"),
        ("POST /orders", "clerk lead"),
        ("POST /orders/1/approve", "lead"),
        ("GET /users/1", "staff"),
        ("POST /users/1", ""),
        ("GET /orders/public", "staff clerk clerk/bot lead support nobody"),
    ] {
        let mut passing = Vec::new();
        for (caller, key) in callers.iter().zip(&keys) {
            let request = format!("{request} HTTP/1.1\nx-api-key: {}\n", key.reveal());
            let answer = gateway.ask(&request).await;
            match answer.split(' ').nth(1) {
                Some("200") => passing.push(*caller),
                Some("403") => assert!(
                    request.starts_with("HEAD") || answer.contains("permission_missing"),
                    "{answer}"
                ),
                _ => panic!("{request}: {answer}"),
            }
        }
        assert_eq!(passing.join(" "), expected, "{request}");
    }
}
