use super::kit::World;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

#[tokio::test]
async fn it_is_served_on_a_socket_until_the_end_and_answers_what_is_under_way() {
    let world = World::new().await;
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let (end, ending) = oneshot::channel::<()>();
    let end_of = async { drop(ending.await) };
    let serving = tokio::spawn(api::serve(socket, world.admin.clone(), end_of));
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET /v1/workspaces HTTP/1.1\r\nhost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 401");
    let mut large = TcpStream::connect(address).await.unwrap();
    let head = format!("GET / HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n", "x".repeat(64 << 10));
    // The server may be done with it before all of it was sent.
    drop(large.write_all(head.as_bytes()).await);
    let mut refused = Vec::new();
    drop(large.read_to_end(&mut refused).await);
    assert!(refused.is_empty() || refused.starts_with(b"HTTP/1.1 431"), "a head has an end");
    end.send(()).unwrap();
    serving.await.unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn who_sends_slowly_is_shown_out_and_keeps_nobody_waiting() {
    let world = World::new().await;
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let serving =
        tokio::spawn(api::serve(socket, world.admin.clone(), std::future::pending::<()>()));
    let send = async |text: &str| {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    };
    let mut slow = Vec::new();
    for head in ["", "GET ", "GET / HTTP/1.1\r\nhost: localhost\r\nx-a: b\r\n"] {
        for _ in 0..8 {
            slow.push(send(head).await);
        }
    }
    let post = "POST /v1/sessions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{";
    let mut body = send(post).await;
    let mut quick = send("GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
    let mut answer = String::new();
    quick.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    // From here on time passes as soon as nobody has anything to do.
    tokio::time::pause();
    for mut stream in slow {
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer).await);
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 408"));
    }
    let mut answer = vec![0; 12];
    body.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 408", "a body has its time, too");
    serving.abort();
}
