//! The order of kinds in a chain. A chain is sorted by [`rank`]; policies of one kind keep the order
//! in which they were inherited and listed. Replies pass the chain the other way round.

/// Every kind from first to last, each with the reason for its place after the one before it.
pub const ORDER: &[(&str, &str)] = &[
    (
        "cors",
        "first: a preflight carries no credentials (WHATWG Fetch), so it must be answered before \
         anybody asks for them; and last on the way back, so that even refusals carry the headers \
         without which a browser hides them from its page",
    ),
    (
        "hsts",
        "beside `cors`: last on the way back, so that refusals carry it too, and no other policy undoes it",
    ),
    (
        "compress",
        "before all that makes or changes answers, so that on their way back it is the last to touch the \
         body; after `cors`, which only adds headers",
    ),
    (
        "grpc_web",
        "before all that reads the request, which is one of gRPC from here on; answers are gRPC for the \
         others until they have passed",
    ),
    (
        "ip",
        "before identity and all else that costs: who may not come from there is not worth the check of a \
         credential, nor told that a service is being worked on",
    ),
    ("geo", "after `ip`, which costs less; before identity for the same reason"),
    ("agents", "after `ip` and `geo`: where a client is says more than what it says of itself"),
    ("hours", "beside `ip` and `geo`: who may not come at all is not told when to come back"),
    (
        "maintenance",
        "before identity: what identifies callers may be what is being worked on, and a 401 would hide \
         when to come back; after `cors`, so that pages of other origins can read it",
    ),
    (
        "websocket",
        "before identity: a page of a stranger's origin is refused whatever its browser sends for it; \
         after `cors`, which answers other requests",
    ),
    ("resource_metadata", "before identity: who has no token yet learns here where to get one"),
    ("mtls", "first of the ways to identify: what it looks at was proven before the request came"),
    ("api_key", "who calls must be known before anything is decided about them"),
    ("basic", "beside the other ways to identify"),
    ("hmac", "beside the other ways to identify; before all that changes what was signed"),
    ("jwt", "beside the other ways to identify"),
    ("introspection", "after `jwt`: asking somebody takes longer than verifying"),
    ("any", "beside the ways to identify that it chooses from"),
    ("all", "beside the ways to identify that it joins"),
    (
        "ext_authz",
        "after all other ways to identify, so that it is told who calls; before `deny` and `allow`, whose \
         expressions read what it says of the caller",
    ),
    (
        "acl",
        "after identity: it judges by the names of consumers and groups; it costs least, so it is asked first",
    ),
    ("deny", "after identity, since expressions read `consumer`; what is forbidden is told first"),
    ("allow", "beside `deny`: both must agree, so their order only decides which reason is told"),
    ("scopes", "beside `allow`: all must agree"),
    ("rbac", "beside `scopes`: what a token allows is told before what its holder may do"),
    #[cfg(feature = "cedar")]
    ("cedar", "after the others that decide who may: it costs most of them"),
    (
        "plan",
        "after access: who may not call uses up nothing of a plan; before everything that costs more than counting",
    ),
    ("rate_limit", "beside `plan`; what one of them refuses, the other gets back"),
    ("quota", "beside `rate_limit`, which is used up and free again sooner"),
    (
        "concurrency",
        "after the limits that count requests, which get back what it refuses: whoever has used them up takes no place",
    ),
    (
        "bandwidth",
        "after `concurrency`, which refuses who has too much under way before anybody waits",
    ),
    (
        "decompress",
        "after access and the limit on requests, since it costs more than they do; before all that reads, bounds or \
         copies the body",
    ),
    ("body_limit", "after `decompress`, so that it counts what comes out"),
    ("timeouts", "the first that only concerns requests which will be served"),
    (
        "split",
        "after identity, since it keeps consumers together; before `rewrite`, so that its expressions \
         read the path that was routed",
    ),
    ("steer", "after `split`: a rule that names an upstream is stronger than a share of all"),
    ("redirect", "before `rewrite`: it sends the client by the path the client knows"),
    ("rewrite", "after access and limits, which judge the path that was routed"),
    (
        "headers",
        "after all that reads the request, so that removing a header never blinds a policy; before \
         `respond`, whose answers pass the response part on their way back",
    ),
    (
        "identity_headers",
        "after `headers`, so that nothing changes what it says; before `mirror`, whose copies say it too",
    ),
    ("internal_jwt", "beside `identity_headers`, which says the same in another form"),
    (
        "backend_auth",
        "after all that reads the caller's credentials, which it replaces; copies by `mirror` go without",
    ),
    (
        "mirror",
        "after all that changes the request or refuses it: what is copied is what will be forwarded",
    ),
    (
        "errors",
        "late, so that on the way back its page is there before others treat it: `headers` has the last word \
         on its headers, and what compresses answers compresses it",
    ),
    ("jwks", "beside `respond`: it answers in place of the upstream"),
    ("respond", "last: it answers in place of the upstream whatever was let through"),
];

/// The position of a kind in a chain; unknown kinds come last.
#[must_use]
pub fn rank(name: &str) -> usize {
    ORDER.iter().position(|(kind, _)| *kind == name).unwrap_or(ORDER.len())
}
