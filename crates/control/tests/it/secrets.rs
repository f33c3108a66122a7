use super::kit::World;
use base::Secret;
use control::credential::{Proof, Sent as SentCredential};
use control::object::Sent;
use control::page::Ask;
use control::{Code, consumer};
use serde_json::json;
use store::envelope::Keys;

fn text(value: &str) -> Secret {
    Secret::new(value.to_owned())
}

#[tokio::test]
async fn a_secret_is_written_and_never_read_but_by_gateways() {
    let world = World::new().await;
    let (control, root) = (&world.control, &world.root);
    let (team, other) = (world.workspace("team").await, world.workspace("other").await);
    let made = control.secret_create(root, (&team, "token"), text("open sesame")).await.unwrap();
    control.secret_create(root, (&other, "token"), text("another")).await.unwrap();
    let became =
        control.secret_update(root, (&team, &made.id), 1, text("sesame two")).await.unwrap();
    let late = control.secret_update(root, (&team, &made.id), 1, text("sesame")).await.unwrap_err();
    assert_eq!((became.revision, late.revision), (2, Some(2)));
    let listed = control.secret_list(root, &team, &Ask::default()).await.unwrap();
    let trail = world.store.audit_list(0, 99).await.unwrap();
    assert!(!format!("{made:?} {listed:?} {trail:?}").contains("sesame"));
    let values = control.secret_values(&team).await.unwrap();
    assert_eq!(values, [("token".to_owned(), text("sesame two"))]);
    let empty = control.secret_create(root, (&team, "empty"), text("")).await.unwrap_err();
    assert_eq!(empty.findings[0].pointer, "/value");
}

#[tokio::test]
async fn nobody_puts_one_workspaces_secret_in_anothers_place() {
    let world = World::new().await;
    let (control, root) = (&world.control, &world.root);
    let (team, other) = (world.workspace("team").await, world.workspace("other").await);
    control.secret_create(root, (&team, "token"), text("open sesame")).await.unwrap();
    let mine = control.secret_create(root, (&other, "token"), text("mine")).await.unwrap();
    let stolen = world.store.secret_values(&team).await.unwrap().remove(0).1;
    // Who can write to the database copies what is encrypted.
    let mut write = world.store.write(store::audit::Actor::system("thief")).await.unwrap();
    write.secret_update((&other, &mine.id), 1, &stolen).await.unwrap();
    write.commit().await.unwrap();
    assert_eq!(control.secret_values(&other).await.unwrap_err().code, Code::StoreCorrupt);
}

#[tokio::test]
async fn another_master_key_takes_over_while_everything_is_used() {
    let world = World::new().await;
    let (control, root) = (&world.control, &world.root);
    let team = world.workspace("team").await;
    for at in 0..150 {
        let name = format!("secret-{at}");
        control.secret_create(root, (&team, &name), text(&name)).await.unwrap();
    }
    let sent = consumer::Sent { name: "shop", ..consumer::Sent::default() };
    let shop = control.consumer_create(root, &team, sent).await.unwrap().id;
    let proof = Proof::SharedSecret { id: Some("till"), secret: None };
    let sent = SentCredential { name: "", proof, from_ms: None, expires_ms: None };
    let shown = control.credential_create(root, (&team, &shop, None), sent).await.unwrap().shown;
    let mut keys = world.keys.clone();
    keys.rotate().unwrap();
    let control = control.clone().with_keys(keys.clone());
    assert_eq!(control.secret_rewrap(root).await.unwrap(), 151);
    assert_eq!(control.secret_rewrap(root).await.unwrap(), 0);
    keys.forget_old();
    world.store.keys_check(&keys).await.unwrap();
    let control = control.with_keys(keys);
    assert_eq!(control.secret_values(&team).await.unwrap().len(), 150);
    let known = control.directory().await.unwrap().credentials;
    assert_eq!(known[0].secret, shown);
    let wrong = Keys::generate().unwrap();
    assert!(world.store.keys_check(&wrong).await.is_err());
    let problem = control.with_keys(wrong).secret_values(&team).await.unwrap_err();
    assert_eq!(problem.code, Code::StoreUnavailable);
}

#[tokio::test]
async fn a_secret_that_is_named_stays_and_private_keys_are_kept_as_secrets() {
    let world = World::new().await;
    let (control, root) = (&world.control, &world.root);
    let team = world.workspace("team").await;
    let made = control.secret_create(root, (&team, "token"), text("open sesame")).await.unwrap();
    let body = json!({ "headers": { "authorization": "Bearer ${secret:token}" } });
    let sent = Sent { name: "orders", position: 0, body: &body };
    let api = control.object_create(root, (&team, "api", ""), sent).await.unwrap();
    control.revision_create(root, &team, 0, "").await.unwrap();
    let delete = async || control.secret_delete(root, (&team, &made.id), 1).await;
    assert!(delete().await.unwrap_err().detail.contains("the api `orders` names it"));
    control.object_delete(root, (&team, "api", &api.id), 1).await.unwrap();
    assert!(delete().await.unwrap_err().detail.contains("revision 1"));
    control.revision_create(root, &team, 1, "").await.unwrap();
    delete().await.unwrap();

    let body = json!({ "certificates": [{ "key": "-----BEGIN EC PRIVATE KEY-----\nMHcC" }] });
    let sent = Sent { name: "site", position: 0, body: &body };
    let refused = control.object_create(root, (&team, "certificate", ""), sent).await.unwrap_err();
    assert_eq!(refused.findings[0].pointer, "/body/certificates/0/key");
}
