use base::Clock;
use control::{Caller, Checked, Control, Finding};
use store::envelope::Keys;
use store::{Location, Store};
use tempfile::TempDir;

/// A platform of its own, where a config that has the word `broken` cannot be published.
pub(crate) struct World {
    pub(crate) control: Control,
    pub(crate) store: Store,
    pub(crate) keys: Keys,
    pub(crate) clock: Clock,
    pub(crate) root: Caller,
    _folder: TempDir,
}

impl World {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::manual();
        let location = Location::Sqlite(folder.path().join("yett.db"));
        let store = Store::open(&location, &clock).await.unwrap();
        let control = Control::new(store.clone(), &clock, |config: &str| {
            let finding =
                || Finding { pointer: "/apis".to_owned(), message: "it is broken".to_owned() };
            let errors = config.contains("broken").then(finding).into_iter().collect();
            Checked { errors, warnings: Vec::new() }
        });
        let keys = Keys::generate().unwrap();
        let control = control.with_keys(keys.clone());
        Self { control, store, keys, clock, root: Caller::system("test"), _folder: folder }
    }

    pub(crate) async fn workspace(&self, name: &str) -> String {
        self.control.workspace_create(&self.root, name, "").await.unwrap().id
    }

    /// Somebody with a role in a workspace, who has logged in.
    pub(crate) async fn somebody(&self, name: &str, workspace: &str, role: &str) -> Caller {
        let password = base::Secret::new(format!("the password of {name}"));
        let control = &self.control;
        let user = control.user_create(&self.root, name, "", Some(password.clone())).await.unwrap();
        control.user_role_add(&self.root, &user.id, workspace, role).await.unwrap();
        let from = "192.0.2.7".parse().unwrap();
        let session = control.session_create(name, password, from).await.unwrap();
        control.caller(session.shown.reveal()).await.unwrap()
    }
}
