//! Upstreams against servers of their own, over memory or loopback.

#[cfg(test)]
mod it {
    mod balancing;
    mod choosing;
    mod frames;
    mod health;
    mod kit;
    mod names;
    mod outbound;
    mod overload;
    mod pooling;
    mod streams;
    mod timeouts;
    mod tls;
    mod ways;
}
