//! Upstreams: from what was written to what crate `upstream` builds.

use crate::inputs::{Inputs, SecretsAt, resolve_path};
use crate::rooms::Furniture;
use crate::{balance, egress, plans};
use base::{Endpoint, Place, Placed, Report};
use http::{HeaderValue, Method};
use model::Config;
use model::authority::{Host, parse_authority};
use model::join::split;
use model::upstream::{Health, Protocol, ProxyProtocol, Target, UpstreamTls};
use rustls::crypto::aws_lc_rs::default_provider;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use traffic::plan::Priority;
use traffic::upstream::{Timeouts, Upstream};
use upstream::{
    ChoiceSpec, ClientCert, HealthQuestion, HealthSpec, HostHeader, TargetHost, TargetSpec,
    TlsSpec, UpstreamSpec,
};

/// The upstreams by name; a broken one is there, but empty, so that it is not also called unknown.
pub(crate) type Upstreams = BTreeMap<String, Option<Arc<dyn Upstream>>>;

const CONNECT: Duration = Duration::from_secs(5);
const FIRST_BYTE: Duration = Duration::from_secs(30);
const IDLE: Duration = Duration::from_secs(60);
const KEPT: Duration = Duration::from_secs(55);

/// Builds all upstreams.
pub(crate) fn compile(
    config: &Config,
    workspaces: &[Furniture<'_>],
    inputs: Inputs<'_>,
    report: &mut Report,
) -> Upstreams {
    let common = balance::common(config, inputs, report);
    let strangers = plans::lowest(config);
    let mut upstreams = Upstreams::new();
    for (name, written) in config.upstreams.iter() {
        let common = common.as_ref();
        let workspace = split(&name.value).0;
        let furniture = workspaces.iter().find(|it| Some(it.part.name.as_str()) == workspace);
        let own = furniture.map_or(inputs, |furniture| furniture.inputs(inputs));
        let is_walled = furniture.is_some_and(|furniture| !furniture.part.may_go_inward);
        let spec = common.and_then(|common| spec(name, written, (common, strangers), own, report));
        let spec = spec.map(|spec| UpstreamSpec { is_walled, ..spec });
        let built = spec.and_then(|spec| {
            (inputs.upstream)(spec)
                .map_err(|why| {
                    report.error(
                        "bad_upstream",
                        &name.place,
                        format!("upstream `{}`: {why}", name.value),
                    );
                })
                .ok()
        });
        upstreams.insert(name.value.clone(), built);
    }
    upstreams
}

fn spec(
    name: &Placed<String>,
    written: &model::Upstream,
    (common, strangers): (&ChoiceSpec, Priority),
    inputs: Inputs<'_>,
    report: &mut Report,
) -> Option<UpstreamSpec> {
    let targets: Option<Vec<TargetSpec>> =
        written.targets.iter().map(|written| target(written, inputs, report)).collect();
    let balance = balance::balance(name, written, inputs, report);
    let choice = balance::choice(name, written, common, inputs, report);
    let tls = match &written.tls {
        Some(tls) if tls.on => Some(self::tls(tls, inputs, report)?),
        _ => None,
    };
    let proxy = match &written.proxy {
        Some(url) => Some(egress::proxy(url, inputs, report)?),
        None => None,
    };
    let service = written.targets.iter().find(|target| target.is_service);
    if let (Some(service), true) = (service, proxy.is_some()) {
        report
            .error("bad_target", &service.place, "a service cannot be reached through a proxy")
            .help("who offers it is found by DNS here, while the proxy resolves names itself: leave `proxy` out, or name a host");
        return None;
    }
    let on_socket = targets.iter().flatten().position(|to| matches!(to.host, TargetHost::Unix(_)));
    if let (Some(at), true) = (on_socket, proxy.is_some()) {
        let place = written.targets.get(at).map_or(&name.place, |target| &target.place);
        report
            .error("bad_target", place, "a Unix socket cannot be reached through a proxy")
            .help("it is on this machine: leave `proxy` out, or use an upstream of its own for it");
        return None;
    }
    let host = host(written.host.as_ref(), report)?;
    let health = match &written.health {
        Some(written) => Some(health(written, report)?),
        None => None,
    };
    let period = |period: Option<base::units::Period>| period.map(|period| period.0);
    Some(UpstreamSpec {
        name: Arc::from(name.value.as_str()),
        is_walled: false,
        targets: match proxy {
            Some(proxy) => targets?.into_iter().map(|target| target.through(&proxy)).collect(),
            None => targets?,
        },
        balance: balance?,
        choice: choice?,
        protocol: match written.protocol {
            Protocol::Auto => upstream::Protocol::Auto,
            Protocol::Http1 => upstream::Protocol::Http1,
            Protocol::Http2 => upstream::Protocol::Http2,
        },
        tls,
        proxy_protocol: written.proxy_protocol.map(|version| match version {
            ProxyProtocol::V1 => upstream::ProxyProtocol::V1,
            ProxyProtocol::V2 => upstream::ProxyProtocol::V2,
        }),
        host,
        health,
        timeouts: Timeouts {
            connect: period(written.timeouts.connect).or(Some(CONNECT)),
            first_byte: period(written.timeouts.first_byte).or(Some(FIRST_BYTE)),
            idle: period(written.timeouts.idle).or(Some(IDLE)),
            total: period(written.timeouts.total),
        },
        trouble: crate::trouble::spec(written, strangers),
        idle_max: usize::from(
            written.keep_alive.idle_max.unwrap_or(base::caps::POOL_IDLE_PER_TARGET),
        ),
        idle_timeout: period(written.keep_alive.idle_timeout).unwrap_or(KEPT),
    })
}

fn target(written: &Placed<Target>, inputs: Inputs<'_>, report: &mut Report) -> Option<TargetSpec> {
    let secrets = SecretsAt { outside: inputs.outside, place: &written.place };
    let text = match written.address.resolve(&secrets) {
        Ok(text) => text,
        Err(why) => {
            report
                .error("missing_secret", &written.place, why)
                .help("the gateway reads it when the config is loaded; make sure that it is there by then");
            return None;
        }
    };
    let text = text.reveal();
    let parsed = if written.is_service {
        let name = text.trim_end_matches('.').to_lowercase();
        Ok((TargetHost::Service(name), 0))
    } else if let Some(path) = Endpoint::unix(text) {
        path.map(|path| (TargetHost::Unix(path), 0))
    } else {
        parse_authority(text).map(|authority| match authority.host {
            Host::Ip(address) => (TargetHost::Ip(address), authority.port),
            Host::Name(name) => (TargetHost::Name(name), authority.port),
        })
    };
    match parsed {
        Ok((host, port)) => Some(TargetSpec {
            weight: u32::from(written.weight),
            priority: u32::from(written.priority),
            locality: upstream::Locality {
                zone: written.zone.as_deref().map(Arc::from),
                region: written.region.as_deref().map(Arc::from),
            },
            ..TargetSpec::new(Arc::from(text), host, port)
        }),
        Err(_) => {
            // What is wrong with a plain text was reported by the model; the reason repeats the text,
            // which came from a secret here.
            if written.address.has_reference() {
                let address = &written.address;
                let message = format!(
                    "what `{address}` stands for is not a host and a port, nor the path of a Unix socket"
                );
                report.error("bad_target", &written.place, message);
            }
            None
        }
    }
}

fn tls(written: &UpstreamTls, inputs: Inputs<'_>, report: &mut Report) -> Option<TlsSpec> {
    let ca_pem = match &written.ca {
        Some(path) => Some(read(path, inputs, report)?),
        None => None,
    };
    let server_name = written.server_name.as_ref().map(|name| name.value.clone());
    let client = match &written.client {
        Some(files) => {
            let loaded = crate::tls::load(files, &default_provider(), inputs, report)?;
            Some(ClientCert(loaded.key))
        }
        None => None,
    };
    Some(TlsSpec { ca_pem, server_name, client })
}

/// Reads a file that a config names.
pub(crate) fn read(
    written: &Placed<String>,
    inputs: Inputs<'_>,
    report: &mut Report,
) -> Option<Vec<u8>> {
    let path = resolve_path(&written.value, &written.place);
    match inputs.outside.read(&path) {
        Ok(bytes) => Some(bytes),
        Err(why) => {
            let message = format!("cannot read `{}`: {why}", path.display());
            report
                .error("unreadable_file", &written.place, message)
                .help("paths are relative to the config file in which they stand");
            None
        }
    }
}

fn host(written: Option<&Placed<String>>, report: &mut Report) -> Option<HostHeader> {
    let Some(written) = written else { return Some(HostHeader::Preserve) };
    match written.value.as_str() {
        "preserve" => Some(HostHeader::Preserve),
        "target" => Some(HostHeader::Target),
        name => match HeaderValue::from_str(name) {
            Ok(value) => Some(HostHeader::Fixed(value)),
            Err(_) => {
                report.error("bad_host", &written.place, format!("`{name}` is not a host name"));
                None
            }
        },
    }
}

fn health(written: &Placed<Health>, report: &mut Report) -> Option<HealthSpec> {
    let question = match &written.path {
        _ if written.tcp => HealthQuestion::Connect,
        Some(path) => {
            let method = written.method.as_deref().unwrap_or("GET");
            let method = self::method(method, &written.place, report)?;
            HealthQuestion::Request { method, path: path.clone() }
        }
        // That it is missing was told by the model.
        None => return None,
    };
    Some(HealthSpec {
        question,
        every: written.every,
        timeout: written.timeout,
        healthy_after: written.healthy_after,
        unhealthy_after: written.unhealthy_after,
    })
}

/// Reads a method.
pub(crate) fn method(written: &str, place: &Place, report: &mut Report) -> Option<Method> {
    let method = Method::from_bytes(written.as_bytes());
    if method.is_err() {
        report.error("bad_method", place, format!("`{written}` is not a method"));
    }
    method.ok()
}
