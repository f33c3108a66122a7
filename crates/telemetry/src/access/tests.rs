use super::sink::{Change, Sink};
use super::{
    AccessFormat, AccessLine, AccessLog, AccessSettings, AccessTarget, AccessWriter, Announced,
    Control, Headers, NoHeaders, PENDING_MAX, Rotation, Sample, StageTimes, Style, Template,
};
use crate::metrics::Metrics;
use base::{Clock, caps};
use serde_json::Value;
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;

fn full_line() -> AccessLine<'static> {
    AccessLine {
        time: Clock::manual().wall() + Duration::from_millis(7),
        request_id: "r-1",
        trace_id: "0af7651916cd43dd8448eb211c80319c",
        revision: "42",
        listener: "public",
        client: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
        protocol: "HTTP/1.1",
        method: "GET",
        host: "example.com",
        path: "/orders/1",
        status: 503,
        grpc_status: None,
        fault: Some("upstream_timeout"),
        cause: Some("no answer within \"3 s\""),
        api: "orders",
        route: "GET /{id}",
        consumer: "alice",
        application: "mobile",
        credential: "2026",
        upstream: "orders",
        target: "10.0.0.1:8080",
        attempts: 2,
        bytes_in: 5,
        bytes_out: 1_234,
        duration: Duration::from_micros(12_345),
        upstream_duration: Duration::from_micros(12_005),
        user_agent: "curl/8",
        complete: false,
        stages: None,
        headers: &NoHeaders,
    }
}

/// What a request for nothing leaves.
fn bare_line() -> AccessLine<'static> {
    AccessLine {
        request_id: "",
        trace_id: "",
        revision: "",
        listener: "",
        method: "",
        host: "",
        path: "",
        status: 400,
        grpc_status: None,
        fault: None,
        cause: None,
        api: "",
        route: "",
        consumer: "",
        application: "",
        credential: "",
        upstream: "",
        target: "",
        attempts: 0,
        bytes_in: 0,
        bytes_out: 0,
        duration: Duration::from_nanos(900),
        upstream_duration: Duration::ZERO,
        user_agent: "",
        complete: true,
        ..full_line()
    }
}

fn metrics() -> Arc<Metrics> {
    Metrics::new(1, &[])
}

fn dropped(metrics: &Metrics) -> u64 {
    let text = metrics.encode();
    let line = text.lines().find_map(|line| line.strip_prefix("yett_access_log_dropped_total "));
    line.unwrap().parse().unwrap()
}

/// What a log of these lines holds once it is closed.
fn written(format: AccessFormat, lines: &[AccessLine<'_>]) -> String {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("access.log");
    let log = AccessLog::open(to_file(format, &path), metrics()).unwrap();
    let mut writer = log.writer();
    lines.iter().for_each(|line| writer.write(line));
    drop(writer);
    log.close();
    read(&path)
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

fn log_to(path: &Path) -> AccessLog {
    AccessLog::open(to_file(AccessFormat::Json, path), metrics()).unwrap()
}

fn to_file(format: AccessFormat, path: &Path) -> AccessSettings {
    AccessSettings::new(format, AccessTarget::File(path.to_path_buf()))
}

/// A writer whose queue nobody empties but the test.
fn lone_writer(queue: usize) -> (AccessWriter, Receiver<super::Message>, Arc<Metrics>) {
    let metrics = metrics();
    let control = Arc::new(Control {
        setting: AtomicU32::new(0),
        announced: Mutex::new(Announced {
            style: Style::of(&AccessSettings::default()),
            pending: VecDeque::new(),
        }),
        closing: AtomicBool::new(false),
        metrics: Arc::clone(&metrics),
    });
    let (sender, receiver) = sync_channel(queue);
    (AccessWriter::new(control, sender), receiver, metrics)
}

#[test]
fn json_line_has_all_fields_in_a_fixed_order() {
    let text = written(AccessFormat::Json, &[full_line()]);
    let expected = concat!(
        r#"{"time":"2026-01-01T00:00:00.007Z","request_id":"r-1","#,
        r#""trace_id":"0af7651916cd43dd8448eb211c80319c","revision":"42","listener":"public","#,
        r#""client":"192.0.2.1","protocol":"HTTP/1.1","method":"GET","host":"example.com","#,
        r#""path":"/orders/1","status":503,"fault":"upstream_timeout","#,
        r#""cause":"no answer within \"3 s\"","api":"orders","route":"GET /{id}","#,
        r#""consumer":"alice","application":"mobile","credential":"2026","upstream":"orders","target":"10.0.0.1:8080","attempts":2,"#,
        r#""bytes_in":5,"bytes_out":1234,"duration_ms":12.345,"upstream_duration_ms":12.005,"#,
        r#""user_agent":"curl/8","complete":false}"#,
        "\n"
    );
    assert_eq!(text, expected);
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["duration_ms"], 12.345);
}

#[test]
fn json_line_leaves_out_what_does_not_apply() {
    let expected = concat!(
        r#"{"time":"2026-01-01T00:00:00.007Z","client":"192.0.2.1","protocol":"HTTP/1.1","#,
        r#""status":400,"bytes_in":0,"bytes_out":0,"duration_ms":0.000}"#,
        "\n"
    );
    assert_eq!(written(AccessFormat::Json, &[bare_line()]), expected);
}

#[test]
fn text_line_reads_well() {
    let line = AccessLine { status: 200, fault: None, cause: None, complete: true, ..full_line() };
    let expected = "2026-01-01T00:00:00.007Z 200 GET example.com/orders/1 12.3ms \
                    orders/GET-/{id} consumer=alice application=mobile target=10.0.0.1:8080 client=192.0.2.1 rid=r-1\n\
                    2026-01-01T00:00:00.007Z 400 - -- 0.0ms client=192.0.2.1\n";
    assert_eq!(written(AccessFormat::Text, &[line, bare_line()]), expected);
    let relayed = AccessLine { protocol: "tcp", listener: "db", ..bare_line() };
    let named = AccessLine { protocol: "tls", host: "db.test", ..bare_line() };
    let expected = "2026-01-01T00:00:00.007Z 400 tcp db 0.0ms client=192.0.2.1\n\
                    2026-01-01T00:00:00.007Z 400 tls db.test 0.0ms client=192.0.2.1\n";
    assert_eq!(written(AccessFormat::Text, &[relayed, named]), expected);
    let failed = written(AccessFormat::Text, &[full_line()]);
    let end = "client=192.0.2.1 fault=upstream_timeout cause=\"no answer within \\\"3 s\\\"\" \
               rid=r-1 incomplete\n";
    assert!(failed.ends_with(end), "{failed}");
}

#[test]
fn client_cannot_forge_a_line_or_a_field() {
    let forged =
        "x\n2026-01-01T00:00:00.000Z 200 GET y/ consumer=admin\r\n\u{2028}\u{1b}[2J\",\"a\":\"";
    let line = AccessLine {
        method: forged,
        host: forged,
        path: forged,
        consumer: forged,
        user_agent: forged,
        request_id: forged,
        cause: Some(forged),
        fault: None,
        ..full_line()
    };
    let text = written(AccessFormat::Text, std::slice::from_ref(&line));
    assert_eq!(text.matches('\n').count(), 1);
    assert_eq!(text.split(' ').filter(|word| word.starts_with("consumer=")).count(), 2, "{text}");
    // The second is inside the quotes of the cause.
    let (before, cause) = text.split_once(" cause=").unwrap();
    assert_eq!(before.split(' ').filter(|word| word.starts_with("consumer=")).count(), 1);
    let cause = serde_json::Deserializer::from_str(cause).into_iter::<String>().next();
    assert_eq!(cause.unwrap().unwrap(), forged);
    assert!(!text.chars().any(|c| c.is_control() && c != '\n' || c == '\u{2028}'), "{text:?}");

    let json = written(AccessFormat::Json, &[line]);
    assert_eq!(json.matches('\n').count(), 1);
    let value: Value = serde_json::from_str(&json).unwrap();
    for key in ["method", "host", "path", "consumer", "user_agent", "request_id", "cause"] {
        assert_eq!(value[key], forged, "{key}");
    }
    assert_eq!(value.get("a"), None);
}

#[test]
fn query_is_never_written() {
    for format in [AccessFormat::Json, AccessFormat::Text] {
        let line = AccessLine { path: "/a?token=hush?x", ..full_line() };
        let text = written(format, &[line]);
        assert!(text.contains("/a") && !text.contains("hush") && !text.contains('?'), "{text}");
    }
}

#[test]
fn addresses_are_written_as_people_write_them() {
    for (address, expected) in [
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("2001:db8::1", "2001:db8::1"),
        ("255.255.255.255", "255.255.255.255"),
    ] {
        let line = AccessLine { client: address.parse().unwrap(), ..bare_line() };
        let value: Value = serde_json::from_str(&written(AccessFormat::Json, &[line])).unwrap();
        assert_eq!(value["client"], expected);
    }
}

#[test]
fn warm_writer_allocates_no_buffer() {
    let (mut writer, queue, _) = lone_writer(1);
    writer.write(&full_line());
    let (place, room) = (writer.buffer.as_ptr(), writer.buffer.capacity());
    while writer.buffer.len() < caps::LOG_BUFFER_BYTES - 1_000 {
        writer.write(&full_line());
        assert_eq!((writer.buffer.as_ptr(), writer.buffer.capacity()), (place, room));
    }
    writer.flush();
    let super::Message::Lines(mut batch) = queue.try_recv().unwrap() else { panic!("no lines") };
    batch.bytes.clear();
    batch.home.try_send(batch.bytes).unwrap();
    writer.write(&full_line());
    assert_eq!((writer.buffer.as_ptr(), writer.buffer.capacity()), (place, room));
}

#[test]
fn full_queue_drops_lines_counts_them_and_keeps_the_buffer() {
    let (mut writer, queue, metrics) = lone_writer(1);
    writer.write(&full_line());
    assert!(!writer.is_empty());
    writer.flush();
    assert!(writer.is_empty());
    for _ in 0..3 {
        writer.write(&full_line());
    }
    let place = writer.buffer.as_ptr();
    writer.flush();
    assert!(writer.is_empty());
    assert_eq!(dropped(&metrics), 3);
    writer.write(&full_line());
    assert_eq!(writer.buffer.as_ptr(), place);
    drop(queue);
    writer.flush();
    assert_eq!(dropped(&metrics), 4);
}

#[test]
fn every_line_of_many_workers_arrives_whole() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("access.log");
    let metrics = metrics();
    let target = AccessTarget::File(path.clone());
    let log =
        AccessLog::open(AccessSettings::new(AccessFormat::Json, target), Arc::clone(&metrics))
            .unwrap();
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let mut writer = log.writer();
            scope.spawn(move || {
                for i in 0..5_000 {
                    let id = format!("{worker}-{i}");
                    writer.write(&AccessLine { request_id: &id, ..full_line() });
                }
            });
        }
    });
    log.close();
    let text = read(&path);
    let mut ids: Vec<String> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["request_id"].to_string())
        .collect();
    ids.sort();
    ids.dedup();
    let lost = usize::try_from(dropped(&metrics)).unwrap();
    assert_eq!(ids.len() + lost, 20_000);
    assert_eq!(text.lines().count(), ids.len());
}

#[test]
fn new_file_is_not_readable_by_others() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("access.log");
    log_to(&path).close();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode & !0o640, 0, "{mode:o}");
    assert_eq!(mode & 0o600, 0o600, "{mode:o}");
}

#[test]
fn lines_are_appended_to_what_is_there() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("access.log");
    std::fs::write(&path, "before\n").unwrap();
    let log = log_to(&path);
    log.writer().write(&full_line());
    log.close();
    assert!(read(&path).starts_with("before\n{\"time\""));
}

/// Waits until the thread wrote this.
fn wait_for(path: &Path, text: &str) {
    let deadline = Clock::System.now() + Duration::from_secs(60);
    while !std::fs::read_to_string(path).is_ok_and(|read| read.contains(text)) {
        assert!(Clock::System.now() < deadline, "{} never holds {text}", path.display());
        std::thread::yield_now();
    }
}

#[test]
fn file_that_was_moved_or_removed_is_opened_anew_without_being_told() {
    let folder = TempDir::new().unwrap();
    let (path, moved) = (folder.path().join("access.log"), folder.path().join("access.log.1"));
    let log = log_to(&path);
    let mut writer = log.writer();
    let mut say = |id| {
        writer.write(&AccessLine { request_id: id, ..full_line() });
        writer.flush();
        wait_for(&path, id);
    };
    say("first");
    std::fs::rename(&path, &moved).unwrap();
    say("second");
    std::fs::remove_file(&path).unwrap();
    say("third");
    drop(writer);
    log.close();
    assert!(read(&moved).contains("first") && !read(&moved).contains("second"));
    assert!(!read(&path).contains("second"), "{}", read(&path));
}

#[test]
fn full_file_is_moved_away_and_so_many_are_kept() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("access.log");
    let mut settings = to_file(AccessFormat::Json, &path);
    settings.rotation = Some(Rotation { size: 10, keep: 2 });
    let log = AccessLog::open(settings, metrics()).unwrap();
    let mut writer = log.writer();
    for id in ["first", "second", "third", "fourth"] {
        writer.write(&AccessLine { request_id: id, ..full_line() });
        writer.flush();
    }
    drop(writer);
    log.close();
    let held = |name: &str| {
        let text = read(&folder.path().join(name));
        assert_eq!(text.lines().count(), 1, "{text}");
        serde_json::from_str::<Value>(&text).unwrap()["request_id"].clone()
    };
    assert_eq!(
        [held("access.log"), held("access.log.1"), held("access.log.2")],
        ["fourth", "third", "second"]
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3);
}

#[derive(Debug)]
struct Two;

impl Headers for Two {
    fn request(&self, name: &str) -> Option<&[u8]> {
        (name == "x-tenant").then_some(b"a\" b]\xff\n")
    }
    fn answer(&self, name: &str) -> Option<&[u8]> {
        (name == "x-cache").then_some(b"hit")
    }
}

fn templated(template: &str, line: &AccessLine<'_>) -> String {
    written(AccessFormat::Template(Template::parse(template).unwrap()), std::slice::from_ref(line))
}

#[test]
fn template_has_fields_headers_and_stages() {
    let stages = StageTimes { guard: Some(Duration::from_micros(17)), ..StageTimes::default() };
    let line = AccessLine { headers: &Two, stages: Some(stages), ..full_line() };
    assert_eq!(
        templated("{client} {method} {path} {status} {duration_ms}ms {{x}} {time}", &line),
        "192.0.2.1 GET /orders/1 503 12.345ms {x} 2026-01-01T00:00:00.007Z\n"
    );
    assert_eq!(
        templated(
            "{request.header.X-Tenant} {response.header.x-cache} {request.header.x-none}",
            &line
        ),
        "a\"\\x20b]\u{fffd}\\x0a hit -\n"
    );
    assert_eq!(
        templated("{timings.guard_us} {timings.send_us} {sample} {complete} {route}", &line),
        "17 - 1 false GET\\x20/{id}\n"
    );
}

#[test]
fn value_cannot_end_its_field_in_a_template() {
    let line = AccessLine { headers: &Two, user_agent: "a|b \"c\" [d]", ..full_line() };
    assert_eq!(
        templated("[{user_agent}] \"{user_agent}\" \"{method} {user_agent}\"", &line),
        concat!(
            r#"[a|b\x20\x22c\x22\x20\x5bd\x5d] "a|b \x22c\x22 \x5bd\x5d" "#,
            r#""GET a|b\x20\x22c\x22\x20\x5bd\x5d""#,
            "\n"
        )
    );
    assert_eq!(templated("{user_agent}|{status}", &line), "a\\x7cb\\x20\"c\"\\x20[d]|503\n");
}

#[test]
fn sampled_line_says_its_rate_and_certain_ones_say_none() {
    let share = |text| base::units::Share::parse(text).unwrap();
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("access.log");
    let mut settings = to_file(AccessFormat::Json, &path);
    let slow = Some(Duration::from_secs(1));
    settings.sample = Sample::new(share("50%"), share("all"), slow);
    let log = AccessLog::open(settings, metrics()).unwrap();
    let mut writer = log.writer();
    let good = AccessLine { status: 200, fault: None, complete: true, ..full_line() };
    let slow = AccessLine { request_id: "slow", duration: Duration::from_secs(1), ..good.clone() };
    for number in 0..400 {
        let grpc_status = (number % 2 == 0).then_some(0);
        writer.write(&AccessLine { grpc_status, ..good.clone() });
    }
    let failed = AccessLine { grpc_status: Some(13), ..good.clone() };
    for line in [full_line(), slow, failed, AccessLine { complete: false, ..good.clone() }] {
        writer.write(&line);
    }
    drop(writer);
    log.close();
    let lines: Vec<Value> =
        read(&path).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (sampled, certain): (Vec<&Value>, Vec<&Value>) =
        lines.iter().partition(|line| line["sample"] == 0.5);
    assert!((100..300).contains(&sampled.len()), "{} of 400", sampled.len());
    assert_eq!(certain.len(), 4);
    assert!(certain.iter().all(|line| line["sample"].is_null()));
}

#[test]
fn stages_are_told_where_they_were_measured() {
    let stages = StageTimes {
        admit: Some(Duration::from_micros(3)),
        send: Some(Duration::from_millis(2)),
        ..StageTimes::default()
    };
    let line = AccessLine { stages: Some(stages), ..full_line() };
    let json = written(AccessFormat::Json, std::slice::from_ref(&line));
    assert!(json.contains(r#","timings":{"admit_us":3,"send_us":2000}"#), "{json}");
    serde_json::from_str::<Value>(&json).unwrap();
    let text = written(AccessFormat::Text, std::slice::from_ref(&line));
    assert!(text.contains(" admit=3us send=2000us"), "{text}");
    let none = AccessLine { stages: Some(StageTimes::default()), ..full_line() };
    let json = written(AccessFormat::Json, std::slice::from_ref(&none));
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap()["timings"], serde_json::json!({}));
}

#[test]
fn file_that_cannot_be_opened_anew_stays_in_use() {
    let folder = TempDir::new().unwrap();
    let (inner, moved) = (folder.path().join("logs"), folder.path().join("moved"));
    std::fs::create_dir(&inner).unwrap();
    let log = log_to(&inner.join("access.log"));
    std::fs::rename(&inner, &moved).unwrap();
    log.reopen();
    log.writer().write(&full_line());
    log.close();
    assert_eq!(read(&moved.join("access.log")).lines().count(), 1);
}

#[test]
fn reload_changes_format_and_target_under_the_same_writers() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| -> PathBuf { folder.path().join(name) };
    let log = log_to(&path("json"));
    let mut writer = log.writer();
    let mut say = |id| {
        writer.write(&AccessLine { request_id: id, ..full_line() });
        writer.flush();
    };
    say("first");
    log.reconfigure(to_file(AccessFormat::Text, &path("text"))).unwrap();
    say("second");
    let wrong = to_file(AccessFormat::Json, &path("no/such/folder"));
    let error = log.reconfigure(wrong).unwrap_err().to_string();
    assert!(error.contains("cannot open the access log") && error.contains("no/such"), "{error}");
    say("third");
    log.reconfigure(AccessSettings::new(AccessFormat::Json, AccessTarget::Off)).unwrap();
    say("fourth");
    log.reconfigure(to_file(AccessFormat::Json, &path("again"))).unwrap();
    log.reopen();
    say("fifth");
    drop(writer);
    log.close();
    let ids = |name| -> Vec<String> {
        let all = ["first", "second", "third", "fourth", "fifth"];
        let text = read(&path(name));
        all.iter().filter(|id| text.contains(**id)).map(|id| (*id).to_owned()).collect()
    };
    assert_eq!(ids("json"), ["first"]);
    assert_eq!(ids("text"), ["second", "third"]);
    assert_eq!(ids("again"), ["fifth"]);
    assert!(read(&path("text")).lines().all(|line| line.starts_with("2026")));
    assert!(read(&path("again")).starts_with('{'));
}

#[test]
fn changes_that_a_stuck_thread_does_not_make_are_bounded_and_the_last_one_counts() {
    let (writer, _queue, _) = lone_writer(1);
    let control = &writer.control;
    let text = AccessSettings::new(AccessFormat::Text, AccessTarget::Off);
    for _ in 0..100 {
        let sink = Sink::open(AccessTarget::Off, None).unwrap();
        control.announce(Some(Style::of(&text)), Change::To(sink));
    }
    control.announce(None, Change::Reopen);
    let announced = control.announced();
    assert_eq!(announced.pending.len(), PENDING_MAX);
    assert_eq!(announced.style.format, AccessFormat::Text);
    let (setting, change) = announced.pending.back().unwrap();
    assert_eq!(*setting, control.setting.load(Ordering::Acquire));
    assert!(matches!(change, Change::To(_)), "reopening must not undo what it came after");
}

#[test]
fn buffer_that_comes_late_goes_where_lines_go_now() {
    let folder = TempDir::new().unwrap();
    let (old, new) = (folder.path().join("old"), folder.path().join("new"));
    let log = log_to(&old);
    let (mut late, mut prompt) = (log.writer(), log.writer());
    late.write(&AccessLine { request_id: "late", ..full_line() });
    log.reconfigure(to_file(AccessFormat::Json, &new)).unwrap();
    prompt.write(&AccessLine { request_id: "prompt", ..full_line() });
    prompt.flush();
    late.flush();
    log.close();
    assert_eq!(read(&old), "");
    assert_eq!(read(&new).lines().count(), 2);
}

#[test]
fn lines_that_a_full_disk_refuses_are_counted() {
    let metrics = metrics();
    let target = to_file(AccessFormat::Json, Path::new("/dev/full"));
    let log = AccessLog::open(target, Arc::clone(&metrics)).unwrap();
    let mut writer = log.writer();
    for _ in 0..3 {
        writer.write(&full_line());
        writer.flush();
        writer.write(&full_line());
    }
    drop(writer);
    log.close();
    assert_eq!(dropped(&metrics), 6);
}

#[test]
fn log_that_is_off_formats_nothing() {
    let log =
        AccessLog::open(AccessSettings::new(AccessFormat::Json, AccessTarget::Off), metrics())
            .unwrap();
    let mut writer = log.writer();
    writer.write(&full_line());
    assert!(writer.is_empty());
    assert_eq!(writer.buffer.capacity(), 0);
    log.close();
}

#[test]
fn closing_twice_and_writing_afterwards_do_no_harm() {
    let folder = TempDir::new().unwrap();
    let metrics = metrics();
    let target = to_file(AccessFormat::Json, &folder.path().join("access.log"));
    let log = AccessLog::open(target, Arc::clone(&metrics)).unwrap();
    let mut writer = log.writer();
    log.clone().close();
    writer.write(&full_line());
    writer.flush();
    log.close();
    assert_eq!(dropped(&metrics), 1);
}
