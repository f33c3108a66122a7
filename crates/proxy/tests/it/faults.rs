use crate::it::kit::{brief, fetch, header, hear_bytes, say, tell, with_upstream};
use testkit::gateway::BACKEND;
use testkit::{Act, Backend, TestGateway};
use traffic::fault::FAULTS;

/// The whole answer to a `GET /x`.
async fn answer(gateway: &TestGateway) -> String {
    let mut io = gateway.connect();
    tell(&mut io, "GET /x HTTP/1.1\nhost: a.test\n\n").await;
    let (bytes, _) = hear_bytes(&mut io).await;
    String::from_utf8(bytes).unwrap().replace("\r\n", "\n")
}

#[tokio::test(start_paused = true)]
async fn a_fault_is_told_as_problem_details_with_the_id_of_the_request() {
    let gateway = TestGateway::with_policies("[{ deny: { when: 'true', reason: not here } }]");
    let answer = answer(&gateway).await;
    let id = header(&answer, "x-request-id").unwrap();
    let (_, body) = answer.split_once("\n\n").unwrap();
    assert_eq!(
        body,
        format!(
            "{{\"type\":\"urn:yett:fault:access_denied\",\"title\":\"Access is denied\",\"status\":403,\"code\":\"access_denied\",\"request_id\":\"{id}\",\"detail\":\"not here\"}}"
        )
    );
    assert_eq!(header(&answer, "content-type"), Some("application/problem+json"));
    assert_eq!(header(&answer, "content-length"), Some(&*body.len().to_string()));
    assert!(answer.starts_with("HTTP/1.1 403 Forbidden\n"));
}

#[tokio::test(start_paused = true)]
async fn a_client_is_never_told_the_cause() {
    for (backend, code) in [
        (Backend::refusing(), "connect_failed"),
        (Backend::acts([Act::Close]), "upstream_reset"),
        (Backend::acts([Act::Bytes(b"garbage\r\n\r\n".to_vec())]), "upstream_invalid"),
    ] {
        let gateway = with_upstream(&format!("{{ targets: ['{BACKEND}'], retries: 0 }}"));
        gateway.put(BACKEND, backend);
        let answer = answer(&gateway).await;
        let row = FAULTS.iter().find(|row| row.name == code).unwrap();
        let (_, body) = answer.split_once("\n\n").unwrap();
        let body = body.replace(header(&answer, "x-request-id").unwrap(), "ID");
        assert_eq!(
            body,
            format!(
                "{{\"type\":\"urn:yett:fault:{code}\",\"title\":\"{}\",\"status\":{},\"code\":\"{code}\",\"request_id\":\"ID\"}}",
                row.title, row.status
            )
        );
    }
    let gateway = with_upstream("{ targets: ['unknown.invalid:80'], retries: 0 }");
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let told = answer(&gateway).await;
    assert_eq!(brief(&told), "503 unresolved", "{told}");
    assert!(!told.contains("invalid"), "{told}");
    let gateway = TestGateway::with_policies("[{ allow: 'request.headers.x == \"1\"' }]");
    let told = answer(&gateway).await;
    assert_eq!(brief(&told), "403 access_undecided");
    assert!(!told.contains("headers"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn a_fault_has_no_body_for_head() {
    let gateway = TestGateway::with_policies("[{ deny: 'true' }]");
    let answer = say(&gateway, "HEAD /x HTTP/1.1\nhost: a.test\n\n").await;
    assert!(answer.starts_with("HTTP/1.1 403 Forbidden\n") && answer.ends_with("\n\n"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_fault_leaves_the_connection_open_for_the_next_request() {
    let gateway = TestGateway::with_policies("[{ deny: 'request.path == \"/no\"' }]");
    let get = |path: &str| format!("GET {path} HTTP/1.1\nhost: a.test\n\n");
    let told = say(&gateway, &format!("{}{}{}", get("/no"), get("/yes"), get("/no"))).await;
    assert_eq!(brief(&told), "403 access_denied, 200, 403 access_denied");
}

#[tokio::test(start_paused = true)]
async fn faults_are_counted_by_their_code() {
    let gateway = TestGateway::with_policies("[{ deny: 'true' }]");
    for _ in 0..3 {
        fetch(&gateway, "/").await;
    }
    fetch(&gateway, "/%00").await;
    let count = |code: &str| gateway.metric(&format!("yett_faults_total{{code=\"{code}\"}}"));
    assert!((count("access_denied") - 3.0).abs() < 0.1);
    assert!((count("bad_path") - 1.0).abs() < 0.1);
}
