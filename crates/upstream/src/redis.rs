//! Counts in Redis, or in what speaks its protocol. Each count is one key, changed by one script, so that it lies on
//! one server of a cluster and nobody sees half of a change. The script counts by the server's clock.

use crate::store::{StoreServer, StoreShape, StoreSpec};
use base::Secret;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ErrorKind, IntoConnectionInfo as _,
    RedisConnectionInfo, RedisError, ServerErrorKind, TlsCertificates, TlsMode, Value, cmd,
};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::timeout;
use traffic::BoxFuture;
use traffic::store::{Ask, Counting, Grant, LimitStore, Tally, Total};

/// What takes from counts.
const TAKE: &str = include_str!("redis/take.lua");
/// What tells that a gateway is alive.
const BEAT: &str = include_str!("redis/beat.lua");
/// What adds up what gateways have counted of quotas.
const TALLY: &str = include_str!("redis/tally.lua");
/// Counts that one script changes; a server does nothing else meanwhile.
const TOGETHER_MAX: usize = 32;
/// Shortest time for a connection to be made, with all that is said at its beginning.
const CONNECT_MIN: Duration = Duration::from_secs(1);
/// So many times as long for a cluster, of which some servers may be silent.
const CLUSTER_TIMES: u32 = 3;
/// For how long a gateway is counted after it was heard of.
const ALIVE: Duration = Duration::from_secs(5);
const NONSENSE: &str = "the store gave an answer that means nothing";
/// Numbers of an answer before those of its rules.
const ANSWER_HEAD: usize = 5;

/// Makes a store.
pub(crate) fn open(
    spec: &StoreSpec,
    background: Option<Handle>,
) -> Result<Arc<dyn LimitStore>, String> {
    let connect_timeout = spec.timeout.max(CONNECT_MIN);
    let way = Way::new(spec, connect_timeout).map_err(|error| told(&error))?;
    Ok(Arc::new(Redis {
        way: Arc::new(way),
        connect_timeout,
        timeout: spec.timeout,
        prefix: spec.prefix.clone(),
        connection: Arc::default(),
        is_silent: AtomicBool::new(false),
        is_renewing: Arc::default(),
        scripts: [TAKE, BEAT, TALLY].map(Script::new),
        background,
    }))
}

/// How connections are made.
enum Way {
    Single(Client, AsyncConnectionConfig),
    Sentinel(tokio::sync::Mutex<SentinelClient>, AsyncConnectionConfig),
    Cluster(redis::cluster::ClusterClient),
}

#[derive(Clone)]
enum Connection {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

struct Redis {
    way: Arc<Way>,
    connect_timeout: Duration,
    timeout: Duration,
    prefix: String,
    connection: Arc<Mutex<Option<Connection>>>,
    /// Whether a server of a cluster has not answered of late.
    is_silent: AtomicBool,
    /// Whether another connection is being made.
    is_renewing: Arc<AtomicBool>,
    scripts: [Script; 3],
    /// Where connections live; without it there are none.
    background: Option<Handle>,
}

/// A script, and the name by which a server knows it once it has seen it.
struct Script {
    text: &'static str,
    name: String,
}

impl Script {
    fn new(text: &'static str) -> Self {
        Self { text, name: redis::Script::new(text).get_hash().to_owned() }
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl Way {
    fn new(spec: &StoreSpec, connect_timeout: Duration) -> Result<Self, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(connect_timeout))
            .set_response_timeout(Some(connect_timeout));
        let certificates = TlsCertificates { client_tls: None, root_cert: spec.ca_pem.clone() };
        let address = |server: &StoreServer| {
            let host = server.host.clone();
            match spec.is_tls {
                true => ConnectionAddr::TcpTls {
                    host,
                    port: server.port,
                    insecure: false,
                    tls_params: None,
                },
                false => ConnectionAddr::Tcp(host, server.port),
            }
        };
        let mut user = RedisConnectionInfo::default().set_db(i64::from(spec.database));
        if let Some(name) = &spec.username {
            user = user.set_username(name);
        }
        if let Some(password) = &spec.password {
            user = user.set_password(password.reveal());
        }
        Ok(match &spec.shape {
            StoreShape::Single(server) => {
                let info = address(server).into_connection_info()?.set_redis_settings(user);
                let client = match spec.is_tls {
                    true => Client::build_with_tls(info, certificates)?,
                    false => Client::open(info)?,
                };
                Self::Single(client, config)
            }
            StoreShape::Cluster(servers) => {
                let nodes: Result<Vec<_>, _> = servers
                    .iter()
                    .map(|server| {
                        let info = address(server).into_connection_info()?;
                        Ok::<_, RedisError>(info.set_redis_settings(user.clone()))
                    })
                    .collect();
                let mut builder = ClusterClientBuilder::new(nodes?)
                    .connection_timeout(connect_timeout)
                    .response_timeout(spec.timeout)
                    .retries(1);
                if spec.is_tls {
                    builder = builder.tls(TlsMode::Secure).certs(certificates);
                }
                Self::Cluster(builder.build()?)
            }
            StoreShape::Sentinel { sentinels, master, username, password } => {
                let all: Vec<_> = sentinels.iter().map(address).collect();
                let kind = SentinelServerType::Master;
                let builder = SentinelClientBuilder::new(all, master.clone(), kind)?;
                let mut builder = towards_servers(builder, spec, &certificates);
                if let Some(name) = username {
                    builder = builder.set_client_to_sentinel_username(name);
                }
                if let Some(password) = password.as_ref().map(Secret::reveal) {
                    builder = builder.set_client_to_sentinel_password(password);
                }
                Self::Sentinel(tokio::sync::Mutex::new(builder.build()?), config)
            }
        })
    }

    async fn connect(&self) -> Result<Connection, RedisError> {
        Ok(match self {
            Self::Single(client, config) => {
                Connection::One(client.get_multiplexed_async_connection_with_config(config).await?)
            }
            Self::Sentinel(client, config) => {
                let mut client = client.lock().await;
                Connection::One(client.get_async_connection_with_config(config).await?)
            }
            Self::Cluster(client) => Connection::Cluster(client.get_async_connection().await?),
        })
    }
}

/// What is said to the servers that Sentinels watch, and how both are spoken to.
fn towards_servers(
    builder: SentinelClientBuilder,
    spec: &StoreSpec,
    certificates: &TlsCertificates,
) -> SentinelClientBuilder {
    let mut builder = builder.set_client_to_redis_db(i64::from(spec.database));
    if spec.is_tls {
        builder = builder
            .set_client_to_redis_tls_mode(TlsMode::Secure)
            .set_client_to_sentinel_tls_mode(TlsMode::Secure)
            .set_client_to_redis_certificates(certificates.clone())
            .set_client_to_sentinel_certificates(certificates.clone());
    }
    if let Some(name) = &spec.username {
        builder = builder.set_client_to_redis_username(name);
    }
    if let Some(password) = &spec.password {
        builder = builder.set_client_to_redis_password(password.reveal());
    }
    builder
}

impl Connection {
    async fn send(&mut self, command: &Cmd) -> Result<Value, RedisError> {
        match self {
            Self::One(connection) => connection.req_packed_command(command).await,
            Self::Cluster(connection) => connection.req_packed_command(command).await,
        }
    }
}

impl Redis {
    fn connection(&self) -> Option<Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Gives a connection up that is of no more use, so that the next beat makes another.
    fn give_up(&self) {
        *self.connection.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn is_cluster(&self) -> bool {
        matches!(*self.way, Way::Cluster(_))
    }

    /// How long it may take until there is a connection.
    fn connect_limit(&self) -> Duration {
        if self.is_cluster() { self.connect_timeout * CLUSTER_TIMES } else { self.connect_timeout }
    }

    /// Makes another connection to a cluster of which a server was silent, beside the one that goes on meanwhile: it finds
    /// out anew which server has what. The client does so by itself only if a server says that it is not the right one, and
    /// one that stands still says nothing.
    fn renew(&self) {
        let Some(background) = &self.background else { return };
        if !self.is_silent.swap(false, Ordering::Relaxed)
            || self.is_renewing.swap(true, Ordering::Relaxed)
        {
            return;
        }
        let (way, connection) = (Arc::clone(&self.way), Arc::clone(&self.connection));
        let (limit, is_renewing) = (self.connect_limit(), Arc::clone(&self.is_renewing));
        background.spawn(async move {
            if let Ok(Ok(made)) = timeout(limit, way.connect()).await {
                *connection.lock().unwrap_or_else(PoisonError::into_inner) = Some(made);
            }
            is_renewing.store(false, Ordering::Relaxed);
        });
    }

    /// The connection, made if there is none.
    async fn connected(&self) -> Result<Connection, String> {
        if let Some(connection) = self.connection() {
            return Ok(connection);
        }
        let Some(background) = &self.background else {
            return Err("nothing is alive here".to_owned());
        };
        let way = Arc::clone(&self.way);
        let limit = self.connect_limit();
        let mut connecting = JoinSet::new();
        connecting.spawn_on(async move { timeout(limit, way.connect()).await }, background);
        let connection = match connecting.join_next().await {
            Some(Ok(Ok(Ok(connection)))) => connection,
            Some(Ok(Ok(Err(error)))) => return Err(told(&error)),
            Some(Ok(Err(_))) => return Err(format!("no connection within {limit:?}")),
            Some(Err(_)) | None => return Err("connecting was given up".to_owned()),
        };
        *self.connection.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection.clone());
        Ok(connection)
    }

    async fn run(
        &self,
        mut connection: Connection,
        script: &Script,
        keys: &[String],
        words: &[String],
    ) -> Result<Value, String> {
        let command = |name: &str, body: &str| {
            let mut command = cmd(name);
            command.arg(body).arg(keys.len()).arg(keys).arg(words);
            command
        };
        let running = async {
            let value = connection.send(&command("EVALSHA", &script.name)).await;
            match value.and_then(Value::extract_error) {
                Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                    let value = connection.send(&command("EVAL", script.text)).await;
                    value.and_then(Value::extract_error)
                }
                other => other,
            }
        };
        match timeout(self.timeout, running).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => {
                let is_wrong_server = error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly);
                if is_wrong_server || (error.is_unrecoverable_error() && !self.is_cluster()) {
                    self.give_up();
                }
                self.is_silent.store(self.is_cluster(), Ordering::Relaxed);
                Err(told(&error))
            }
            Err(_) => {
                self.is_silent.store(self.is_cluster(), Ordering::Relaxed);
                Err(format!("no answer within {:?}", self.timeout))
            }
        }
    }

    /// Asks for a few counts with one script.
    async fn take_some(&self, asks: &[Ask]) -> Vec<Result<Grant, String>> {
        let failed = |why: String| asks.iter().map(|_| Err(why.clone())).collect();
        let Some(connection) = self.connection() else {
            return failed("there is no connection".to_owned());
        };
        let keys: Vec<String> =
            asks.iter().map(|ask| [&*self.prefix, &*ask.name].concat()).collect();
        let mut words = vec![String::new()];
        asks.iter().for_each(|ask| write(ask, &mut words));
        match self.run(connection, &self.scripts[0], &keys, &words).await {
            Err(why) => failed(why),
            Ok(value) => read(value, asks).unwrap_or_else(|| failed(NONSENSE.to_owned())),
        }
    }
}

impl Redis {
    /// Tells a few counts with one script.
    async fn tally_some(
        &self,
        gateway: &str,
        sequence: u64,
        tallies: &[Tally],
    ) -> Vec<Result<Total, String>> {
        let failed = |why: String| tallies.iter().map(|_| Err(why.clone())).collect();
        let Some(connection) = self.connection() else {
            return failed("there is no connection".to_owned());
        };
        let keys: Vec<String> =
            tallies.iter().map(|it| [&*self.prefix, &*it.name].concat()).collect();
        let mut words = vec![gateway.to_owned(), sequence.to_string()];
        for tally in tallies {
            words.extend([tally.ends_s, tally.own].map(|number| number.to_string()));
            words.extend([tally.is_first, tally.is_reset].map(|it| u8::from(it).to_string()));
        }
        match self.run(connection, &self.scripts[2], &keys, &words).await {
            Err(why) => failed(why),
            Ok(value) => {
                totals(value, tallies.len()).unwrap_or_else(|| failed(NONSENSE.to_owned()))
            }
        }
    }

    /// Counts that one script may change.
    fn together(&self) -> usize {
        // A script that names several keys must find them all on one server.
        if self.is_cluster() { 1 } else { TOGETHER_MAX }
    }
}

/// Has all going on at once: the connection sends one behind the other without waiting for answers.
async fn all<T>(parts: impl Iterator<Item = impl Future<Output = Vec<T>>>) -> Vec<T> {
    let mut parts: Vec<_> = parts.map(|part| Some(Box::pin(part))).collect();
    let mut told: Vec<Option<Vec<T>>> = parts.iter().map(|_| None).collect();
    std::future::poll_fn(|cx| {
        let mut is_done = true;
        for (part, told) in parts.iter_mut().zip(&mut told) {
            let Some(running) = part else { continue };
            match running.as_mut().poll(cx) {
                Poll::Ready(answers) => {
                    *told = Some(answers);
                    *part = None;
                }
                Poll::Pending => is_done = false,
            }
        }
        if is_done { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    told.into_iter().flatten().flatten().collect()
}

impl LimitStore for Redis {
    fn take(&self, asks: Vec<Ask>) -> BoxFuture<'_, Vec<Result<Grant, String>>> {
        Box::pin(
            async move { all(asks.chunks(self.together()).map(|asks| self.take_some(asks))).await },
        )
    }

    fn tally<'a>(
        &'a self,
        gateway: &'a str,
        sequence: u64,
        tallies: Vec<Tally>,
    ) -> BoxFuture<'a, Vec<Result<Total, String>>> {
        Box::pin(async move {
            let parts = tallies.chunks(self.together());
            all(parts.map(|some| self.tally_some(gateway, sequence, some))).await
        })
    }

    fn beat<'a>(&'a self, gateway: &'a str) -> BoxFuture<'a, Result<u32, String>> {
        Box::pin(async move {
            self.renew();
            let connection = self.connected().await?;
            let keys = [format!("{}gateways", self.prefix)];
            let words = [gateway.to_owned(), ALIVE.as_millis().to_string()];
            let told = match self.run(connection, &self.scripts[1], &keys, &words).await {
                Ok(Value::Int(count)) => u32::try_from(count).ok().filter(|count| *count > 0),
                Ok(_) => None,
                Err(why) => {
                    // A new one may find another server behind the same name.
                    self.give_up();
                    return Err(why);
                }
            };
            told.ok_or_else(|| NONSENSE.to_owned())
        })
    }
}

/// What the script reads of one count.
fn write(ask: &Ask, words: &mut Vec<String>) {
    let numbers = [ask.rules.len() as u64, ask.want, ask.least, ask.back];
    words.extend(numbers.map(|number| number.to_string()));
    words.push(u8::from(ask.is_reset).to_string());
    words.push(ask.seen.to_string());
    for (index, rule) in ask.rules.iter().enumerate() {
        let (kind, a, b) = match *rule {
            Counting::Gcra { cost_ns, burst_ns } => ("g", cost_ns, burst_ns),
            Counting::Window { count, period_ns } => ("w", count, period_ns),
        };
        let owed = ask.owed.get(index).copied().unwrap_or(0);
        words.push(kind.to_owned());
        words.extend([a, b, owed].map(|number| number.to_string()));
    }
}

/// What the script told of each count; nothing if it is not what was asked for.
fn read(value: Value, asks: &[Ask]) -> Option<Vec<Result<Grant, String>>> {
    let Value::Array(answers) = value else { return None };
    if answers.len() != asks.len() {
        return None;
    }
    answers.into_iter().zip(asks).map(|(answer, ask)| grant(answer, ask).map(Ok)).collect()
}

fn totals(value: Value, count: usize) -> Option<Vec<Result<Total, String>>> {
    let Value::Array(answers) = value else { return None };
    let total = |answer: Value| match answer {
        Value::Array(words) => match words[..] {
            [Value::Int(total), Value::Int(own), Value::Int(sequence)] => Some(Total {
                total: u64::try_from(total).ok()?,
                own: u64::try_from(own).ok()?,
                sequence: u64::try_from(sequence).ok()?,
            }),
            _ => None,
        },
        _ => None,
    };
    let totals: Vec<_> = answers.into_iter().map(|it| total(it).map(Ok)).collect::<Option<_>>()?;
    (totals.len() == count).then_some(totals)
}

fn grant(answer: Value, ask: &Ask) -> Option<Grant> {
    let Value::Array(words) = answer else { return None };
    let number = |value: &Value| match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        _ => None,
    };
    let [granted, remaining, reset_ns, retry_ns, Value::BulkString(seen), used @ ..] = &words[..]
    else {
        return None;
    };
    let granted = number(granted).filter(|granted| *granted <= ask.want)?;
    if words.len() != ANSWER_HEAD + ask.rules.len() {
        return None;
    }
    Some(Grant {
        granted,
        remaining: number(remaining)?,
        reset_ns: number(reset_ns)?,
        retry_ns: number(retry_ns)?,
        used: used.iter().map(number).collect::<Option<_>>()?,
        seen: std::str::from_utf8(seen).ok()?.into(),
    })
}

/// What went wrong, without what was sent.
fn told(error: &RedisError) -> String {
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        _ => error.to_string(),
    }
}
