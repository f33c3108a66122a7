//! Every client with every backend, the gateway between them: one test a client, and in it a table of
//! cases and backends.
//!
//! What a client or a backend cannot do is left out, with its reason (`matrix/left_out.rs`). Clients and
//! backends in other languages are the scripts in `tests/programs`.

mod asking;
mod cases;
mod clients;
mod curl;
mod left_out;
mod origins;
mod pair;
pub(crate) mod program;
mod table;
mod wrk;

use cases::CASES;
use clients::Client;
use left_out::{LEFT_OUT, reason};
use origins::Origin;
use table::check;

#[test]
fn curl_by_http_1_0_and_all_backends_understand_each_other() {
    check(Client::Curl10);
}

#[test]
fn curl_by_http_1_1_and_all_backends_understand_each_other() {
    check(Client::Curl11);
}

#[test]
fn curl_by_http_2_and_all_backends_understand_each_other() {
    check(Client::Curl2);
}

#[test]
fn wrk_and_all_backends_understand_each_other() {
    check(Client::Wrk);
}

#[test]
fn http_client_of_python_and_all_backends_understand_each_other() {
    check(Client::PythonHttp);
}

#[test]
fn httpx_by_http_1_1_and_all_backends_understand_each_other() {
    check(Client::Httpx11);
}

#[test]
fn httpx_by_http_2_and_all_backends_understand_each_other() {
    check(Client::Httpx2);
}

#[test]
fn http_of_node_and_all_backends_understand_each_other() {
    check(Client::NodeHttp);
}

#[test]
fn fetch_of_node_and_all_backends_understand_each_other() {
    check(Client::NodeFetch);
}

#[test]
fn chromium_by_http_1_1_and_all_backends_understand_each_other() {
    check(Client::Chromium11);
}

#[test]
fn chromium_by_http_2_and_all_backends_understand_each_other() {
    check(Client::Chromium2);
}

#[test]
fn every_cell_that_is_left_out_is_of_the_table_and_is_left_out_once() {
    for out in LEFT_OUT {
        assert!(!out.reason.is_empty());
        for name in out.cases {
            assert!(CASES.iter().any(|case| case.name == *name), "there is no case `{name}`");
        }
    }
    for client in Client::ALL {
        for origin in Origin::ALL {
            for case in CASES {
                let is_it = |out: &&left_out::LeftOut| {
                    out.clients.contains(&client)
                        && out.cases.contains(&case.name)
                        && out.origins.contains(&origin)
                };
                let of_clients = LEFT_OUT.iter().filter(is_it);
                let of_clients = of_clients.filter(|out| out.clients.len() < Client::ALL.len());
                let count = of_clients.count();
                assert!(count <= 1, "{client:?} has {count} reasons for `{}`", case.name);
            }
        }
    }
}

#[test]
fn every_case_is_made_by_some_client_with_some_backend() {
    for case in CASES {
        let is_made = Client::ALL.iter().any(|client| {
            Origin::ALL.iter().any(|origin| reason(*client, *origin, case.name).is_none())
        });
        assert!(is_made, "`{}` is nowhere", case.name);
    }
}
