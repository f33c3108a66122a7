//! Policies in Cedar in files: they change while the gateway runs, and what cannot be used changes nothing.

use super::client::ask;
use super::yett::{Launch, PUBLIC, TOP, Yett, run};

fn config() -> String {
    format!(
        "{TOP}{PUBLIC}policies: [{{ cedar: {{ policies: \"file:./rules/all.cedar\" }} }}]\n\
         apis: {{ all: {{ public: a test, routes: [{{ \"GET,POST /\": {{ policies: [{{ respond: {{ body: ok }} }}] }} }}] }} }}\n"
    )
}

fn permitting(method: &str) -> String {
    format!("@id(\"only\")\npermit(principal, action == Action::\"{method}\", resource);\n")
}

fn launch(policies: &str) -> Launch {
    let launch = Launch::new(&config());
    std::fs::create_dir_all(launch.folder.path().join("rules")).unwrap();
    launch.file("rules/all.cedar", policies)
}

fn status(yett: &Yett, method: &str) -> u16 {
    ask(&yett.address("public"), &format!("{method} /"), "a.test", "").status
}

#[test]
fn policies_of_a_file_are_read_again_and_bad_ones_change_nothing() {
    let yett = launch(&permitting("GET")).start();
    assert_eq!([status(&yett, "GET"), status(&yett, "POST")], [200, 403]);
    yett.access.expect(&["access_denied", "no policy permits it"]);
    let change = |policies: String| yett.reloaded_by(|| yett.write("rules/all.cedar", &policies));
    assert_eq!(change(permitting("POST"))["adopted"], true);
    assert_eq!([status(&yett, "GET"), status(&yett, "POST")], [403, 200]);

    let reload = change(format!("{}permit(principal);\n", permitting("GET")));
    assert_eq!(reload["adopted"], false, "{reload}");
    let place = &reload["problems"][0]["place"];
    assert!(place["file"].as_str().unwrap().ends_with("all.cedar"), "{reload}");
    assert_eq!(place["line"], 3, "{reload}");
    assert_eq!([status(&yett, "GET"), status(&yett, "POST")], [403, 200]);
    assert_eq!(change(permitting("GET"))["adopted"], true);
    assert_eq!([status(&yett, "GET"), status(&yett, "POST")], [200, 403]);
}

#[test]
fn policies_that_are_bad_from_the_start_are_told_with_their_line_and_nothing_is_served() {
    let launch = launch("\npermit(principal, action, resource) when { 1 + };\n");
    for arguments in [["check", "yett.yaml"], ["run", "yett.yaml"]] {
        let ended = run(launch.folder.path(), &arguments);
        assert_ne!(ended.code, Some(0), "{ended:?}");
        assert!(ended.err.contains("rules/all.cedar:2:48: error: unexpected token"), "{ended:?}");
    }
}
