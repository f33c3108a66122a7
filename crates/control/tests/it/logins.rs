use super::kit::World;
use base::Secret;
use control::Code;
use std::time::Duration;

const FROM: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

#[tokio::test]
async fn the_first_user_comes_in_by_a_link_that_works_once() {
    let world = World::new().await;
    world.control.first_user().await.unwrap().expect("this one is lost");
    let link = world.control.first_user().await.unwrap().unwrap();
    let session = world.control.link_take(link.reveal(), None, FROM).await.unwrap();
    assert!(world.control.first_user().await.unwrap().is_none(), "somebody has logged in");
    let caller = world.control.caller(session.shown.reveal()).await.unwrap();
    world.control.workspace_create(&caller, "team", "").await.unwrap();
    let again = world.control.link_take(link.reveal(), None, FROM).await.unwrap_err();
    assert_eq!(again.code, Code::LoginRefused);
    assert_eq!(world.control.caller(link.reveal()).await.unwrap_err().code, Code::LoginRequired);
}

#[tokio::test]
async fn a_session_ends_by_itself_and_when_it_is_ended() {
    let world = World::new().await;
    let link = world.control.first_user().await.unwrap().unwrap();
    let session = world.control.link_take(link.reveal(), None, FROM).await.unwrap();
    let shown = session.shown.reveal();
    let caller = world.control.caller(shown).await.unwrap();
    world.clock.advance(Duration::from_secs(12 * 3_600));
    assert_eq!(world.control.caller(shown).await.unwrap_err().code, Code::LoginRequired);
    let token = world.control.token_create(&caller, "ci", &[], 60_000).await.unwrap();
    let caller = world.control.caller(token.reveal()).await.unwrap();
    world.control.session_delete(&caller, token.reveal()).await.unwrap();
    assert_eq!(world.control.caller(token.reveal()).await.unwrap_err().code, Code::LoginRequired);
}

#[tokio::test]
async fn a_token_may_no_more_than_its_scopes_and_no_more_than_its_user() {
    let world = World::new().await;
    let team = world.workspace("team").await;
    let viewer = world.somebody("alice", &team, "viewer").await;
    let token = world.control.token_create(&viewer, "ci", &["*:*"], 60_000).await.unwrap();
    let caller = world.control.caller(token.reveal()).await.unwrap();
    assert_eq!(
        world.control.revision_create(&caller, &team, 0, "").await.unwrap_err().code,
        Code::Forbidden
    );
    let token = world.control.token_create(&viewer, "ci", &["api:read"], 60_000).await.unwrap();
    let caller = world.control.caller(token.reveal()).await.unwrap();
    assert_eq!(
        world.control.workspace_get(&caller, &team).await.unwrap_err().code,
        Code::Forbidden
    );
    world.control.object_list(&caller, (&team, "api", ""), "", 9).await.unwrap();
}

#[tokio::test]
async fn guessing_is_slowed_down_by_name_and_by_address_and_says_nothing() {
    let world = World::new().await;
    world.somebody("alice", "", "viewer").await;
    let guess = async |name: &str, from: [u8; 4]| {
        let wrong = Secret::new("a wrong password".to_owned());
        world.control.session_create(name, wrong, from.into()).await.unwrap_err()
    };
    let known = guess("alice", [192, 0, 2, 1]).await;
    assert_eq!(
        (known.code, known.clone()),
        (Code::LoginRefused, guess("nobody", [192, 0, 2, 2]).await)
    );
    for at in 0..4 {
        guess("alice", [198, 51, 100, at]).await;
    }
    let right = Secret::new("the password of alice".to_owned());
    let shut = world.control.session_create("alice", right.clone(), [203, 0, 113, 9].into()).await;
    assert_eq!(shut.unwrap_err().code, Code::TooManyAttempts);
    world.clock.advance(Duration::from_secs(61));
    world.control.session_create("alice", right, [203, 0, 113, 9].into()).await.unwrap();
}
