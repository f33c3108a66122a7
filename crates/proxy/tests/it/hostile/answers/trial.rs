//! How an answer is tried: to a client of each protocol, whole, byte by byte, and cut in two at each place.

use crate::it::hostile::answers::streams::{self, over_http2};
use crate::it::hostile::answers::{Answer, Then, When};
use crate::it::hostile::recorder;
use crate::it::hostile::row::Then as Client1;
use crate::it::hostile::talk::{Client, Stage, growth};
use crate::it::hostile::text::{merged, shown};
use crate::it::hostile::trial::Plan;
use crate::it::http2::frames::{
    Client as Client2, DATA, END_HEADERS, END_STREAM, HEADERS, block, frame,
};
use crate::it::kit::brief;
use base::caps::DRAIN_TIMEOUT_S;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use testkit::gateway::BACKEND;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::time::sleep;

/// Bytes up to which an answer is sent byte by byte.
const SHORT_BYTES: usize = 1 << 10;
/// Bytes up to which an answer is cut in two at each place; of several spellings, the first.
const CUT_BYTES: usize = 160;
/// What every request but the first is answered with.
const NEXT: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nnext";
/// What a client makes of it.
const GETS_NEXT: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nnext";
/// What a client of the kit reads into.
const ROOM: u64 = 64 << 10;
/// How long nothing must happen for all to be quiet.
const QUIET: Duration = Duration::from_millis(1);

/// The answer that the next request gets.
#[derive(Clone)]
struct Script {
    pieces: Vec<Vec<u8>>,
    when: When,
    then: Then,
}

/// How a client of a protocol asks.
type Ask<'a> = fn(&Trial<'a>, Plan) -> Result<(), String>;
type Armed = Arc<Mutex<Option<Script>>>;

/// What of a row does not keep its promise.
pub(crate) fn check(row: &Answer) -> Vec<String> {
    let mut failures = Vec::new();
    let (stage, armed) = &scripted();
    for case in &row.cases {
        let found = Trial { row, case, stage, armed }.run().err();
        failures.extend(found.into_iter().map(|what| {
            format!("{} ({})\n  bytes: {}\n  {what}", row.name, row.clause, shown(case))
        }));
    }
    failures
}

/// One spelling of one row.
struct Trial<'a> {
    row: &'a Answer,
    case: &'a [u8],
    stage: &'a Stage,
    armed: &'a Armed,
}

/// A gateway before a backend that does as it is told.
fn scripted() -> (Stage, Armed) {
    let stage = Stage::new();
    let armed = Armed::default();
    let mut connections = stage.gateway.play(BACKEND);
    let script = Arc::clone(&armed);
    stage.run(async {
        drop(tokio::spawn(async move {
            while let Some(io) = connections.recv().await {
                drop(tokio::spawn(answer(io, Arc::clone(&script))));
            }
        }));
    });
    // What a thread keeps for ever is no growth.
    stage.says(&[b"GET /next HTTP/1.1\r\nhost: a.test\r\n\r\n"], Client1::Waits);
    (stage, armed)
}

impl<'a> Trial<'a> {
    fn run(&self) -> Result<(), String> {
        let protocols: [(Ask<'a>, usize); 2] = [(Self::http1, 2), (Self::http2, 5)];
        let count = if self.row.is_only_http1 { 1 } else { 2 };
        for (protocol, step) in protocols.into_iter().take(count) {
            self.arm(Plan::Whole);
            let (found, growth) = growth(|| protocol(self, Plan::Whole));
            found.map_err(|what| format!("whole: {what}"))?;
            if growth > self.row.growth_max + ROOM {
                return Err(format!("memory grew by {growth} bytes"));
            }
            self.check_next()?;
            if self.case.len() <= SHORT_BYTES {
                self.try_plan(Plan::Each, protocol)?;
            }
            let is_first = self.row.cases.first().is_some_and(|first| first == self.case);
            if is_first && self.case.len() <= CUT_BYTES {
                for at in (1..self.case.len()).step_by(step) {
                    self.try_plan(Plan::At(at), protocol)?;
                }
            }
        }
        Ok(())
    }

    fn try_plan(&self, plan: Plan, protocol: Ask<'a>) -> Result<(), String> {
        self.arm(plan);
        protocol(self, plan).map_err(|what| format!("{plan:?}: {what}"))?;
        self.check_next().map_err(|what| format!("{plan:?}: {what}"))
    }

    fn arm(&self, plan: Plan) {
        let pieces = plan.pieces(self.case).into_iter().map(<[u8]>::to_vec).collect();
        let script = Script { pieces, when: self.row.when, then: self.row.then };
        *self.armed.lock().unwrap() = Some(script);
    }

    /// Asks over HTTP/1, and once more on the same connection if it is open.
    fn http1(&self, plan: Plan) -> Result<(), String> {
        let asked = self.row.asked;
        let request = format!(
            "{} / HTTP/1.1\r\nhost: a.test\r\n{}\r\n{}",
            asked.method,
            asked.lines.replace('\n', "\r\n"),
            asked.body
        );
        let (heard, again) = self.stage.run(async {
            let mut client = Client::new(self.stage.gateway.connect());
            client.send(request.as_bytes()).await;
            self.pause(plan).await;
            if self.row.asked.owes() {
                sleep(Duration::from_secs(DRAIN_TIMEOUT_S + 1)).await;
            }
            client.listen().await;
            let heard = client.text();
            if client.is_closed {
                return (heard, None);
            }
            client.forget();
            client.send(b"GET /next HTTP/1.1\r\nhost: a.test\r\n\r\n").await;
            (heard, Some(client.text()))
        });
        let (found, should) = if self.row.gets.contains('\n') {
            let form =
                |text: &str| if plan == Plan::Whole { text.to_owned() } else { merged(text) };
            (form(&heard), form(&self.row.gets.replace('\n', "\r\n")))
        } else {
            (brief(&heard), self.row.gets.clone())
        };
        if found != should {
            return Err(format!("over HTTP/1 `{found}`\n  and not `{should}`"));
        }
        match again {
            Some(again) if again != GETS_NEXT => Err(format!("then the client got {again}")),
            _ => Ok(()),
        }
    }

    /// Asks over HTTP/2, and once more.
    fn http2(&self, plan: Plan) -> Result<(), String> {
        let asked = self.row.asked;
        let method = asked.method;
        let start = format!(":method: {method}\n:scheme: http\n:path: /\n:authority: a.test\n");
        let lines = block(&format!("{start}{}", asked.lines));
        let mut request = frame(HEADERS, END_HEADERS, 1, &lines);
        let flags = if asked.owes() { 0 } else { END_STREAM };
        request.extend(frame(DATA, flags, 1, asked.body.as_bytes()));
        let next = block(":method: GET\n:scheme: http\n:path: /next\n:authority: a.test\n");
        let next = frame(HEADERS, END_HEADERS | END_STREAM, 3, &next);
        let (heard, again) = self.stage.run(async {
            let mut client = Client2::ready(&self.stage.gateway).await;
            client.tell(&request).await;
            self.pause(plan).await;
            let heard = streams::told(&client.hear().await, 1);
            client.tell(&next).await;
            (heard, streams::told(&client.hear().await, 3))
        });
        let should = over_http2(&self.row.gets);
        let is_bare = !should.contains([' ', '\n']) && heard.lines().next() == Some(&*should);
        if heard != should && !is_bare && !streams::breaks_off(&heard, &should) {
            return Err(format!("over HTTP/2 `{heard}`\n  and not `{should}`"));
        }
        if again != "200\ncontent-length: 4\n\nnext<end>" {
            return Err(format!("then the client got {again}"));
        }
        Ok(())
    }

    /// Waits until a backend that sends byte by byte has sent all.
    async fn pause(&self, plan: Plan) {
        let pieces = plan.pieces(self.case).len();
        for _ in 0..=pieces {
            sleep(2 * QUIET).await;
        }
    }

    /// Others get their own answers.
    fn check_next(&self) -> Result<(), String> {
        let next = b"GET /next HTTP/1.1\r\nhost: a.test\r\n\r\n";
        match self.stage.says(&[next], Client1::Waits) {
            heard if heard == GETS_NEXT => Ok(()),
            heard => Err(format!("the next client got {heard}")),
        }
    }
}

/// A backend's side of one connection.
async fn answer(mut io: DuplexStream, armed: Armed) {
    let mut bytes = Vec::new();
    let mut piece = vec![0; 4 << 10];
    loop {
        let is_whole = recorder::length(&bytes);
        let script = {
            let mut armed = armed.lock().unwrap();
            let is_now = armed.as_ref().is_some_and(|script| script.when == When::AtOnce);
            let begins = is_now && !bytes.is_empty();
            if is_whole.is_some() || begins { armed.take() } else { None }
        };
        if let Some(length) = is_whole {
            bytes.drain(..length);
        }
        match script {
            Some(script) => {
                if play(&mut io, &script).await.is_none() {
                    return;
                }
            }
            None if is_whole.is_some() => drop(io.write_all(NEXT).await),
            None => match io.read(&mut piece).await {
                Ok(0) | Err(_) => return,
                Ok(count) => bytes.extend_from_slice(&piece[..count]),
            },
        }
    }
}

/// Answers as the row wants; nothing when the connection ends.
async fn play(io: &mut DuplexStream, script: &Script) -> Option<()> {
    for (number, piece) in script.pieces.iter().enumerate() {
        if number > 0 {
            sleep(QUIET).await;
        }
        io.write_all(piece).await.ok()?;
    }
    match script.then {
        Then::Closes => None,
        Then::Stays => Some(()),
        Then::Adds(more) => {
            sleep(QUIET).await;
            io.write_all(more.as_bytes()).await.ok()
        }
    }
}
