//! `yett demo`: serve the quick start, a small shop and the gateway in front of it.

use crate::process::{self, Settings};
use crate::{render, shop};
use clap::Args;
use std::process::ExitCode;
use tokio::runtime::Runtime;

/// The key of the quick start's consumer; its config holds the hash.
const DEMO_KEY: &str = "yett_dEHrmf3MqeszyEbnFCTM23kvBovNVDB8DKE0xHOu9pO09GWdc";

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Config of the gateway in front of the shop.
    #[arg(default_value = "examples/quickstart/yett.yaml")]
    config: String,
    /// Serve only the shop's backends, for a gateway that is started apart.
    #[arg(long)]
    backends_only: bool,
    /// What is told on standard error.
    #[arg(long, default_value = "warn", env = "YETT_LOG")]
    log: String,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let runtime = match open_shop() {
        Ok(runtime) => runtime,
        Err(why) => {
            render::failure(&why);
            return ExitCode::from(crate::FAILED);
        }
    };
    if arguments.backends_only {
        return runtime.block_on(async {
            // Either way the wait is over.
            drop(tokio::signal::ctrl_c().await);
            ExitCode::SUCCESS
        });
    }
    let settings =
        Settings { config: arguments.config.clone(), log: arguments.log.clone(), log_json: false };
    process::serve(&settings, |ready| {
        let admin = ready.admin.map(|address| address.to_string()).unwrap_or_default();
        render::tell(&guide(&admin));
    })
}

fn open_shop() -> Result<Runtime, String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("shop")
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start threads: {error}"))?;
    for backend in shop::BACKENDS {
        let opened = runtime.block_on(shop::open(*backend));
        opened.map_err(|error| {
            format!("the shop's `{}` cannot have port {}: {error}", backend.name, backend.port)
        })?;
        render::tell(&format!("backend {:<12} http://127.0.0.1:{}", backend.name, backend.port));
    }
    Ok(runtime)
}

fn guide(admin: &str) -> String {
    format!(
        "
The gateway serves http://127.0.0.1:8080. Paste these into another terminal:

  # refused: nobody says who calls
  curl -i http://127.0.0.1:8080/orders/1

  # accepted: a key says who calls
  curl -i http://127.0.0.1:8080/orders/1 -H 'x-api-key: {DEMO_KEY}'

  # limited: five stock checks in ten seconds, then 429
  for i in 1 2 3 4 5 6 7; do curl -s -o /dev/null -w '%{{http_code}}\\n' http://127.0.0.1:8080/stock/$i -H 'x-api-key: {DEMO_KEY}'; done

  # stop one of the two order backends; orders are still served
  curl -X POST http://127.0.0.1:9111/demo/stop
  for i in 1 2 3 4; do curl -s http://127.0.0.1:8080/orders/$i -H 'x-api-key: {DEMO_KEY}'; done

  # what the gateway saw
  curl -s http://{admin}/metrics | grep yett_requests_total
  curl -s http://{admin}/status

  # publish an API that the shop lacks, by the link above that logs in once
  target/release/yett login http://127.0.0.1:9181/login/yett_link_…
  target/release/yett apply examples/quickstart/returns.yaml
  curl -i http://127.0.0.1:8080/returns/1 -H 'x-api-key: {DEMO_KEY}'

Change examples/quickstart/yett.yaml while this runs: it is reloaded at once. Ctrl-C ends it.
"
    )
}
