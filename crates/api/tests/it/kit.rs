use api::{Admin, Options};
use axum::body::Body;
use base::{Clock, Secret};
use control::{Caller, Checked, Control, Finding};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::Value;
use std::net::{IpAddr, Ipv4Addr};
use store::envelope::Keys;
use store::{Location, Store};
use tempfile::TempDir;

/// A platform of its own, where a config that has the word `broken` cannot be published.
pub(crate) struct World {
    pub(crate) control: Control,
    pub(crate) admin: Admin,
    pub(crate) clock: Clock,
    pub(crate) root: Caller,
    _folder: TempDir,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Told {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// The status, which is the one that was expected.
    #[track_caller]
    pub(crate) fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// The pointers of all findings.
    pub(crate) fn pointers(&self) -> Vec<String> {
        let body = self.json();
        let findings = body["findings"].as_array().cloned().unwrap_or_default();
        findings.iter().map(|it| it["pointer"].as_str().unwrap().to_owned()).collect()
    }
}

/// The committed schema of configs.
pub(crate) fn config_schema() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schema/yett.schema.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

impl World {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::manual();
        let location = Location::Sqlite(folder.path().join("yett.db"));
        let store = Store::open(&location, &clock).await.unwrap();
        let control = Control::new(store, &clock, |config: &str| {
            let finding =
                || Finding { pointer: "/apis".to_owned(), message: "it is broken".to_owned() };
            let errors = config.contains("broken").then(finding).into_iter().collect();
            Checked { errors, warnings: Vec::new() }
        })
        .with_keys(Keys::generate().unwrap());
        let options = Options {
            clock: clock.clone(),
            config_schema: config_schema(),
            is_loopback: true,
            ..Options::default()
        };
        let admin = Admin::new(control.clone(), options);
        Self { control, admin, clock, root: Caller::system("test"), _folder: folder }
    }

    pub(crate) async fn workspace(&self, name: &str) -> String {
        self.control.workspace_create(&self.root, name, "").await.unwrap().id
    }

    /// The session of somebody with a role in a workspace; in all of them where it is empty.
    pub(crate) async fn somebody(&self, name: &str, workspace: &str, role: &str) -> String {
        let password = Secret::new(format!("the password of {name}"));
        let control = &self.control;
        let user = control.user_create(&self.root, name, "", Some(password.clone())).await.unwrap();
        control.user_role_add(&self.root, &user.id, workspace, role).await.unwrap();
        let from = "192.0.2.7".parse().unwrap();
        let session = control.session_create(name, password, from).await.unwrap();
        session.shown.reveal().to_owned()
    }

    pub(crate) async fn raw(&self, request: Request<Body>) -> Told {
        let peer = IpAddr::from(Ipv4Addr::LOCALHOST);
        let (head, body) = self.admin.answer(request, peer).await.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let status: StatusCode = head.status;
        let body = String::from_utf8(bytes.to_vec()).unwrap();
        Told { status: status.as_u16(), headers: head.headers, body }
    }

    /// Sends a request with a session, further headers and a body.
    pub(crate) async fn send(
        &self,
        line: &str,
        session: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Told {
        let (method, path) = line.split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
        if !session.is_empty() {
            request = request.header("authorization", format!("Bearer {session}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = match body {
            Some(body) => {
                request = request.header("content-type", "application/json");
                Body::from(body.to_string())
            }
            None => Body::empty(),
        };
        self.raw(request.body(body).unwrap()).await
    }
}
