//! Upper bounds of everything that a client, a backend or a file can make grow. Each bound is a named
//! constant, so that it can be found, cited in a test and shown in a message.

/// Size of one config file in bytes.
pub const CONFIG_FILE_BYTES_MAX: usize = 8 << 20;
/// Number of files one config may be made of.
pub const CONFIG_FILES_MAX: usize = 1_000;
/// Values in one config, after aliases are expanded.
pub const CONFIG_NODES_MAX: usize = 2_000_000;
/// Nesting of one config document.
pub const CONFIG_DEPTH_MAX: usize = 64;
/// Bytes of an OpenAPI document that is imported; the largest that are published have half of it.
pub const OPENAPI_BYTES_MAX: usize = 32 << 20;
/// References that are followed from one to the next in an OpenAPI document.
pub const OPENAPI_REFERENCES_MAX: usize = 16;
/// Operations of an OpenAPI document.
pub const OPENAPI_ROUTES_MAX: usize = 20_000;
/// APIs of one workspace.
pub const WORKSPACE_APIS_MAX: usize = 1_000;
/// Routes of one workspace.
pub const WORKSPACE_ROUTES_MAX: usize = 20_000;
/// Routes of one workspace whose path is a regular expression: those of one host share an automaton.
pub const WORKSPACE_REGEXES_MAX: usize = 200;
/// Policies of one workspace.
pub const WORKSPACE_POLICIES_MAX: usize = 20_000;
/// Upstreams of one workspace.
pub const WORKSPACE_UPSTREAMS_MAX: usize = 1_000;
/// Targets of the upstreams of one workspace together.
pub const WORKSPACE_TARGETS_MAX: usize = 5_000;
/// Plans and roles of one workspace.
pub const WORKSPACE_PLANS_MAX: usize = 1_000;
/// Problems kept in one report; more are counted, not kept.
pub const PROBLEMS_MAX: usize = 200;
/// Size of a file that a `${file:…}` reference names, in bytes.
pub const SECRET_FILE_BYTES_MAX: usize = 1 << 20;

/// Bytes of an HTTP/1 request head, and of an HTTP/2 header list.
pub const HEAD_BYTES_MAX: usize = 64 << 10;
/// Informational answers (1xx) relayed for one request.
pub const INFORMATIONAL_MAX: usize = 16;
/// Header fields in one message.
pub const HEADERS_MAX: usize = 100;
/// Bytes of a request target (path and query).
pub const TARGET_BYTES_MAX: usize = 16 << 10;
/// Seconds a client may take to send a request head.
pub const HEAD_TIMEOUT_S: u64 = 15;
/// Seconds a keep-alive connection may be idle between two requests.
pub const IDLE_TIMEOUT_S: u64 = 75;
/// Seconds a client may take nothing of an answer that waits for it.
pub const WRITE_TIMEOUT_S: u64 = 60;
/// Bytes a connection's buffer has room for; a head or a piece of a body may make it larger.
pub const BUFFER_BYTES: usize = 16 << 10;
/// Empty buffers a thread keeps.
pub const BUFFERS_KEPT: usize = 64;
/// Bytes of body data up to which copying them beside the head is cheaper than writing them apart.
pub const COPY_BYTES_MAX: usize = 4 << 10;
/// Bytes that a client may send ahead of the answer it waits for.
pub const PIPELINED_BYTES_MAX: usize = 16 << 10;
/// Milliseconds for which a connection that a shutdown finds without a request may still bring one: what
/// was sent before need not have been seen yet.
pub const LAST_REQUEST_TIMEOUT_MS: u64 = 100;
/// Seconds for which a client that has closed its sending side is still answered.
pub const HALF_CLOSED_TIMEOUT_S: u64 = 5;
/// Bytes of a request body nobody wants that are read so that the connection can serve on.
pub const DRAIN_BYTES_MAX: u64 = 256 << 10;
/// Seconds in which a request body nobody wants must have come.
pub const DRAIN_TIMEOUT_S: u64 = 5;
/// Seconds of silence for which a closed connection still takes what the client sends, so that it can read
/// the last answer.
pub const LINGER_TIMEOUT_S: u64 = 2;
/// Seconds for which it does so in all.
pub const LINGER_TOTAL_S: u64 = 15;
/// Seconds for which a client may send its body as slowly as it likes.
pub const BODY_GRACE_S: u64 = 30;
/// Bytes a second that a client must send of its body on average after that, while it is waited for.
pub const BODY_RATE_MIN: u64 = 64;
/// Seconds for which nothing may pass through a tunnel of which one direction has ended.
pub const TUNNEL_HALF_CLOSED_S: u64 = 30;
/// File descriptors that neither clients nor connections to targets get, so that operators are answered, files
/// read and sockets handed over when all others are taken.
pub const DESCRIPTORS_KEPT: u64 = 1_024;
/// They are at most this part of all, as a divisor: a low limit leaves clients little enough.
pub const DESCRIPTORS_KEPT_PART: u64 = 8;
/// Seconds a TLS handshake may take.
pub const HANDSHAKE_TIMEOUT_S: u64 = 10;
/// Streams one HTTP/2 client connection may have open at a time.
pub const STREAMS_MAX: u32 = 128;
/// Bytes of one HTTP/2 stream's receive window.
pub const STREAM_WINDOW_BYTES: u32 = 256 << 10;
/// Bytes of one HTTP/2 connection's receive window.
pub const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;
/// Bytes buffered for writing on one HTTP/2 stream.
pub const STREAM_SEND_BUFFER_BYTES: usize = 64 << 10;
/// Bytes that one HTTP/1 connection of the admin listener may buffer in each direction.
pub const CONNECTION_BUFFER_BYTES: usize = 128 << 10;
/// Client connections one listener holds open.
pub const CONNECTIONS_PER_LISTENER_MAX: usize = 100_000;
/// Connections of one listener on their way to a worker that did not accept them; beyond that they stay where they are.
pub const HANDED_OVER_MAX: usize = 256;
/// Bytes of a request body where no `body_limit` policy says otherwise.
pub const BODY_BYTES_DEFAULT: u64 = 100 << 20;
/// Parameters captured from one path.
pub const PATH_PARAMS_MAX: usize = 16;
/// Segments of one path.
pub const PATH_SEGMENTS_MAX: usize = 256;

/// Idle connections kept per target and worker, unless said otherwise.
pub const POOL_IDLE_PER_TARGET: u16 = 64;
/// Attempts for one request, the first included.
pub const ATTEMPTS_MAX: u32 = 5;
/// Requests that wait for a place at one upstream.
pub const QUEUE_MAX: u32 = 100_000;
/// Lists that the consumers who wait at one upstream are dealt out to, for each priority,
pub const FAIR_LISTS: usize = 256;
/// and seconds after which they are dealt out anew.
pub const FAIR_SEED_S: u64 = 10;
/// Seconds after which whom an overloaded upstream turned away is told to come back: at least one, and at most so many,
/// at random, so that they do not all come at once.
pub const OVERLOAD_RETRY_S_MAX: u64 = 5;
/// Seconds after which it is looked whether an upstream has turned requests away,
pub const SHED_LOOK_S: u64 = 1;
/// and looks without any until that counts as over.
pub const SHED_QUIET_LOOKS: u32 = 10;
/// Seconds over which the budget of repetitions looks back,
pub const RETRY_WINDOW_S: u64 = 10;
/// and repetitions per second that it allows whatever the traffic.
pub const RETRY_FLOOR_PER_S: u64 = 10;
/// Bytes of an answer that are read so that its connection can take the repetition,
pub const RETRY_DRAIN_BYTES_MAX: u64 = 64 << 10;
/// and milliseconds for which they may take.
pub const RETRY_DRAIN_TIMEOUT_MS: u64 = 50;
/// Seconds that a target may ask by `Retry-After` to wait before a repetition; one that asks for more has its answer passed on.
pub const RETRY_AFTER_MAX_S: u64 = 2;
/// Seconds that shares of failures may look back.
pub const FAILURE_WINDOW_MAX_S: u64 = 600;
/// Statuses that one list in a config may name.
pub const STATUSES_MAX: usize = 64;
/// Bytes of an upstream's response head.
pub const UPSTREAM_HEAD_BYTES_MAX: usize = 64 << 10;
/// Addresses that one name stands for.
pub const ADDRESSES_PER_NAME_MAX: usize = 256;

/// Keys (consumers, addresses) one rate limit remembers; the stalest are forgotten beyond it.
pub const LIMITER_KEYS_MAX: usize = 1 << 20;
/// Keys of one limit of which a gateway holds a piece of what a shared store gave; others are counted by the gateway alone.
pub const LEASE_KEYS_MAX: usize = 1 << 18;
/// Requests that wait for a store to give something for one key; more are judged by the gateway alone.
pub const LEASE_WAITERS_MAX: usize = 4_096;
/// Questions to a store that wait for their turn; for more, requests are judged by the gateway alone.
pub const STORE_QUEUE_MAX: usize = 1 << 16;
/// Questions that are sent to a store together.
pub const STORE_BATCH_MAX: usize = 256;
/// Gateways that share a store, as far as that is believed.
pub const STORE_GATEWAYS_MAX: u32 = 10_000;
/// Milliseconds for which requests wait for a store, at most.
pub const STORE_TIMEOUT_MS_MAX: u64 = 10_000;
/// Quotas that hold together, such as one a day and one a month.
pub const QUOTAS_MAX: usize = 8;
/// Who has used how much of which quota: so many counts a gateway keeps in memory and in its journal. Beyond it those
/// are forgotten of which the least was used.
pub const QUOTA_COUNTS_MAX: usize = 4_000_000;
/// Seconds by which a clock may be set back over the beginning of a window without leaving it.
pub const CLOCK_BACK_MAX_S: i64 = 3_600;
/// How often per minute credentials from one address (of IPv6 the first 64 bits) may be refused.
pub const FAILURES_PER_ADDRESS: u32 = 30;
/// How often per minute credentials for one account may be refused.
pub const FAILURES_PER_ACCOUNT: u32 = 10;
/// Passwords of one address (of IPv6 the first 64 bits) that are checked at the same time,
pub const LOGINS_PER_ADDRESS: usize = 4;
/// and that wait for it.
pub const LOGINS_WAITING_PER_ADDRESS: usize = 32;
/// Passwords for one account that are checked at the same time,
pub const LOGINS_PER_ACCOUNT: usize = 2;
/// and that wait for it.
pub const LOGINS_WAITING_PER_ACCOUNT: usize = 64;
/// Addresses from which accounts were used with success that are remembered,
pub const FAMILIAR_ADDRESSES: usize = 10_000;
/// and seconds for which they are.
pub const FAMILIAR_ADDRESS_S: u64 = 86_400;
/// Computations (such as checks of passwords) that wait for a processor, on the whole node.
pub const COMPUTE_QUEUE_MAX: usize = 64;
/// Bytes of an API key as sent by a client.
pub const API_KEY_BYTES_MAX: usize = 256;
/// Bytes of what names a credential: a user name, the id of a secret, an issuer, a subject.
pub const CREDENTIAL_ID_BYTES_MAX: usize = 256;
/// Bytes of a password.
pub const PASSWORD_BYTES_MAX: usize = 1_024;
/// Verified passwords that are remembered.
pub const PASSWORDS_REMEMBERED: usize = 10_000;
/// Different costs (memory, passes, lanes) that hashes of passwords may have: each attempt costs one hash of each.
pub const PASSWORD_COSTS_MAX: usize = 4;
/// Seconds for which a verified password is remembered.
pub const PASSWORD_REMEMBERED_S: u64 = 60;
/// Bytes of a secret by which messages are signed: as many as its digests have (RFC 2104, 3).
pub const HMAC_SECRET_BYTES_MIN: usize = 32;
/// Seconds after which a client certificate is verified again, for a request on a connection that is still open.
pub const CLIENT_VERIFIED_S: u64 = 60;
/// Seconds by which a client's clock may be ahead when it signs a request, and for which no signed request is believed
/// after a start.
pub const SIGNATURE_SKEW_S: u64 = 5;
/// Seconds for which a signature of a request may be believed.
pub const SIGNATURE_WINDOW_S_MAX: u64 = 3_600;
/// Bytes of each header that belongs to the signature of a request.
pub const SIGNATURE_BYTES_MAX: usize = 4 << 10;
/// Parts of a request that its signature covers.
pub const SIGNATURE_COMPONENTS_MAX: usize = 64;
/// Bytes of each header by which a trusted proxy tells of a client's certificate (RFC 9440).
pub const TOLD_CERTIFICATE_BYTES_MAX: usize = 32 << 10;
/// Certificates beside a client's own that a trusted proxy tells of.
pub const TOLD_CHAIN_MAX: usize = 10;
/// Certificates that trusted proxies told of and that are remembered, for each listener.
pub const TOLD_CERTIFICATES_REMEMBERED: usize = 10_000;
/// Seconds for which they are.
pub const TOLD_CERTIFICATE_REMEMBERED_S: u64 = 60;
/// Bytes of one expression in a config.
pub const EXPRESSION_BYTES_MAX: usize = 4 << 10;
/// Bytes of a regular expression's compiled program.
pub const REGEX_BYTES_MAX: usize = 1 << 20;

/// Lines of the access log waiting for the writer, in buffers of up to [`LOG_BUFFER_BYTES`].
pub const LOG_QUEUE_BUFFERS: usize = 128;
/// Bytes a worker gathers before it hands its access lines to the writer.
pub const LOG_BUFFER_BYTES: usize = 64 << 10;
/// Bytes of one field of an access line that a client controls.
pub const LOG_FIELD_BYTES_MAX: usize = 1 << 10;
/// Routes that get their own label in metrics; the others share the label `other`.
pub const METRIC_ROUTES_MAX: usize = 2_000;
/// APIs, listeners and upstreams, of each so many, that get their own label in metrics.
pub const METRIC_NAMES_MAX: usize = 2_000;
/// Targets that get their own label in metrics.
pub const METRIC_TARGETS_MAX: usize = 10_000;
/// Empty buffers a worker keeps for its next access lines.
pub const LOG_SPARE_BUFFERS: usize = 4;
/// Seconds the end of the program waits for the access log to be written out.
pub const LOG_CLOSE_TIMEOUT_S: u64 = 5;
/// Turns in the sequence by which targets of different weights are chosen.
pub const BALANCE_TURNS_MAX: u64 = 4_096;
/// SRV records taken from one DNS answer.
pub const RECORDS_PER_SERVICE_MAX: usize = 64;
/// Seconds for which a DNS answer holds at least, whatever it says itself.
pub const DNS_VALID_MIN_S: u64 = 1;
/// Seconds for which a DNS answer holds at most.
pub const DNS_VALID_MAX_S: u64 = 3_600;
/// Seconds after which a name that could not be resolved is asked for again, at the latest.
pub const DNS_PAUSE_MAX_S: u64 = 30;
/// Milliseconds between two looks at who takes requests, where priorities, zones, slow start or a panic
/// threshold depend on it.
pub const PLAN_PERIOD_MS: u64 = 200;
/// Slots of the table by which keys find their targets: a prime number, large enough that a thousand
/// targets get shares that differ by a few percent. It is the same for all, so that targets can be added
/// without moving other keys.
pub const HASH_SLOTS: usize = 65_537;
/// Priorities that a config can tell apart.
pub const PRIORITY_MAX: u8 = 15;
/// Name servers of a config.
pub const NAME_SERVERS_MAX: usize = 8;
/// Bytes of one cookie header that are looked through for the cookie of a target.
pub const STICKY_COOKIE_BYTES_MAX: usize = 8 << 10;
/// Milliseconds in which a slow answer of a target is forgotten to a third (1/e).
pub const LATENCY_DECAY_MS: u32 = 10_000;
/// Percent of its weight that a target has at least while its slow start goes on: without any request it
/// would never become warm.
pub const RAMP_PERCENT_MIN: u32 = 10;
/// Addresses of one name that one connection attempt tries.
pub const ADDRESSES_PER_CONNECT_MAX: usize = 4;
/// Streams that one HTTP/2 connection to a target carries before another is opened.
pub const STREAMS_PER_LINK: usize = 100;
/// HTTP/2 connections of one worker to one target; a request beyond what they carry waits.
pub const LINKS_PER_SHELF_MAX: usize = 32;
/// Milliseconds that a request waits for a place on the HTTP/2 connections to a target, unless its upstream's
/// `concurrency` says how long requests wait.
pub const STREAM_WAIT_MS: u64 = 3_000;
/// Bytes of the receive window of an HTTP/2 connection to a target: those of all its streams, so that clients
/// who read nothing do not stop the answers of others.
pub const TARGET_CONNECTION_WINDOW_BYTES: u32 = 100 * STREAM_WINDOW_BYTES;
/// Bytes of what a proxy answers to CONNECT.
pub const PROXY_HEAD_BYTES_MAX: usize = 16 << 10;
/// Seconds of silence while requests wait after which an HTTP/2 target is asked whether it is there.
pub const TARGET_PING_AFTER_S: u64 = 5;
/// Seconds in which an HTTP/2 target must answer a PING.
pub const TARGET_PING_TIMEOUT_S: u64 = 5;
/// Seconds after which a client that waits for 100 Continue gets it from us, if an HTTP/2 target says nothing.
pub const EXPECT_TIMEOUT_S: u64 = 1;
/// Bytes of an answer's body that a config holds.
pub const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Bytes of the body of a mirrored request, unless said otherwise,
pub const MIRROR_BODY_BYTES: u64 = 64 << 10;
/// and at most.
pub const MIRROR_BODY_BYTES_MAX: usize = 8 << 20;
/// Copies that one `mirror` policy has under way, unless said otherwise,
pub const MIRRORS_UNDER_WAY: u32 = 100;
/// and at most.
pub const MIRRORS_MAX: usize = 10_000;
/// Bytes of the answer to a mirrored request that are read so that its connection can serve on.
pub const MIRROR_ANSWER_BYTES_MAX: u64 = 1 << 20;
/// Query parameters an expression or an API key look-up reads; a request with more is refused there.
pub const QUERY_PARAMS_MAX: usize = 256;
/// Nesting of one expression in a config.
pub const EXPRESSION_DEPTH_MAX: usize = 32;
/// Bytes of the first line of an HTTP/1 head: the longest target, and room for method and version.
pub const FIRST_LINE_BYTES_MAX: usize = TARGET_BYTES_MAX + 64;
/// Empty lines skipped ahead of an HTTP/1 request.
pub const EMPTY_LINES_MAX: usize = 2;
/// Names of header fields that a thread remembers, so that they cost no allocation, in pairs.
pub const HEADER_NAME_PAIRS: usize = 256;
/// Bytes of a header field's name that is remembered.
pub const HEADER_NAME_BYTES_KEPT: usize = 64;
/// Bytes of the extensions of one chunk.
pub const CHUNK_EXTENSION_BYTES_MAX: usize = 256;
/// Bytes of the extensions of all chunks of one body.
pub const CHUNK_EXTENSIONS_TOTAL: usize = 16 << 10;
/// Bytes of a trailer section.
pub const TRAILER_BYTES_MAX: usize = 8 << 10;
/// Fields in a trailer section.
pub const TRAILERS_MAX: usize = 32;
/// Bytes of a body read from an HTTP/1 connection at once.
pub const BODY_READ_BYTES_MAX: usize = 64 << 10;
/// Seconds after which an HTTP/2 connection is asked to end, give or take a tenth, so that clients spread
/// over workers and gateways again.
pub const CONNECTION_AGE_MAX_S: u64 = 3_600;
/// Seconds a client may take to answer a PING, also the one that goes with a GOAWAY.
pub const PING_TIMEOUT_S: u64 = 20;
/// Seconds an HTTP/2 connection that was broken off may take to write its last frame.
pub const GOAWAY_TIMEOUT_S: u64 = 5;
/// Seconds that an HTTP/2 client which was shown out may be silent before it has taken all that was sent.
pub const FAREWELL_TIMEOUT_S: u64 = 20;
/// Seconds that such a client has in all.
pub const FAREWELL_TOTAL_S: u64 = 60;
/// Seconds between two looks at the time limits of an HTTP/2 connection: they may be late by as much.
pub const PULSE_S: u64 = 5;
/// Bytes of the HPACK dynamic table that a client may fill.
pub const HPACK_TABLE_BYTES: u32 = 4 << 10;
/// Bytes of the payload of one HTTP/2 frame from a client.
pub const FRAME_BYTES_MAX: u32 = 16 << 10;
/// Bytes of bookkeeping for small DATA frames of one HTTP/2 connection that wait to be read.
pub const DATA_FRAME_BUDGET_BYTES: usize = 1 << 20;
/// Streams of one HTTP/2 connection that were opened and reset before they were looked at.
pub const PENDING_RESETS_MAX: usize = 100;
/// Streams of one HTTP/2 connection that the gateway may reset for breaches of the protocol, in all.
pub const STREAM_ERRORS_MAX: usize = 1_000;
/// Streams that one HTTP/2 connection remembers after the gateway has reset them, since frames for them may
/// be on their way,
pub const RESET_STREAMS_KEPT: usize = 128;
/// and seconds for which it does.
pub const RESET_STREAMS_KEPT_S: u64 = 10;
/// Streams that one HTTP/2 client may reset at once before it was answered.
pub const EARLY_RESETS_BURST: u32 = 200;
/// Streams that one HTTP/2 client may reset per second before it was answered, beside one for each
/// answer.
pub const EARLY_RESETS_PER_S: u32 = 20;
/// Frames beside HEADERS and DATA that one HTTP/2 client may send at once.
pub const CONTROL_FRAMES_BURST: u32 = 1_000;
/// Such frames per second, beside those that go with requests and answers.
pub const CONTROL_FRAMES_PER_S: u32 = 100;
/// Such frames for each HEADERS from the client and each piece of data to it: priorities, windows, pings.
pub const CONTROL_FRAMES_PER_MESSAGE: u32 = 4;
/// Seconds that a gRPC caller may say it waits; more counts as this.
pub const GRPC_TIMEOUT_MAX_S: u64 = 30 * 24 * 3_600;
/// Answers that are compressed at a time; beyond it answers go out as they are.
pub const COMPRESSIONS_MAX: usize = 1_024;
/// Codings that a request body may have one upon another.
pub const CODINGS_MAX: usize = 2;
/// Bytes that come out of a decoder in one go.
pub const DECOMPRESS_PIECE_BYTES: usize = 16 << 10;
/// Bytes that may come out of a decoder whatever went in.
pub const DECOMPRESS_GRACE_BYTES: u64 = 64 << 10;
/// Bytes that the decoders of all request bodies may hold at a time; beyond it compressed requests are told to come back.
pub const DECOMPRESS_MEMORY_MAX: u64 = 1 << 30;
/// Logarithm of the largest window of zstd (RFC 9659).
pub const DECOMPRESS_WINDOW_LOG: u32 = 23;
/// Members of one gzip body.
pub const DECOMPRESS_MEMBERS_MAX: u32 = 4_096;
/// Bytes that are compressed in one go.
pub const COMPRESS_PIECE_BYTES: usize = 8 << 10;
/// Bytes a file of the access log must be allowed before it is moved away: several batches of lines.
pub const LOG_FILE_BYTES_MIN: u64 = 1 << 20;
/// Bytes of the header by which a proxy says in front of a connection whom it carries, its additions included.
pub const PROXY_HEADER_BYTES_MAX: usize = 4 << 10;
/// Seconds a proxy may take to send it.
pub const PROXY_HEADER_TIMEOUT_S: u64 = 5;
/// Hops of a request through proxies that are looked at, from the nearest on.
pub const FORWARDED_HOPS_MAX: usize = 32;
/// Parts into which the counts of connections by address are divided, each under a lock of its own.
pub const CROWD_SHARDS: usize = 64;
/// Traced requests whose spans wait for the exporter; those of others are dropped and counted.
pub const TRACES_WAITING_MAX: usize = 2_048;
/// Traced requests whose spans go to the collector at once.
pub const TRACES_PER_BATCH: usize = 512;
/// Bytes of the body of an idempotent request that is remembered, so that the request can be sent again.
pub const REPEAT_BODY_BYTES_MAX: u64 = 64 << 10;
/// Bytes by which a TLS client must have said whom it asks for, where TLS is passed on unopened.
pub const CLIENT_HELLO_BYTES_MAX: usize = 16 << 10;
/// Parts of the time for which a connection that is passed on as bytes may be silent, after each of which somebody looks.
pub const RELAY_IDLE_PARTS: u32 = 4;
/// Bytes of a signed token.
pub const TOKEN_BYTES_MAX: usize = 8 << 10;
/// Bytes of an issuer's set of keys, or of the document that says where it is.
pub const KEY_SET_BYTES_MAX: usize = 512 << 10;
/// Keys of an issuer.
pub const KEY_SET_KEYS_MAX: usize = 128;
/// Keys that are tried on a token that names none.
pub const KEYS_TRIED_MAX: usize = 8;
/// Microseconds that checking a signature may take within the request path, about; what takes longer is done beside it.
pub const SIGNATURE_US_MAX: u32 = 200;
/// Such longer checks that are under way or wait for a processor, on the whole node; others wait for them.
pub const LONG_CHECKS_MAX: usize = 16;
/// Proofs of possession whose signature took long to check, and of which the outcome is remembered until the request goes
/// on.
pub const LONG_PROOFS_REMEMBERED: usize = 1_024;
/// Bytes of the path of a Unix socket: what the system has room for, without the byte that ends it.
pub const UNIX_PATH_BYTES_MAX: usize = 107;
/// Seconds between two fetches of an issuer's keys, where it does not say how long they are good for,
pub const KEYS_AGE_DEFAULT_S: u64 = 600;
/// at least,
pub const KEYS_AGE_MIN_S: u64 = 60;
/// and at most.
pub const KEYS_AGE_MAX_S: u64 = 24 * 3_600;
/// Seconds for which keys go on after they were fetched for the last time.
pub const KEYS_STALE_MAX_S: u64 = 24 * 3_600;
/// Seconds that one fetch may take.
pub const KEYS_FETCH_TIMEOUT_S: u64 = 10;
/// Seconds that a request waits for keys.
pub const KEYS_WAIT_S: u64 = 5;
/// Fetches at once that tokens can cause by naming keys that are not there,
pub const KEYS_ASKED_BURST: u32 = 4;
/// and seconds between two such fetches then.
pub const KEYS_ASKED_PAUSE_S: u64 = 10;
/// Names of keys of one issuer that are remembered as not there,
pub const KEYS_UNKNOWN_MAX: usize = 1_024;
/// and seconds for which they are.
pub const KEYS_UNKNOWN_S: u64 = 10;
/// Fetches of an issuer's keys after which it is asked anew where they are.
pub const KEYS_DISCOVERY_EVERY: u32 = 16;
/// Bytes of verified tokens that one policy remembers, about.
pub const VERIFIED_TOKENS_BYTES_MAX: u64 = 128 << 20;
/// Seconds for which a verified token is remembered.
pub const VERIFIED_TOKEN_S: u64 = 300;
/// Bytes of what a token says of whom it is about.
pub const CONSUMER_NAME_BYTES_MAX: usize = 256;
/// Groups that are taken from a token.
pub const TOKEN_GROUPS_MAX: usize = 128;
/// Bytes of what an external authoriser answers, its message to the client included.
pub const AUTHORISER_ANSWER_BYTES_MAX: usize = 64 << 10;
/// Bytes of a request's body that an authoriser may be told.
pub const AUTHORISER_BODY_BYTES_MAX: usize = 1 << 20;
/// Seconds in which a client must have sent as much of its body as an authoriser is told.
pub const AUTHORISER_BODY_TIMEOUT_S: u64 = 30;
/// Bytes that each answer of an authoriser may take where it is remembered; one that takes more has the places of several.
pub const AUTHORISER_CACHED_BYTES: u64 = 1 << 10;
/// Answers of an authoriser that one policy remembers, unless said otherwise,
pub const AUTHORISER_CACHE: usize = 10_000;
/// and at most,
pub const AUTHORISER_CACHE_MAX: usize = 1_000_000;
/// and seconds for which they may hold.
pub const AUTHORISER_CACHE_S_MAX: u64 = 3_600;
/// Bytes of one header by which a backend is told who calls; what is longer is left out.
pub const IDENTITY_VALUE_BYTES_MAX: usize = 8 << 10;
/// Headers by which one policy tells backends who calls.
pub const IDENTITY_CLAIMS_MAX: usize = 32;
/// Bytes of what a token endpoint answers.
pub const TOKEN_ANSWER_BYTES_MAX: usize = 64 << 10;
/// Bytes of a token that a backend gets.
pub const BACKEND_TOKEN_BYTES_MAX: usize = 16 << 10;
/// Seconds that obtaining one may take.
pub const BACKEND_TOKEN_TIMEOUT_S: u64 = 5;
/// Seconds for which a token is believed to hold where its issuer does not say.
pub const BACKEND_TOKEN_S: u64 = 300;
/// Seconds for which a token is used at most, whatever its issuer says.
pub const BACKEND_TOKEN_S_MAX: u64 = 24 * 3_600;
/// Seconds between two attempts to get another token after a backend refused one.
pub const BACKEND_TOKEN_PAUSE_S: u64 = 10;
/// Tokens of callers that one policy has exchanged and remembers.
pub const EXCHANGED_TOKENS_MAX: usize = 10_000;
/// Exchanges that are under way at one token endpoint; others wait for them.
pub const EXCHANGES_MAX: usize = 256;
/// Tokens of callers that could not be exchanged and are remembered,
pub const EXCHANGES_FAILED_MAX: usize = 10_000;
/// and seconds for which that is, where the endpoint refuses them.
pub const BACKEND_TOKEN_REFUSED_S: u64 = 10;
/// Seconds for which a token of the gateway's own may hold.
pub const INTERNAL_TOKEN_S_MAX: u64 = 300;
/// Keys by which one policy signs tokens, or that it publishes.
pub const INTERNAL_KEYS_MAX: usize = 8;
/// Bytes of the file in which signing keys are kept across restarts.
pub const KEPT_KEYS_BYTES_MAX: usize = 1 << 20;
/// Bytes of what an introspection endpoint says of a token.
pub const INTROSPECTION_BYTES_MAX: usize = 64 << 10;
/// Questions about tokens that are under way at one introspection endpoint; others wait for them.
pub const INTROSPECTIONS_MAX: usize = 256;
/// Bytes of memory for tokens that an endpoint has called bad, about.
pub const REFUSED_TOKENS_BYTES_MAX: u64 = 4 << 20;
/// Bytes of what tells one proof of possession from others (`jti`, RFC 9449).
pub const DPOP_ID_BYTES_MAX: usize = 256;
/// Bytes of the address that a proof is about.
pub const DPOP_URL_BYTES_MAX: usize = 8 << 10;
/// Seconds for which a nonce is good,
pub const DPOP_NONCE_S: u64 = 300;
/// and for which all clients get the same one.
pub const DPOP_NONCE_STEP_S: u64 = 30;
/// Proofs, and as many signatures, that are remembered so that none is believed twice. Each holder of a key has as many
/// as are left free; beyond it requests get 503.
pub const REPLAYS_MAX: usize = 1 << 20;
/// Bytes of the address that challenges tell of a resource's metadata (RFC 9728).
pub const CHALLENGE_URL_BYTES_MAX: usize = 1 << 10;
/// Limits that hold together, of a policy or a plan.
pub const LIMITS_MAX: usize = 8;
/// Roles of a config.
pub const ROLES_MAX: usize = 1_024;
/// Callers times routes for which it is asked in advance who reaches what.
pub const ACCESS_QUESTIONS_MAX: usize = 200_000;
/// Roles that the log tells of a caller who was refused.
pub const ROLES_TOLD_MAX: usize = 16;
/// Bytes of policies in Cedar, of their schema and of their entities.
pub const CEDAR_BYTES_MAX: usize = 4 << 20;
/// Policies in Cedar that one policy of the gateway asks.
pub const CEDAR_POLICIES_MAX: usize = 10_000;
/// Entities that policies in Cedar may ask about besides those of the request.
pub const CEDAR_ENTITIES_MAX: usize = 10_000;
/// Policies in Cedar that are told where a decision depends on them.
pub const CEDAR_TOLD_MAX: usize = 4;
/// Networks and addresses of one list,
pub const ADDRESS_LIST_ENTRIES_MAX: usize = 1_000_000;
/// and bytes of its file.
pub const ADDRESS_LIST_BYTES_MAX: usize = 64 << 20;
/// Entries from which on a list is large: one of them that loses more than half of them is thought to be cut.
pub const ADDRESS_LIST_LARGE: usize = 100;
/// Bytes of one of them as a text, with its prefix.
pub const ADDRESS_TEXT_BYTES_MAX: usize = 64;
/// Lists of addresses that one policy goes by.
pub const ADDRESS_LISTS_MAX: usize = 64;
/// Wrong lines of one file that are told.
pub const MISTAKES_TOLD_MAX: usize = 10;
/// Who has requests under way that a `concurrency` policy counts: so many of each policy; beyond it others are refused.
pub const CONCURRENCY_KEYS_MAX: usize = 1_000_000;
/// Who used a `bandwidth` just now: so many of each policy; beyond it others share one together.
pub const BANDWIDTH_KEYS_MAX: usize = 1_000_000;
/// Bytes a second of the slowest `bandwidth` there is: slower ones would wait for longer than other time limits let them.
pub const BANDWIDTH_MIN: u64 = 1 << 10;
/// Addresses of which one listener remembers how often they connected, for each of its rates; of the others those are
/// forgotten that used the least.
pub const ARRIVALS_REMEMBERED: usize = 65_536;
/// Seconds after which clients that were turned away for want of room are asked to come back, at least,
pub const COME_BACK_S_MIN: u64 = 1;
/// and at most: it is drawn, so that they do not all come at once.
pub const COME_BACK_S_MAX: u64 = 3;
/// Bytes of a database of places.
pub const GEO_DATABASE_BYTES_MAX: usize = 512 << 20;
/// Records of such a database that are looked at to learn what it says.
pub const GEO_RECORDS_SAMPLED: usize = 10_000;
/// Countries and networks that one policy names.
pub const GEO_RULES_MAX: usize = 10_000;
/// Times and days that one policy names.
pub const OPENING_TIMES_MAX: usize = 1_000;
/// Days in which the next opening is looked for.
pub const OPENING_DAYS_AHEAD: u16 = 400;
/// Hosts, and listeners, that are delegated to one workspace.
pub const WORKSPACE_HOSTS_MAX: usize = 1_000;
/// Consumers of one workspace that the control plane keeps.
pub const CONSUMERS_MAX: i64 = 1_000_000;
/// Applications of one workspace,
pub const APPLICATIONS_MAX: i64 = 1_000_000;
/// and of one consumer.
pub const APPLICATIONS_PER_CONSUMER_MAX: i64 = 10_000;
/// Credentials of one workspace,
pub const CREDENTIALS_MAX: i64 = 2_000_000;
/// and of one consumer by itself, or of one application.
pub const CREDENTIALS_PER_HOLDER_MAX: i64 = 100;
/// Groups or roles of one consumer.
pub const CONSUMER_GROUPS_MAX: usize = 128;
/// Letters of a title, or of what people call a credential.
pub const TITLE_LETTERS_MAX: usize = 200;
/// Secrets of one workspace,
pub const SECRETS_MAX: i64 = 10_000;
/// and bytes of each.
pub const SECRET_VALUE_BYTES_MAX: usize = 64 << 10;
/// Permissions of one role.
pub const ROLE_PATTERNS_MAX: usize = 128;
/// Keys of requests that may come again, of one user in a day,
pub const IDEMPOTENCY_KEYS_MAX: i64 = 100_000;
/// and bytes of an answer that is kept for them.
pub const IDEMPOTENT_ANSWER_BYTES_MAX: usize = 1 << 20;
/// Texts and patterns that one list of an `agents` policy names,
pub const AGENT_RULES_MAX: usize = 1_000;
/// the bots that it names,
pub const AGENT_BOTS_MAX: usize = 64;
/// and the domains of one of them.
pub const AGENT_DOMAINS_MAX: usize = 16;
/// Addresses of which it is remembered whether their names prove something,
pub const NAMES_KNOWN_MAX: usize = 65_536;
/// names of each that are looked at,
pub const NAMES_PER_ADDRESS_MAX: usize = 4;
/// addresses that are asked about at once,
pub const NAMES_ASKED_AT_ONCE: usize = 8;
/// that wait to be,
pub const NAMES_ASKED_WAITING_MAX: usize = 1_024;
/// seconds that asking about one may take,
pub const NAMES_ASKED_TIMEOUT_S: u64 = 10;
/// seconds after which it is asked again where nothing could be found out,
pub const NAMES_PAUSE_S: u64 = 10;
/// seconds for which what was found out holds, at least
pub const NAMES_VALID_MIN_S: u64 = 60;
/// and at most,
pub const NAMES_VALID_MAX_S: u64 = 24 * 3_600;
/// seconds for which it holds beyond that while it is asked again,
pub const NAMES_STALE_S: u64 = 3_600;
/// and seconds for which it holds, at most, that they prove nothing.
pub const NOT_PROVED_VALID_S: u64 = 600;
/// Bytes of what gateways keep of callers and secrets, for a start without the database,
pub const COLD_BYTES_MAX: usize = 512 << 20;
/// and changes that it does not have yet; with more, nobody is believed by it.
pub const COLD_CHANGES_MAX: usize = 10_000;
/// Bytes of a path to which somebody goes who has logged in.
pub const OWN_PATH_BYTES_MAX: usize = 1_024;
/// Groups that an identity provider names of somebody who logs in.
pub const IDENTITY_GROUPS_MAX: usize = 2_048;
/// Bytes of anything an identity provider calls somebody: names, addresses, subjects (OpenID Connect Core 1.0, 2, has 255 of
/// them for subjects).
pub const IDENTITY_NAME_BYTES_MAX: usize = 255;
/// Bytes of an identity provider's answer to a code.
pub const IDENTITY_ANSWER_BYTES_MAX: usize = 256 << 10;
/// Requests that the admin API answers at a time; more are asked to come again.
pub const ADMIN_IN_FLIGHT_MAX: usize = 64;
/// Letters of the id of a request to it that a client may choose,
pub const ADMIN_REQUEST_ID_MAX: usize = 64;
/// lists and maps within each other in a body,
pub const ADMIN_BODY_DEPTH_MAX: usize = 64;
/// bytes of a form,
pub const ADMIN_FORM_BYTES_MAX: usize = 4_096;
/// bytes of a body, unless an operation says otherwise: an object of 1 MiB, and what stands around it,
pub const ADMIN_BODY_BYTES_MAX: usize = (1 << 20) + 4_096;
/// bytes of a whole config, and what stands around it,
pub const ADMIN_CONFIG_BYTES_MAX: usize = 32 << 20;
/// bytes of a login,
pub const ADMIN_LOGIN_BYTES_MAX: usize = 16 << 10;
/// bytes of a value in a query,
pub const ADMIN_QUERY_VALUE_BYTES_MAX: usize = 512;
/// clients connected at a time, where more wait in the backlog of the system,
pub const ADMIN_CONNECTIONS_MAX: usize = 256;
/// bytes of the head of a request
pub const ADMIN_HEAD_BYTES_MAX: usize = 32 << 10;
/// and headers of a request.
pub const ADMIN_HEADERS_MAX: usize = 64;
